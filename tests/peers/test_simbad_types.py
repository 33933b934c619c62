"""The list of object types, fetched from a TAP server."""

from __future__ import annotations

import pytest

import astro_cluster as ac
from astro_cluster.exceptions import ServiceError

pytestmark = pytest.mark.peers


@pytest.fixture(autouse=True)
def service(real_data, simbad_tap, tmp_path):
    """SIMBAD is the server with the whole list of types, which belongs to the real data."""
    with ac.conf.set_temp("simbad_tap_url", simbad_tap), ac.conf.set_temp("cache_dir", str(tmp_path)):
        yield
    ac.otypes.reset()


def test_the_list_is_the_one_that_is_shipped(simbad_tap):
    shipped = ac.otypes.hierarchy()
    snapshot = ac.otypes.update()
    assert snapshot.source == simbad_tap
    assert ac.otypes.snapshot() == snapshot
    fetched = ac.otypes.hierarchy()
    assert fetched.colnames == shipped.colnames
    for name in ("otype", "label"):
        assert fetched[name].tolist() == shipped[name].tolist()
    assert ac.otypes.code_of("Seyfert_1") == "Sy1"  # names of long ago are known still


def test_a_new_type_is_known_at_once(simbad_site):
    new = "('Kn*', 'Kilonova', 'Merger of η and 昴', '', 0, '* > SN* > Kn*')"
    simbad_site.psql(f"INSERT INTO public.otypedef VALUES {new};")
    try:
        snapshot = ac.otypes.update()
    finally:
        simbad_site.psql("DELETE FROM public.otypedef WHERE otype = 'Kn*';")
    assert ac.otypes.ancestors("Kilonova") == ("SN*", "*")
    assert "Kn*" in ac.otypes.descendants("SN*")
    assert snapshot.count == ac.otypes.update().count + 1


def test_half_a_list_is_not_believed(simbad_site):
    before = ac.otypes.snapshot()
    simbad_site.psql(
        "CREATE TABLE public.kept AS SELECT * FROM public.otypedef; "
        "DELETE FROM public.otypedef WHERE path LIKE 'G%';"
    )
    try:
        with pytest.raises(ServiceError, match=r"not believed.*stay in use"):
            ac.otypes.update()
    finally:
        simbad_site.psql(
            "DELETE FROM public.otypedef; INSERT INTO public.otypedef SELECT * FROM public.kept; "
            "DROP TABLE public.kept;"
        )
    assert ac.otypes.snapshot() == before
