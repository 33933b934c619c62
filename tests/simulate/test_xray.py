"""The simulations are repeatable, physically possible, and say that they are simulations."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io.votable.ucd import check_ucd
from scipy.stats import chi2_contingency, kstest, rayleigh

from astro_cluster.exceptions import InputError
from astro_cluster.provenance import content_hash, records
from astro_cluster.recipes import CSC2, CSC2_12
from astro_cluster.simulate import chandra, simbad


@pytest.fixture(scope="module")
def cat():
    return chandra(4000)


@pytest.fixture(scope="module")
def objects(cat):
    return simbad(cat)


def test_a_seed_repeats(cat):
    assert content_hash(chandra(4000)) == content_hash(cat)
    assert content_hash(chandra(4000, random_state=43)) != content_hash(cat)
    assert content_hash(simbad(cat)) == content_hash(simbad(cat, random_state=42))
    assert content_hash(simbad(cat)) != content_hash(simbad(cat, random_state=1))
    (record,) = records(cat)
    assert record["function"] == "chandra"
    assert record["seed"] == 42
    assert record["parameters"] == {"n": 4000, "missing": 0.13, "random_state": 42}


def test_it_disturbs_nobodys_random_numbers():
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    simbad(chandra(20))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_it_says_that_it_is_simulated(cat, objects):
    assert "Simulated" in cat.meta["description"]
    assert "no observation" in cat.meta["description"]
    assert "Simulated" in objects.meta["description"]
    assert all(name.startswith("SIM J") for name in cat["name"])
    assert all(name.startswith("SIM") for name in objects["main_id"])


def test_four_in_ten_rows_lack_something(cat):
    incomplete = np.any([np.isnan(np.asarray(cat[name])) for name in CSC2.columns], axis=0)
    assert incomplete.mean() == pytest.approx(0.39, abs=0.03)
    complete = chandra(300, missing=0.0)
    assert not np.any([np.isnan(np.asarray(complete[name])) for name in CSC2.columns])
    # A band is missing as a whole.
    gone = [np.isnan(np.asarray(cat[f"var_{what}_h"])) for what in ("prob", "sigma", "mean", "min", "max")]
    assert (np.array(gone) == gone[0]).all()
    assert (np.isnan(np.asarray(cat["powlaw_gamma"])) == np.isnan(np.asarray(cat["bb_kt"]))).all()


def test_numbers_are_possible(cat):
    for name in ("hard_hm", "hard_hs", "hard_ms"):
        assert (np.abs(cat[name]) <= 1).all()
    for band in "bhms":
        low, mean, high, sigma = (
            np.asarray(cat[f"var_{what}_{band}"])[~np.isnan(np.asarray(cat[f"var_mean_{band}"]))]
            for what in ("min", "mean", "max", "sigma")
        )
        assert ((low >= 0) & (low <= mean) & (mean <= high) & (sigma >= 0)).all()
        for test in ("var", "ks", "kp"):
            p = np.asarray(cat[f"{test}_prob_{band}"])
            assert ((p[~np.isnan(p)] >= 0) & (p[~np.isnan(p)] <= 1)).all()
    for name in ("bb_kt", "theta", "src_area_b"):
        assert (cat[name][~np.isnan(cat[name])].value > 0).all()
    assert (cat["theta"] <= 8 * u.arcmin).all()
    ratio = np.asarray(cat["var_sigma_b"]) / np.asarray(cat["var_mean_b"])
    np.testing.assert_allclose(np.asarray(cat["var_ratio_b"]), ratio)
    middle = (np.asarray(cat["var_max_b"]) + np.asarray(cat["var_min_b"])) / 2
    np.testing.assert_allclose(np.asarray(cat["var_newq_b"]), middle / np.asarray(cat["var_mean_b"]))


def test_positions(cat):
    assert ((cat["ra"] >= 0 * u.deg) & (cat["ra"] < 360 * u.deg)).all()
    b = SkyCoord(cat["ra"], cat["dec"]).galactic.b.deg
    kind = np.asarray(cat["true_type"])
    distant = np.isin(kind, ["QSO", "Seyfert"])
    assert (np.abs(b[distant]) > 19).all()
    assert np.median(np.abs(b[~distant])) < 10
    # Sources of one observation lie in one field of view.
    for obsid in np.unique(cat["obsid"])[:20]:
        field = SkyCoord(cat["ra"], cat["dec"])[np.asarray(cat["obsid"]) == obsid]
        assert (field.separation(field[0]) <= 16 * u.arcmin).all()


def test_units_ucds_and_descriptions(cat, objects):
    units = {"ra": "deg", "dec": "deg", "theta": "arcmin", "src_area_b": "arcsec2", "bb_kt": "keV"}
    units |= {f"var_{what}_{band}": "ct / s" for what in ("sigma", "mean", "min", "max") for band in "bhms"}
    for name in cat.colnames:
        assert str(getattr(cat[name], "unit", None) or "") == units.get(name, ""), name
    assert {*CSC2.columns, *CSC2_12.columns, "name", "true_type"} <= set(cat.colnames)
    for table in (cat, objects):
        for name in table.colnames:
            assert check_ucd(table[name].info.meta["ucd"], check_controlled_vocabulary=True), name
            assert table[name].info.description, name


def test_populations_differ(cat):
    kind = np.asarray(cat["true_type"])
    means = [np.asarray(cat["hard_hs"])[kind == k].mean() for k in ("Star", "QSO", "YSO", "XRB")]
    assert means == sorted(means)


def matches(cat, objects) -> tuple[np.ndarray, np.ndarray]:
    """Return which sources have an object within 2 arcsec, and the separations of those [arcsec]."""
    _, d, _ = SkyCoord(cat["ra"], cat["dec"]).match_to_catalog_sky(SkyCoord(objects["ra"], objects["dec"]))
    near = d < 2 * u.arcsec
    return near, d[near].arcsec


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_matched_share(cat, share):
    near, separation = matches(cat, simbad(cat, matched=share))
    assert near.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(cat)))
    assert kstest(separation, rayleigh(scale=0.3).cdf).pvalue > 1e-4


@pytest.mark.parametrize("seed", [1, 42])
def test_who_is_matched_does_not_depend_on_the_type(seed):
    cat = chandra(3000, random_state=seed)
    near, _ = matches(cat, simbad(cat, matched=0.6, random_state=seed))
    kind = np.asarray(cat["true_type"])
    table = [[(near & (kind == k)).sum(), (~near & (kind == k)).sum()] for k in np.unique(kind)]
    assert chi2_contingency(table).pvalue > 1e-4
    assert abs(np.corrcoef(near, np.asarray(cat["hard_hs"]))[0, 1]) < 4 / np.sqrt(len(cat))


def test_types_follow_the_population(cat, objects):
    index, d, _ = SkyCoord(cat["ra"], cat["dec"]).match_to_catalog_sky(
        SkyCoord(objects["ra"], objects["dec"])
    )
    near = d < 2 * u.arcsec
    kind, named = np.asarray(cat["true_type"])[near], np.asarray(objects["main_type"])[index[near]]
    # Two sources of a crowded field may lie within 2 arcsec of each other.
    assert np.isin(named[kind == "QSO"], ["QSO", "AGN"]).mean() > 0.99
    assert np.isin(named[kind == "YSO"], ["YSO", "Orion_V*", "TTau*"]).mean() > 0.99
    assert len(set(objects["main_id"])) == len(objects)


def test_small_and_wrong_numbers():
    one = chandra(1)
    assert len(one) == 1
    assert len(simbad(one, matched=0.0)) == 1
    for n in (0, -3):
        with pytest.raises(InputError, match="at least one source"):
            chandra(n)
    for missing in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="is no share"):
            chandra(5, missing=missing)
    for table in (one["ra", "dec"], one[:0]):
        with pytest.raises(InputError, match=r"needs the table of simulate\.chandra"):
            simbad(table)


@pytest.mark.parametrize("matched", [-0.1, 1.5, float("nan")])
def test_a_share_of_matches_that_is_none(matched):
    with pytest.raises(InputError, match="matched"):
        simbad(chandra(5), matched=matched)
