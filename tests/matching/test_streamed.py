"""A reference that is read a chunk at a time gives row by row what it gives when it is read whole."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable
from astropy.time import Time
from astropy.utils.masked import Masked

import astro_cluster as ac
from astro_cluster import InputError
from astro_cluster.matching import streamed
from astro_cluster.matching.find import FIND_MODES
from astro_cluster.matching.largefile import open_if_large

KINDS = ["fits", "fits.gz", "parquet"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(streamed, "_CHUNK_ROWS", (16, 16))


@pytest.fixture
def mine():
    rng = np.random.default_rng(1)
    ra, dec = rng.normal(0, 0.003, (2, 60))
    return QTable({"name": [f"m{k}" for k in range(60)], "ra": (ra % 360) * u.deg, "dec": dec * u.deg})


@pytest.fixture
def reference():
    rng = np.random.default_rng(2)
    n = 100
    ra, dec = rng.normal(0, 0.003, (2, n))
    ra[rng.integers(0, n, 5)] = np.nan
    names = [f"star {k} " + "x" * (k % 23) for k in range(n)]
    hidden = rng.random(n) < 0.3
    hidden[:40] = False  # masked in the later chunks only
    table = QTable(
        {
            "RA": (ra % 360) * u.deg,
            "Dec": dec * u.deg,
            "name": MaskedColumn(names, mask=hidden),
            "id": np.arange(n) + 2**62,
            "count": MaskedColumn(np.arange(n), mask=hidden),
            "flux": Masked(rng.normal(size=n) * u.Jy, mask=hidden),
            "mag": rng.normal(size=n).astype("f4") * u.mag,
            "spectrum": rng.normal(size=(n, 3)) * u.mJy,
            "flag": rng.random(n) < 0.5,
            "when": Time(rng.uniform(2000, 2020, n), format="jyear"),
            "pos": SkyCoord(ra * u.deg, dec * u.deg, frame="icrs").galactic,
        }
    )
    table["flux"].info.description = "Flux at 1 GHz"
    table["flux"].info.meta = {"ucd": "phot.flux"}
    table["name"].info.meta = {"ucd": "meta.id"}
    table["RA"].info.meta = {"ucd": "pos.eq.ra;meta.main"}
    table["Dec"].info.meta = {"ucd": "pos.eq.dec;meta.main"}
    return table


def both(table, path, **options):
    """The match with the file as a whole, and in chunks."""
    options = {"radius": 4 * u.arcsec, "false_matches": False} | options
    whole = ac.crossmatch(table, path, **options)
    with ac.conf.set_temp("max_reference_bytes", 0):
        return whole, ac.crossmatch(table, path, **options)


def same(whole, parts):
    """The same rows, columns, masks, types, units, words and records."""
    assert parts.colnames == whole.colnames
    assert len(parts) == len(whole)
    for name in whole.colnames:
        one, other = whole[name], parts[name]
        assert type(one) is type(other), name
        assert getattr(one, "unit", None) == getattr(other, "unit", None)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None), name
        assert one.info.description == other.info.description
        assert (one.info.meta or {}) == (other.info.meta or {}), name
        assert one.info.format == other.info.format
    assert [repr(row) for row in whole.iterrows()] == [repr(row) for row in parts.iterrows()]
    old, new = ({k: v for k, v in ac.records(t)[-1].items() if k != "date"} for t in (whole, parts))
    assert old == new


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("find", FIND_MODES)
def test_all_find_modes_and_files(find, kind, mine, reference, tmp_path):
    path = ac.write(reference, tmp_path / f"big.{kind}")
    whole, parts = both(mine, path, find=find)
    same(whole, parts)
    assert ac.records(parts)[-1]["pairs_within_radius"] > 40
    # The other way round the file is the smaller table.
    same(*both(reference[["RA", "Dec"]], ac.write(mine, tmp_path / f"mine.{kind}"), find=find))


@pytest.mark.filterwarnings("ignore:no row has a counterpart")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [None, [], ["id"], ["name", "flux"], ["when"], ["pos"]])
@pytest.mark.parametrize("radius", [1e-5, 4.0, 648000.0])
def test_columns_and_radii(kind, columns, radius, mine, reference, tmp_path):
    path = ac.write(reference, tmp_path / f"big.{kind}")
    same(*both(mine, path, columns=columns, radius=radius * u.arcsec))


@pytest.mark.parametrize("kind", KINDS)
def test_sky_coord_and_galactic_positions(kind, mine, reference, tmp_path):
    known = np.isfinite(reference["RA"].value)
    path = ac.write(reference[known], tmp_path / f"big.{kind}")
    same(*both(mine, path, reference_position="pos", columns=["id"]))
    galactic = QTable(
        {"l": reference["pos"].l[known], "b": reference["pos"].b[known], "id": reference["id"][known]}
    )
    path = ac.write(galactic, tmp_path / f"galactic.{kind}")
    whole, parts = both(mine, path)
    same(whole, parts)
    assert not np.all(parts["match_separation"].mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["here", "there", "both", "mixed", "given", "nowhere"])
def test_epochs(kind, case, mine, reference, tmp_path):
    rng = np.random.default_rng(3)
    known = np.isfinite(reference["RA"].value)
    there = reference[known][["RA", "Dec", "id"]]
    options = {}

    def motions(n):
        pm = rng.normal(0, 200, (2, n)) * u.mas / u.yr
        pm[0, ::7] = np.nan
        return pm

    if case in ("here", "both", "mixed"):
        mine["pmra"], mine["pmdec"] = motions(len(mine))
    if case in ("there", "both", "mixed", "given"):
        there["pmRA"], there["pmDE"] = motions(len(there))
    mine["ref_epoch"] = 2016.0 * u.yr
    there["ref_epoch"] = (
        2000.0 if case != "mixed" else rng.integers(1990, 2005, len(there)).astype(float)
    ) * u.yr
    if case == "mixed":
        there["ref_epoch"][::5] = np.nan
        there["ref_epoch"][16:32] = np.nan
    if case == "given":
        there.remove_column("ref_epoch")
        options["reference_epoch"] = 1995.0
    whole, parts = both(mine, ac.write(there, tmp_path / f"big.{kind}"), find="all", **options)
    same(whole, parts)
    assert ("epochs" in ac.records(parts)[-1]) == (case != "nowhere")


def test_false_matches_are_asked_of_the_file(mine, reference, tmp_path):
    path = ac.write(reference, tmp_path / "big.parquet")
    with ac.conf.set_temp("max_reference_bytes", 0):
        out = ac.crossmatch(mine, path, radius=1 * u.arcsec)
    assert "false_matches" in ac.records(out)[-1]
    assert "match_p_false" in out.colnames


def test_errors_of_positions_decide(mine, reference, tmp_path):
    path = ac.write(reference[["RA", "Dec", "id"]], tmp_path / "big.parquet")
    options = {
        "method": "bayes",
        "position_error": 0.5 * u.arcsec,
        "reference_position_error": 0.5 * u.arcsec,
    }
    with ac.conf.set_temp("max_reference_bytes", 0):
        out = ac.crossmatch(mine, path, radius=4 * u.arcsec, **options)
        assert "match_p" in out.colnames
        with pytest.raises(InputError, match="give a radius"):
            ac.crossmatch(mine, path, **options)


def test_the_limit(mine, reference, tmp_path, monkeypatch):
    path = ac.write(reference, tmp_path / "big.fits")
    asked = []
    real = streamed.pairs_of_file
    monkeypatch.setattr(streamed, "pairs_of_file", lambda *a, **k: asked.append(1) or real(*a, **k))
    for limit, n in ((2**31, 0), (path.stat().st_size, 0), (path.stat().st_size - 1, 1)):
        asked.clear()
        with ac.conf.set_temp("max_reference_bytes", limit):
            ac.crossmatch(mine, path, columns=["id"])
        assert len(asked) == n


def test_a_parquet_file_that_is_small_on_disk_only(tmp_path):
    n = 100_000
    same_everywhere = QTable({"ra": np.zeros(n), "dec": np.zeros(n), "x": np.zeros(n)})
    path = ac.write(same_everywhere, tmp_path / "flat.parquet")
    assert path.stat().st_size < 100_000
    with ac.conf.set_temp("max_reference_bytes", 8 * 3 * n - 1):
        assert open_if_large(path) is not None
    with ac.conf.set_temp("max_reference_bytes", 8 * 3 * n):
        assert open_if_large(path) is None


@pytest.mark.filterwarnings("ignore:CSV drops")
@pytest.mark.parametrize("kind", ["csv", "ecsv", "vot"])
def test_a_format_without_chunks(kind, mine, tmp_path):
    path = ac.write(mine, tmp_path / f"big.{kind}")
    ac.crossmatch(mine, path)
    with (
        ac.conf.set_temp("max_reference_bytes", 100),
        pytest.raises(
            InputError, match=r"more than conf.max_reference_bytes \(100\).*make a Parquet file of it"
        ),
    ):
        ac.crossmatch(mine, path)


@pytest.mark.parametrize("kind", ["fits", "parquet"])
def test_messages(kind, mine, reference, tmp_path):
    def fails(table, match, **options):
        path = ac.write(table, tmp_path / f"wrong.{kind}", overwrite=True)
        for limit in (0, 2**31):
            with ac.conf.set_temp("max_reference_bytes", limit), pytest.raises(InputError, match=match):
                ac.crossmatch(mine, path, **options)

    plain = reference[["RA", "Dec", "id"]]
    beyond = plain.copy()
    beyond["Dec"][77] = 400 * u.deg
    fails(beyond, r"in the reference .*beyond ±90 deg, in the rows .*77 \(400\).*reference_position=")
    fails(plain[["id"]], r"in the reference .*no columns that are known to be a position")
    fails(plain, "no column 'oops'", columns=["oops"])
    fails(plain, r"in the reference .*no column 'raa'", reference_position=("raa", "Dec"))
    fails(plain[:0], "in the reference .*has no rows")
    unknown = plain.copy()
    unknown["RA"] = np.nan * u.deg
    fails(unknown, "in the reference .*no row has a position: all values of RA and Dec")
    broken = ac.write(plain, tmp_path / f"broken.{kind}")
    data = broken.read_bytes()
    broken.write_bytes(data[: len(data) // 2] if kind == "parquet" else data[:-2880])
    with ac.conf.set_temp("max_reference_bytes", 0), pytest.raises(InputError, match="broken"):
        ac.crossmatch(mine, broken)


def test_rerun_with_another_limit(mine, reference, tmp_path):
    path = ac.write(reference, tmp_path / "big.parquet")
    out = ac.crossmatch(
        ac.write(mine, tmp_path / "mine.fits"), path, radius=4 * u.arcsec, false_matches=False
    )
    with ac.conf.set_temp("max_reference_bytes", 0):  # no warning: the hash is the same
        again = ac.rerun(ac.write(out, tmp_path / "out.fits"))
    assert again["id"].tolist() == out["id"].tolist()
