"""Answers as they are written by others: text of any length, odd units, nothing at all."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster import conf
from astro_cluster.matching.answers import remote_identity, stack_answers
from astro_cluster.matching.local import close_pairs
from astro_cluster.services.answers import parse_answer
from astro_cluster.services.cache import AnswerCache

DOCUMENT = """<?xml version="1.0"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">
<INFO name="QUERY_STATUS" value="OK"/><TABLE>
<FIELD name="angDist" datatype="double" unit="arcsec"/>
<FIELD name="ac_row" datatype="int"/>
<FIELD name="main_id" datatype="char" arraysize="*" ucd="meta.id;meta.main">
<DESCRIPTION>Name</DESCRIPTION></FIELD>
<FIELD name="logg" datatype="float" unit="[cm/s2]"/>
<FIELD name="size" datatype="int" unit="furlong"/>
<FIELD name="n_ref" datatype="int"/>
<DATA><TABLEDATA>
<TR><TD>0.5</TD><TD>0</TD><TD>NAME Barnard's star</TD><TD>4.5</TD><TD>2</TD><TD>12</TD></TR>
<TR><TD>0.7</TD><TD>1</TD><TD>α Cen &amp; co</TD><TD/><TD/><TD/></TR>
</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""
EMPTY = (
    b'<VOTABLE version="1.4"><RESOURCE type="results">'
    b'<INFO name="QUERY_STATUS" value="OK"/></RESOURCE></VOTABLE>'
)


def test_text_units_and_nulls():
    table = stack_answers([parse_answer(DOCUMENT.encode()).table] * 2)
    assert table.colnames == ["main_id", "logg", "size", "n_ref"]
    assert table["main_id"].dtype.kind == "U"
    assert table["main_id"].tolist()[:2] == ["NAME Barnard's star", "α Cen & co"]
    assert table["main_id"].info.meta["ucd"] == "meta.id;meta.main"
    assert table["main_id"].info.description == "Name"
    assert table["n_ref"].tolist() == [12, None, 12, None]
    assert str(table["size"].unit) == "furlong"
    assert remote_identity(table).tolist() == [0, 1, 0, 1]


def test_a_match_with_such_an_answer(cds, peer):
    cds.faults.append(lambda _: peer.Reply(DOCUMENT.encode()))
    out = ac.crossmatch(QTable({"ra": [1.0, 2.0, 3.0], "dec": [1.0, 2.0, 3.0]}), "simbad")
    assert out["main_id"].tolist() == ["NAME Barnard's star", "α Cen & co", None]
    assert out["main_id"].info.meta == {"ucd": "meta.id;meta.main"}
    assert out["n_ref"].tolist() == [12, None, None]
    assert np.allclose(out["match_separation"].unmasked[:2].value, [0.5, 0.7])


def test_an_answer_without_a_table_means_nothing_found(cds, peer):
    cds.faults.append(lambda _: peer.Reply(EMPTY))
    with pytest.warns(ac.AstroClusterWarning, match="no row has a counterpart"):
        out = ac.crossmatch(QTable({"ra": [1.0], "dec": [1.0]}), "simbad", columns=["main_id"])
    assert out.colnames == ["ra", "dec", "match_separation"]
    assert out["match_separation"].mask.all()


@pytest.mark.parametrize("text", ["", "nonsense", "<VOTABLE>", DOCUMENT[:700], "<html></html>"])
def test_what_is_no_votable(text):
    with pytest.raises(ValueError, match="no whole VOTable"):
        parse_answer(text.encode())


def test_row_numbers_must_be_numbers(cds, peer):
    broken = DOCUMENT.replace('name="ac_row" datatype="int"', 'name="ac_row" datatype="char" arraysize="1"')
    for document in (broken.replace("<TD>1</TD>", "<TD>x</TD>"), DOCUMENT.replace("<TD>1</TD>", "<TD/>")):
        cds.faults.append(lambda _, document=document: peer.Reply(document.encode()))
        with pytest.raises(ac.ServiceError, match="row numbers that were not sent"):
            ac.crossmatch(QTable({"ra": [1.0, 2.0], "dec": [1.0, 2.0]}), "simbad")


def test_the_cache_is_astropys_unless_configured(tmp_path, monkeypatch):
    assert conf.cache_dir == ""
    monkeypatch.setattr("astro_cluster.services.cache.get_cache_dir", lambda _: str(tmp_path))
    AnswerCache(active=True).put({"cat2": "simbad"}, b"<VOTABLE/>")
    assert len(list(tmp_path.rglob("*.vot"))) == 1
    assert len(list(tmp_path.rglob("*"))) == 2  # the folder and the file: nothing half done stays


def test_no_valid_position_gives_no_pair():
    coord = SkyCoord([np.nan] * u.deg, [np.nan] * u.deg)
    i, j, separation = close_pairs(
        coord, coord, 1 * u.deg, valid=np.array([False]), remote_valid=np.array([False])
    )
    assert len(i) == len(j) == len(separation) == 0
