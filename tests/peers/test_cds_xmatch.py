"""Three clients of the CDS X-Match protocol, and a match at hand, pair by pair with SIMBAD's rows.

The service is the stand-in; the clients are astroquery, STILTS (which is TOPCAT's) and ours.
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

import astro_cluster as ac

from .cds_xmatch_server import Catalogue, cds_xmatch
from .pairs import RADIUS, around, assert_pairs, pairs

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.usefixtures("_sockets_of_others"),
]


@pytest.fixture(scope="module")
def simbad(simbad_objects):
    """The objects as the service has them."""
    columns = {"main_id": "main_id", "ra": "ra", "dec": "dec", "main_type": "otype", "nbref": "nbref"}
    kinds = {"ra": float, "dec": float, "nbref": int}
    return Table(
        {
            name: np.array([row[key] for row in simbad_objects], kinds.get(name))
            for name, key in columns.items()
        }
    )


@pytest.fixture(scope="module")
def mine(simbad):
    return around(simbad)


@pytest.fixture
def service(simbad, tmp_path):
    with (
        cds_xmatch({"simbad": Catalogue(simbad, "ra", "dec")}) as server,
        ac.conf.set_temp("xmatch_url", server.url),
        ac.conf.set_temp("cache_dir", str(tmp_path / "cache")),
    ):
        yield server


@pytest.mark.parametrize("find", ["all", "best"])
def test_astroquery_gets_the_same_pairs(service, simbad, mine, find):
    from astroquery.xmatch import XMatchClass

    client = XMatchClass()
    client.URL = service.url
    theirs = client.query(
        Table(mine), "simbad", RADIUS, colRA1="ra", colDec1="dec", selection=find, cache=False
    )
    ours = ac.crossmatch(mine, "simbad", radius=RADIUS, false_matches=False, find=find, chunk_rows=500)
    at_hand = pairs(ac.crossmatch(mine, simbad, radius=RADIUS, false_matches=False, find=find))
    assert len(at_hand) > len(mine) if find == "all" else len(at_hand) > 0.8 * len(mine)
    assert_pairs(pairs(ours), at_hand)
    assert_pairs(pairs(theirs, "angDist"), at_hand)
    assert theirs["angDist"].unit == u.arcsec


def cdsskymatch(stilts, folder, service, table, find, *extra):
    table["my_id", "ra", "dec"].write(folder / "mine.csv", format="ascii.csv")
    stilts(
        "cdsskymatch",
        f"in={folder / 'mine.csv'}",
        "ifmt=csv",
        "ra=ra",
        "dec=dec",
        f"radius={RADIUS.to_value(u.arcsec)}",
        "cdstable=simbad",
        f"find={find}",
        f"serviceurl={service.url}",
        "usemoc=false",
        "fixcols=dups",
        f"out={folder / 'theirs.vot'}",
        "ofmt=votable-tabledata",
        *extra,
    )
    return Table.read(folder / "theirs.vot", format="votable", use_names_over_ids=True)


@pytest.mark.parametrize("find", ["all", "best", "each", "best-remote", "each-dist"])
def test_stilts_gets_the_same_pairs(stilts, tmp_path, service, simbad, mine, find):
    # One block for best-remote, which STILTS finds block by block; see the next test.
    block = len(mine) if find == "best-remote" else 400
    theirs = cdsskymatch(stilts, tmp_path, service, mine, find, f"blocksize={block}")
    assert len(service.forms) == -(-len(mine) // block)
    ours = ac.crossmatch(mine, "simbad", radius=RADIUS, false_matches=False, find=find, chunk_rows=300)
    at_hand = ac.crossmatch(mine, simbad, radius=RADIUS, false_matches=False, find=find)
    if find.startswith("each"):
        for table in (theirs, ours, at_hand):
            assert table["my_id"].tolist() == mine["my_id"].tolist()
    if find == "each-dist":
        assert ours.colnames == at_hand.colnames == [*mine.colnames, "match_separation"]
        for table in (theirs, ours, at_hand):
            table["main_id"] = ""
    expected = pairs(at_hand)
    assert len(expected) > 900
    assert_pairs(pairs(ours), expected)
    assert_pairs(pairs(theirs, next(n for n in theirs.colnames if n.startswith("angDist"))), expected)


def test_best_remote_does_not_depend_on_the_chunks(stilts, tmp_path, service, simbad, mine):
    """STILTS takes the best of each block, so that a remote object comes several times; we must not."""
    theirs = pairs(cdsskymatch(stilts, tmp_path, service, mine, "best-remote", "blocksize=100"), "angDist")
    at_hand = ac.crossmatch(mine, simbad, radius=RADIUS, false_matches=False, find="best-remote")
    ours = ac.crossmatch(
        mine, "simbad", radius=RADIUS, false_matches=False, find="best-remote", chunk_rows=100
    )
    assert len(set(ours["main_id"])) == len(ours)
    assert_pairs(pairs(ours), pairs(at_hand))
    assert len({main_id for _, main_id, _ in theirs}) == len(ours) < len(theirs)
