"""The step: rows, columns, metadata, records and errors of a match at hand."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster import InputError
from astro_cluster.matching.find import FIND_MODES
from astro_cluster.tables import float_values


@pytest.fixture
def rich():
    """A reference with a column of every kind; row 0 is far from everything."""
    table = QTable(
        {
            "ra": [200.0, 10.0, 20.0] * u.deg,
            "dec": [80.0, 0.0, 0.0] * u.deg,
            "flux": Masked([1.0, 2.0, 3.0] * u.Jy, mask=[False, True, False]),
            "spectrum": np.arange(6.0).reshape(3, 2) * u.mJy,
            "image": np.arange(12).reshape(3, 2, 2),
            "id": [2**62, 2**62 + 1, 2**62 + 2],
            "name": ["far", "α Cen", "b"],
            "flag": [True, False, True],
            "when": Time([2000.0, 2001.0, 2002.0], format="jyear"),
            "pos": SkyCoord([200, 10, 20] * u.deg, [80, 0, 0] * u.deg),
            "teff": u.Dex([3.5, 3.6, 3.7], u.dex(u.K)),
        }
    )
    table["flux"].info.description = "Flux at 1 GHz"
    table["flux"].info.meta = {"ucd": "phot.flux"}
    table["name"].info.meta = {"ucd": "meta.id"}
    return table


@pytest.fixture
def mine():
    return QTable(
        {"ra": [20.0, 50.0, 10.0] * u.deg, "dec": [0.0001, 0.0, 0.0] * u.deg, "name": ["x", "y", "z"]}
    )


def test_each_keeps_rows_and_every_kind_of_column(mine, rich):
    out = ac.crossmatch(mine, rich)
    assert out.colnames == [
        "ra",
        "dec",
        "name",
        "ra_2",
        "dec_2",
        "flux",
        "spectrum",
        "image",
        "id",
        "name_2",
        "flag",
        "when",
        "pos_ra",
        "pos_dec",
        "teff",
        "match_separation",
        "match_p_false",
    ]
    assert out["name"].tolist() == ["x", "y", "z"]
    assert out["name_2"].tolist() == ["b", None, "α Cen"]
    assert out["id"].tolist() == [2**62 + 2, None, 2**62 + 1]
    assert out["flux"].mask.tolist() == [False, True, True]
    assert out["flux"][0] == 3 * u.Jy
    assert out["spectrum"].mask.tolist() == [[False, False], [True, True], [False, False]]
    assert out["spectrum"].unit == u.mJy
    assert out["image"][2].tolist() == [[4, 5], [6, 7]]
    assert out["image"].mask[1].all()
    assert out["flag"].tolist() == [True, None, False]
    assert out["when"].mask.tolist() == [False, True, False]
    assert out["pos_ra"][2] == 10 * u.deg
    assert out["teff"].mask.tolist() == [False, True, False]
    assert out["flux"].info.description == "Flux at 1 GHz"
    assert out["flux"].info.meta == {"ucd": "phot.flux"}
    assert out["name_2"].info.meta == {"ucd": "meta.id"}
    separation = out["match_separation"]
    assert separation.mask.tolist() == [False, True, False]
    assert separation.unit == u.arcsec
    assert float(separation[0].value) == pytest.approx(0.36)
    assert separation.info.meta == {"ucd": "pos.angDistance"}


def test_the_inputs_stay_untouched(mine, rich):
    mine.meta["origin"] = ["here"]
    before = mine.copy(), rich.copy()
    out = ac.crossmatch(mine, rich)
    out["ra"][0] = 0 * u.deg
    out["flux"].info.meta["ucd"] = "changed"
    for now, then in zip((mine, rich), before, strict=True):
        assert now.colnames == then.colnames
        assert (now["ra"] == then["ra"]).all()
    assert rich["flux"].info.meta == {"ucd": "phot.flux"}
    assert out.meta["origin"] == ["here"]
    assert "astro_cluster" not in mine.meta


def test_each_dist_brings_only_the_separation(mine, rich):
    out = ac.crossmatch(mine, rich, find="each-dist", separation="gap")
    assert out.colnames == [*mine.colnames, "gap", "gap_p_false"]


@pytest.mark.parametrize("find", FIND_MODES)
def test_columns_survive_a_trip_through_a_file(find, mine, rich, tmp_path):
    rich.remove_columns(["teff", "when", "image"])  # what a VOTable cannot hold is the writer's business
    out = ac.crossmatch(mine, rich, find=find)
    back = ac.read(ac.write(out, tmp_path / "out.vot"))
    assert back.colnames == out.colnames
    assert ac.records(back) == ac.records(out)


def test_modes_that_change_rows(mine, rich):
    both = QTable(rich[[1, 1, 2]])
    both["dec"][1] = 0.0001 * u.deg
    counts = {}
    for find in FIND_MODES:
        out = ac.crossmatch(mine, both, find=find, columns=["id"])
        arcsec = float_values(out["match_separation"])
        counts[find] = (
            out["name"].tolist(),
            np.round(arcsec[np.isfinite(arcsec)], 2).tolist(),
        )
    assert counts["all"] == (["x", "z", "z"], [0.36, 0.0, 0.36])
    assert counts["best"] == (["x", "z"], [0.36, 0.0])
    assert counts["best-remote"] == (["x", "z", "z"], [0.36, 0.0, 0.36])
    assert counts["best-symmetric"] == (["x", "z"], [0.36, 0.0])
    assert counts["each"] == counts["each-dist"] == (["x", "y", "z"], [0.36, 0.0])


positions = st.lists(
    st.tuples(st.one_of(st.just(np.nan), st.floats(0, 360)), st.one_of(st.just(np.nan), st.floats(-90, 90))),
    min_size=1,
    max_size=8,
)


@pytest.mark.filterwarnings("ignore:no row has a counterpart")
@settings(deadline=None, max_examples=60)
@given(rows=positions, others=positions, radius=st.sampled_from([1e-3, 1.0, 40.0, 180.0]))
def test_each_against_loops_over_the_whole_sky(rows, others, radius):
    if not all(any(np.isfinite(p).all() for p in table) for table in (rows, others)):
        return
    local, remote = (QTable(rows=table, names=["ra", "dec"]) for table in (rows, others))
    remote["number"] = np.arange(len(remote))
    out = ac.crossmatch(local, remote, radius=radius * u.deg, columns=["number"])
    assert np.array_equal(out["ra"], local["ra"], equal_nan=True)
    for row, place in enumerate(rows):
        gaps = [_angle(place, other) for other in others]
        number = out["number"].tolist()[row]
        best = np.nanmin(gaps) if np.isfinite(gaps).any() else np.inf
        if number is None:
            assert not best < radius - 1e-9
        else:
            assert gaps[number] == pytest.approx(best, abs=1e-9)
            assert float(out["match_separation"][row].to_value(u.deg)) == pytest.approx(best, abs=1e-9)
            assert best <= radius + 1e-9


def _angle(a, b):
    """Angle [deg] between two positions, from the half chord and its complement."""
    xyz = []
    for ra, dec in (a, b):
        ra, dec = np.radians(ra), np.radians(dec)
        xyz.append(np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]))
    return np.degrees(2 * np.arctan2(np.linalg.norm(xyz[0] - xyz[1]), np.linalg.norm(xyz[0] + xyz[1])))


def test_the_radius_is_inclusive():
    for ra in (0.0, 120.0, 359.5):
        table = QTable({"ra": [ra], "dec": [0.0]})
        other = QTable({"ra": [ra], "dec": [2 / 3600]})
        assert not np.any(
            getattr(ac.crossmatch(table, other, radius=2 * u.arcsec)["match_separation"], "mask", False)
        )
        with pytest.warns(ac.AstroClusterWarning, match="no row has a counterpart"):
            ac.crossmatch(table, other, radius=1.99999 * u.arcsec)


def test_frames_and_sky_coord_columns():
    place = SkyCoord([266.4, 10] * u.deg, [-29, 5] * u.deg)
    icrs = QTable({"ra": place.ra, "dec": place.dec})
    galactic = QTable({"l": place.galactic.l.deg, "b": place.galactic.b.deg})
    whole = QTable({"place": place.fk5})
    for reference in (galactic, whole):
        out = ac.crossmatch(icrs, reference)
        assert out["match_separation"].to_value(u.arcsec).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_nothing_matches():
    far = QTable({"ra": [1.0], "dec": [1.0], "name": ["far"], "n": [1]})
    near = QTable({"ra": [50.0, 51.0], "dec": [1.0, 1.0]})
    with pytest.warns(ac.AstroClusterWarning, match="no row has a counterpart within 1.0 arcsec.*ra and dec"):
        out = ac.crossmatch(near, far)
    assert out["name"].tolist() == [None, None]
    with pytest.warns(ac.AstroClusterWarning):
        out = ac.crossmatch(near, far, find="best")
    assert len(out) == 0
    assert out.colnames == ["ra", "dec", "ra_2", "dec_2", "name", "n", "match_separation", "match_p_false"]


def test_a_file_as_reference_and_rerun(mine, rich, tmp_path):
    path = ac.write(rich[["ra", "dec", "flux", "id"]], tmp_path / "reference.vot")
    out = ac.crossmatch(mine, str(path), radius=2 * u.arcsec, columns=["id"], position=("ra", "dec"))
    record = ac.records(out)[-1]
    assert record["parameters"]["reference"] == str(path)
    assert record["reference"]["rows"] == 3
    assert record["columns_added"] == ["id", "match_separation", "match_p_false"]
    assert "row_order" not in record
    again = ac.rerun(ac.write(out, tmp_path / "out.vot"))
    assert again["id"].tolist() == out["id"].tolist()
    changed = ac.crossmatch(ac.write(mine, tmp_path / "mine.fits"), path, find="best")
    assert ac.records(changed)[-1]["row_order"] == "changed"


def test_a_table_in_memory_cannot_be_run_again(mine, rich):
    out = ac.crossmatch(mine, rich)
    assert ac.records(out)[-1]["parameters"]["reference"] == {"unrecorded": "QTable"}
    with pytest.raises(InputError, match="could not keep a parameter"):
        ac.rerun(out)


def test_two_matches_side_by_side(mine, rich):
    once = ac.crossmatch(mine, rich, columns=["flux"])
    with pytest.raises(InputError, match=r"already has the column 'match_separation'.*separation="):
        ac.crossmatch(once, rich)
    twice = ac.crossmatch(once, rich, columns=["flux"], separation="second")
    assert twice.colnames[-4:] == ["match_p_false", "flux_2", "second", "second_p_false"]
    replaced = ac.crossmatch(once, rich, columns=["id"], overwrite=True)
    columns = ["ra", "dec", "name", "flux", "id", "match_separation"]
    assert replaced.colnames == [*columns, "match_p_false"]
    bare = ac.crossmatch(once, rich, columns=["id"], false_matches=False, overwrite=True)
    assert bare.colnames == columns


def test_a_column_of_the_users_own_is_not_taken_for_a_judgement(mine, rich):
    once = ac.crossmatch(mine, rich, columns=["flux"], separation="gaia_separation")
    once["gaia_p"] = [1.0, 2.0, 3.0] * u.day  # a period
    replaced = ac.crossmatch(
        once, rich, columns=["id"], separation="gaia_separation", false_matches=False, overwrite=True
    )
    assert replaced.colnames == ["ra", "dec", "name", "flux", "gaia_p", "id", "gaia_separation"]
    assert replaced["gaia_p"].unit == u.day


def test_a_remote_separation_is_renamed(mine, rich):
    rich["match_separation"] = [1.0, 2.0, 3.0]
    out = ac.crossmatch(mine, rich, columns=["match_separation"])
    assert out.colnames[-3:] == ["match_separation_2", "match_separation", "match_p_false"]


def test_names_that_would_meet(mine, rich):
    mine["ra_2"] = [1, 2, 3]
    with pytest.raises(InputError, match=r"remote columns ra_2 would meet.*suffix="):
        ac.crossmatch(mine, rich)
    assert "ra_b" in ac.crossmatch(mine, rich, suffix="_b").colnames


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 1}, "has no unit: give a Quantity"),
        ({"radius": 1 * u.Jy}, "is not one angle"),
        ({"radius": [1, 2] * u.arcsec}, "is not one angle"),
        ({"radius": 0 * u.arcsec}, "larger than zero"),
        ({"radius": -1 * u.arcsec}, "larger than zero"),
        ({"radius": np.nan * u.arcsec}, "larger than zero"),
        ({"find": "eech"}, "did you mean 'each'"),
        ({"columns": ["fluks"]}, "did you mean 'flux'"),
        ({"position": ("ra", "de")}, "no column 'de'"),
        ({"reference_position": ("ra", "de")}, "in the reference .*no column 'de'"),
        ({"via": "cds"}, "takes the name of a catalogue"),
        ({"via": "ftp"}, "'local', 'cds', 'tap'"),
        ({"via": "tap"}, "takes the name of a catalogue"),
        ({"chunk_rows": 0}, "whole number"),
        ({"get_query_payload": True}, "sends none"),
        ({"epoch": 57000}, "not a .modified. Julian date"),
    ],
)
def test_wrong_parameters(options, message, mine, rich):
    with pytest.raises(InputError, match=message):
        ac.crossmatch(mine, rich, **options)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere.vot", "neither a file nor a catalogue"),
        ("gaia", "neither a file nor a catalogue"),
        ("vizier:", "not the name of a catalogue"),
        (42, "cannot match with a int"),
    ],
)
def test_wrong_references(reference, message, mine):
    with pytest.raises(InputError, match=message):
        ac.crossmatch(mine, reference)


def test_a_file_named_like_a_catalogue(mine, rich, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ac.write(rich[["ra", "dec", "id"]], "simbad", format="ecsv")
    with pytest.raises(InputError, match="via='local' or via='cds'"):
        ac.crossmatch(mine, "simbad")
    assert "id" in ac.crossmatch(mine, "simbad", via="local").colnames
    assert "id" in ac.crossmatch(mine, "./simbad").colnames


def test_empty_tables(mine, rich):
    with pytest.raises(InputError, match="the table has no rows"):
        ac.crossmatch(mine[:0], rich)
    with pytest.raises(InputError, match=r"in the reference .*has no rows"):
        ac.crossmatch(mine, rich[:0])
    nowhere = QTable({"ra": MaskedColumn([1.0], mask=[True]), "dec": [1.0]})
    with pytest.raises(InputError, match="no row has a position"):
        ac.crossmatch(nowhere, rich)
    with pytest.raises(InputError, match="no row has a position"):
        ac.crossmatch(mine, nowhere)


def test_a_plain_table_and_objects(mine):
    kinds = np.empty(1, dtype=object)
    kinds[0] = ["AGN", "X"]
    plain = Table({"ra": [20.0], "dec": [0.0], "types": kinds})
    types = ac.crossmatch(Table(mine), plain)["types"]
    assert types[0] == ["AGN", "X"]
    assert types.mask.tolist() == [False, True, True]
