"""The demo's online sample, against a stand-in for the catalogue's TAP service."""

from __future__ import annotations

import http.server
import io
import threading
import urllib.parse

import pytest
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.demo import csc_sample
from astro_cluster.votable import write_votable


@pytest.fixture
def service():
    """Run a server that answers every query with ``answer``; ``asked`` holds what it was asked."""
    state = {"answer": QTable(), "status": 200, "asked": []}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            state["asked"].append(dict(urllib.parse.parse_qsl(body)))
            file = io.BytesIO()
            write_votable(state["answer"], file, infos={"QUERY_STATUS": "OK"})
            self.send_response(state["status"])
            self.send_header("Content-Type", "application/x-votable+xml")
            self.end_headers()
            self.wfile.write(file.getvalue())

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with (
        ac.conf.set_temp("csc_tap_url", f"http://127.0.0.1:{server.server_port}/tap"),
        ac.conf.set_temp("retry_wait", 0.01),
    ):
        yield state
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_sample_is_asked_for_and_recorded(service):
    columns = ["name", "obsid", "ra", "dec", *ac.recipes.CSC2.columns]
    service["answer"] = ac.simulate.chandra(50, random_state=1)[columns]
    sample = csc_sample(50)
    assert len(sample) == 50
    query = service["asked"][0]["QUERY"]
    assert "TOP 50" in query
    assert "FROM csc21.master_source m" in query
    assert all(f"o.{name}" in query for name in ac.recipes.CSC2.columns)
    record = ac.records(sample)[0]
    assert record["service"]["url"].startswith("http://127.0.0.1")
    out = ac.cluster(sample, "gmm", features="hard_*", n_components=2, random_state=0)
    assert (ac.rerun(out)["cluster"] == out["cluster"]).all()
    assert len(service["asked"]) == 1  # from the table itself: the service is not asked again


def test_a_service_that_fails_is_named(service):
    service["status"], service["answer"] = 500, QTable({"name": ["a"]})
    with pytest.raises(ac.ServiceError, match=r"did not answer .* 5 tries: HTTP 500.*without --online"):
        csc_sample(10)
    assert len(service["asked"]) == 5
    service["status"] = 400
    with pytest.raises(ac.ServiceError, match=r"refused: HTTP 400.*without --online"):
        csc_sample(10)


def test_an_empty_answer_is_an_error(service):
    service["answer"] = QTable({"name": ["a"]})[:0]
    with pytest.raises(ac.ServiceError, match="no row"):
        csc_sample(10)


def test_no_rows_cannot_be_asked_for():
    with pytest.raises(ac.InputError, match="at least one"):
        csc_sample(0)
