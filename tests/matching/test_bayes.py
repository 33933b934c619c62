"""Associations by the errors of positions: against loops, and simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable

import astro_cluster as ac
from astro_cluster import InputError
from astro_cluster.matching.bayes import associate, log_bayes_factor, log_density_of_offsets
from astro_cluster.matching.position_errors import read_position_errors
from astro_cluster.tables import float_values

CIRCLES = {"position_error": "err_maj", "reference_position_error": "err_maj"}


def _plain(column):
    return np.ma.filled(np.ma.asarray(getattr(column, "value", column)), -2).tolist()


def filled(out, name):
    return np.ma.filled(np.ma.asarray(out[name]), -2)


# ---------------------------------------------------------------- the mathematics


def test_the_bayes_factor_of_the_paper():
    """Budavári & Szalay (2008): 2 / (s1² + s2²) exp(-psi² / 2 (s1² + s2²)), in radians."""
    here = SkyCoord([10.0, 200.0], [0.0, -60.0], unit="deg")
    there = here.directional_offset_by([30, 200] * u.deg, [0.3, 1.2] * u.arcsec)
    first, second = np.array([0.2, 0.5]), np.array([0.1, 0.4])
    covariances = [np.column_stack([s**2, s**2, 0 * s]) for s in (first, second)]
    found, _ = log_density_of_offsets(here, there, here.separation(there).arcsec, *covariances)
    variance = (first**2 + second**2) * u.arcsec.to(u.rad) ** 2
    psi = here.separation(there).rad
    assert log_bayes_factor(found) == pytest.approx(np.log(2 / variance) - psi**2 / (2 * variance))


def test_ellipses_against_matrices():
    rng = np.random.default_rng(1)
    here = SkyCoord(rng.uniform(0, 360, 50), rng.uniform(-80, 80, 50), unit="deg")
    there = here.directional_offset_by(rng.uniform(0, 360, 50) * u.deg, rng.uniform(0, 3, 50) * u.arcsec)
    roots = rng.normal(size=(2, 50, 2, 2))
    first, second = roots @ roots.transpose(0, 1, 3, 2)
    packed = [np.column_stack([m[:, 0, 0], m[:, 1, 1], m[:, 0, 1]]) for m in (first, second)]
    found, squared = log_density_of_offsets(here, there, here.separation(there).arcsec, *packed)
    east, north = here.spherical_offsets_to(there)
    for k in range(50):
        offset, total = np.array([east[k].arcsec, north[k].arcsec]), first[k] + second[k]
        distance = offset @ np.linalg.solve(total, offset)
        assert squared[k] == pytest.approx(distance, rel=2e-3, abs=1e-6)
        wanted = -distance / 2 - np.log(2 * np.pi * np.sqrt(np.linalg.det(total)))
        assert found[k] == pytest.approx(wanted, rel=2e-3, abs=2e-3)


def test_the_axes_of_the_other_position_near_the_pole():
    """Half a turn around the pole, north of one position is the opposite of that of the other."""
    here, there = SkyCoord([0.0], [90 - 1 / 3600], unit="deg"), SkyCoord([90.0], [90 - 1 / 3600], unit="deg")
    round_error, long = np.array([[1e-6, 1e-6, 0.0]]), np.array([[4.0, 0.01, 0.0]])
    gap = here.separation(there).arcsec
    # East of the second is south of the first: the offset is as much along it as across.
    turned = np.array([[0.01, 4.0, 0.0]])
    found = log_density_of_offsets(here, there, gap, round_error, long)[0]
    flat = log_density_of_offsets(here, there, gap, turned, round_error)[0]
    assert found == pytest.approx(flat, abs=1e-3)


@pytest.mark.parametrize("completeness", [None, 0.3])
def test_posteriors_against_loops(completeness):
    rng = np.random.default_rng(2)
    row = np.sort(rng.integers(0, 40, 100))
    log_density, density = rng.normal(0, 3, 100), rng.uniform(0.1, 2, 40)
    found = associate(row, log_density, density, completeness)
    share = found.completeness
    for i in range(40):
        mine = np.flatnonzero(row == i)
        terms = [share * np.exp(log_density[k]) / density[i] for k in mine]
        total = sum(terms) + 1 - share
        assert found.none[i] == pytest.approx((1 - share) / total)
        assert found.pair[mine] == pytest.approx([term / total for term in terms])
        assert found.pair[mine].sum() + found.none[i] == pytest.approx(1)
    odds = found.pair / (1 - found.pair)
    assert found.log_odds == pytest.approx(np.log(odds), rel=1e-6, abs=1e-6)
    if completeness is None:  # no other share makes the candidates likelier
        evidence = np.bincount(row, np.exp(log_density) / density[row], minlength=40)
        shares = np.linspace(0.001, 0.999, 999)[:, None]
        likelihood = np.log(1 - shares + shares * evidence).sum(axis=1)
        assert share == pytest.approx(shares[np.argmax(likelihood), 0], abs=1e-3)


def test_one_row_proves_little():
    sure = associate(np.array([0]), np.array([20.0]), np.array([1.0]))
    assert sure.completeness == pytest.approx(2 / 3)
    alone = associate(np.empty(0, dtype=int), np.empty(0), np.array([1.0, np.nan]))
    assert alone.none[0] == 1
    assert np.isnan(alone.none[1])


def test_a_counterpart_that_must_be_and_is_not_near():
    found = associate(np.array([0]), np.array([20.0]), np.array([1.0, 1.0]), 1.0)
    assert found.pair.tolist() == [1.0]
    assert found.none.tolist() == [0.0, 1.0]


# ---------------------------------------------------------------- simulations


SKIES = {
    "even": {},
    "errors of all sizes": {"scatter": 0.8},
    "crowded to one side": {"scatter": 0.5, "others": 25_000, "steep": 2.0},
    "ellipses": {"scatter": 0.3, "longer": 4.0, "others": 25_000, "centre": (10.0, 60.0)},
    "at the pole": {"longer": 4.0, "others": 25_000, "centre": (77.0, 90.0)},
    "few have one": {"share": 0.15, "others": 15_000},
}


@pytest.mark.parametrize("case", SKIES)
def test_probabilities_are_honest(skies, case):
    p, right, none, alone = [], [], [], []
    for seed in range(3):
        local, reference = skies(seed, **SKIES[case])
        out = ac.crossmatch(local, reference, method="bayes", columns=["number"], find="all")
        p.append(np.asarray(out["match_p"]))
        right.append(filled(out, "number") == filled(out, "true"))
        whole = ac.crossmatch(local, reference, method="bayes", columns=["number"])
        none.append(np.asarray(whole["match_p_none"]))
        alone.append(filled(whole, "true") == -1)
        share = ac.records(whole)[-1]["bayes"]["completeness"]
        assert share == pytest.approx(SKIES[case].get("share", 0.7), abs=0.04)
    for told, truth in ((p, right), (none, alone)):
        told, truth = np.concatenate(told), np.concatenate(truth)
        for low in np.linspace(0, 0.8, 5):
            bin_ = (told >= low) & (told < low + 0.2 + 1e-9)
            scatter = np.sqrt(np.sum(told[bin_] * (1 - told[bin_]))) / max(bin_.sum(), 1)
            # Densities are known to a tenth or two, on which the middle depends most.
            assert bin_.sum() < 20 or abs(truth[bin_].mean() - told[bin_].mean()) < 4 * scatter + 0.03


@pytest.mark.parametrize("case", ["errors of all sizes", "crowded to one side", "ellipses"])
def test_better_than_the_nearest_at_any_radius(skies, case):
    local, reference = skies(11, **SKIES[case])
    truth = np.asarray(local["true"])

    def right(**options):
        out = ac.crossmatch(local, reference, columns=["number"], **options)
        found = np.ma.filled(np.ma.asarray(out["number"]), -1)
        return np.mean(found == truth)

    nearest = max(right(radius=r * u.arcsec) for r in np.geomspace(0.3, 6, 15))
    assert right(method="bayes") > nearest + 0.005


def test_a_wrong_prior_is_worse(skies):
    """The estimated share is as good as the true one, a wrong one is not."""
    local, reference = skies(12, share=0.3, others=40_000)

    def surprise(**options):
        out = ac.crossmatch(
            local, reference, method="bayes", columns=["number"], find="all", radius=4 * u.arcsec, **options
        )
        right = filled(out, "number") == filled(out, "true")
        p = np.asarray(out["match_p"])
        return -np.mean(np.log(np.maximum(np.where(right, p, 1 - p), 1e-12)))

    assert surprise() == pytest.approx(surprise(completeness=0.3), rel=0.02)
    assert surprise(completeness=0.95) > 1.05 * surprise()
    assert surprise(position_error=2 * u.arcsec) > 1.2 * surprise()


def test_agrees_with_a_loop_over_all_pairs(skies):
    """From the table to the probability, without any of our own parts but the density."""
    local, reference = skies(13, n=60, others=600, size=0.02, longer=2.0)
    out = ac.crossmatch(local, reference, method="bayes", radius=8 * u.arcsec, find="all", columns=["number"])
    share = ac.records(out)[-1]["bayes"]["completeness"]
    every = ac.crossmatch(local, reference, method="bayes", radius=8 * u.arcsec, max_p_none=1.0, columns=[])
    here, there = (SkyCoord(t["ra"], t["dec"]) for t in (local, reference))

    def matrix(table, k):
        a, b, t = table["err_maj"][k].value, table["err_min"][k].value, table["err_ang"][k].to_value(u.rad)
        turn = np.array([[np.sin(t), np.cos(t)], [np.cos(t), -np.sin(t)]])
        return turn @ np.diag([a**2, b**2]) @ turn.T

    rows = np.flatnonzero(here[:, None].separation(there[None]).min(axis=1) < 8 * u.arcsec)
    checked = 0
    for i in rows:
        mine = np.flatnonzero(here[i].separation(there) < 8 * u.arcsec)
        weights = []
        for k in mine:
            offset = np.array([part.arcsec for part in here[i].spherical_offsets_to(there[k])])
            total = matrix(local, i) + matrix(reference, k)
            density = np.exp(-offset @ np.linalg.solve(total, offset) / 2)
            weights.append(density / (2 * np.pi * np.sqrt(np.linalg.det(total))))
        told = np.asarray(out["match_p"])[out["ra"].value == local["ra"][i].value]
        ratio = np.sort(np.array(weights)) / np.sum(weights)
        some = 1 - np.asarray(every["match_p_none"])[i]
        assert np.sort(told) == pytest.approx(some * ratio, rel=1e-3, abs=1e-9)
        checked += len(mine)
    assert checked > 60
    assert 0 < share < 1


# ---------------------------------------------------------------- the table


def test_the_columns(skies, tmp_path):
    local, reference = skies(14, n=400, others=4000)
    local["ra"][5] = np.nan * u.deg
    out = ac.crossmatch(local, reference, method="bayes", columns=["number"], separation="csc_separation")
    assert out.colnames[-4:] == ["number", "csc_separation", "csc_p", "csc_p_none"]
    none = float_values(out["csc_p_none"])
    assert np.flatnonzero(np.isnan(none)).tolist() == [5]
    assert np.array_equal(out["csc_p"].mask, ~(none <= 0.5))
    assert np.array_equal(out["csc_p"].mask, out["csc_separation"].mask)
    assert out["csc_p"].info.meta == {"ucd": "stat.probability"}
    kept = float_values(ac.crossmatch(local, reference, method="bayes", max_p_none=1.0)["match_p"])
    assert np.isfinite(kept).sum() > (~out["csc_p"].mask).sum()
    path = ac.write(reference, tmp_path / "reference.vot")
    once = ac.crossmatch(local, str(path), method="bayes", columns=["number"])
    record = ac.records(once)[-1]
    assert {"err_maj", "err_min", "err_ang"} <= set(record["inputs"])
    assert record["bayes"]["reference_error_columns"] == ["err_maj", "err_min", "err_ang"]
    again = ac.rerun(ac.write(once, tmp_path / "out.vot"))
    assert np.array_equal(float_values(again["match_p"]), float_values(once["match_p"]), equal_nan=True)
    assert again.colnames == once.colnames


@pytest.mark.parametrize("find", ["each", "each-dist", "best", "all", "best-remote", "best-symmetric"])
def test_find_modes(skies, find):
    local, reference = skies(15, n=500, others=20_000)
    every = ac.crossmatch(local, reference, method="bayes", columns=["number"], find="all")
    out = ac.crossmatch(local, reference, method="bayes", columns=["number"], find=find)
    p = float_values(out["match_p"])
    key = "ra" if find in ("each", "each-dist", "best", "best-symmetric") else "number"
    best = {}
    for who, probability, none in zip(
        _plain(every[key]), np.asarray(every["match_p"]), np.asarray(every["match_p_none"]), strict=True
    ):
        if none <= 0.5 or find in ("all", "best-remote"):
            best[who] = max(best.get(who, 0), probability)
    if find == "all":
        assert len(out) == len(every)
        return
    for who, probability in zip(_plain(out[key]), p, strict=True):
        if np.isfinite(probability):
            assert probability == pytest.approx(best[who]) or find == "best-symmetric"
    if find.startswith("each"):
        assert len(out) == len(local)
        assert np.isfinite(p).sum() == len(best)
    elif find == "best":
        assert len(out) == len(best)
    else:
        numbers = filled(out, "number")
        assert len(np.unique(numbers)) == len(numbers)


def test_two_equal_candidates_share():
    local = QTable({"ra": [10.0], "dec": [0.0]})
    two = QTable({"ra": [10.0 + 1e-5, 10.0 - 1e-5], "dec": [0.0, 0.0], "n": [0, 1]})
    sure = {"position_error": 0.1 * u.arcsec, "reference_position_error": 0.1 * u.arcsec}
    out = ac.crossmatch(local, two, method="bayes", columns=["n"], **sure)
    assert float_values(out["match_p"])[0] == pytest.approx(0.5, abs=1e-3)
    assert out["match_p_none"][0] < 1e-3  # one of them it is: the row is not masked


@pytest.mark.filterwarnings("ignore:no row has a counterpart")
def test_awkward_tables(skies):
    error = {"position_error": 0.3 * u.arcsec, "reference_position_error": 0.3 * u.arcsec}
    local = skies(16, n=50, others=100)[0]
    far = QTable({"ra": [10.0], "dec": [80.0]})
    out = ac.crossmatch(local, far, method="bayes", **error)
    assert np.all(np.asarray(out["match_p_none"]) == 1)
    assert out["match_p"].mask.all()
    assert len(ac.crossmatch(local, far, method="bayes", find="best", **error)) == 0
    same = ac.crossmatch(local, local, method="bayes", columns=["true"], **error)
    assert np.all(np.asarray(same["match_p_none"]) < 0.1)
    pole = QTable({"ra": np.arange(5.0), "dec": np.full(5, 90.0)})
    out = ac.crossmatch(pole, pole, method="bayes", find="all", **error)
    assert len(out) == 25
    assert np.all(np.asarray(out["match_p"]) <= 0.21)
    crowd = QTable({"ra": np.full(500, 10.0), "dec": np.linspace(0, 1e-3, 500)})
    out = ac.crossmatch(QTable({"ra": [10.0], "dec": [5e-4]}), crowd, method="bayes", find="all", **error)
    assert np.asarray(out["match_p"]).sum() + out["match_p_none"][0] == pytest.approx(1)


# ---------------------------------------------------------------- where errors are found


def ellipse(table, **options):
    errors = read_position_errors(table, ("ra", "dec"), **options)
    return errors.columns, errors.covariance


POSITION = {"ra": [10.0, 11.0] * u.deg, "dec": [0.0, 1.0] * u.deg}


def test_gaia():
    table = QTable({**POSITION, "ra_error": [30.0, 20.0] * u.mas, "dec_error": [40.0, 50.0] * u.mas})
    table["ra_dec_corr"] = [0.5, -0.5]
    columns, covariance = ellipse(table)
    assert columns == ["ra_error", "dec_error", "ra_dec_corr"]
    assert covariance[0] == pytest.approx([9e-4, 16e-4, 6e-4])
    assert covariance[1, 2] == pytest.approx(-5e-4)


def test_vizier():
    table = QTable({"RA_ICRS": [1.0], "DE_ICRS": [2.0], "e_RA_ICRS": [5.0] * u.mas})
    table["e_DE_ICRS"], table["RADEcor"] = [6.0] * u.mas, [0.1]
    found = read_position_errors(table, ("RA_ICRS", "DE_ICRS"))
    assert found.columns == ["e_RA_ICRS", "e_DE_ICRS", "RADEcor"]


def test_simbad():
    table = QTable({**POSITION, "coo_err_maj": [300.0, 0.0] * u.mas, "coo_err_min": [100.0, 0.0] * u.mas})
    table["coo_err_angle"] = [90, 90] * u.deg
    columns, covariance = ellipse(table)
    assert columns == ["coo_err_maj", "coo_err_min", "coo_err_angle"]
    assert covariance[0] == pytest.approx([0.09, 0.01, 0.0], abs=1e-12)
    assert covariance[1] == pytest.approx([0.05, 0.05, 0.0])  # not known: the median of the others
    assert read_position_errors(table, ("ra", "dec")).n_filled == 1


def test_the_ellipses_of_chandra_hold_95_percent():
    table = QTable({**POSITION, "err_ellipse_r0": [1.0, 2.0] * u.arcsec})
    table["err_ellipse_r1"], table["err_ellipse_ang"] = [1.0, 1.0] * u.arcsec, [0.0, 0.0] * u.deg
    _, covariance = ellipse(table)
    assert np.exp(-0.5 / covariance[0, 0]) == pytest.approx(0.05)
    assert covariance[1, 1] == pytest.approx(4 * covariance[1, 0])  # the longer axis points north


@pytest.mark.parametrize("name", ["pos_err", "POS_ERR", "error_radius"])
def test_one_error_a_row(name):
    table = QTable({**POSITION, name: [0.3, np.nan] * u.arcsec})
    columns, covariance = ellipse(table)
    assert columns == [name]
    assert covariance == pytest.approx(np.array([[0.09, 0.09, 0.0]] * 2))


def test_by_ucd():
    table = QTable({**POSITION, "a": [3.0, 3.0] * u.mas, "b": [2.0, 2.0] * u.mas, "c": [0.0, 0.0] * u.deg})
    words = ("phys.angSize.smajAxis", "phys.angSize.sminAxis", "pos.posAng")
    for name, word in zip("abc", words, strict=True):
        table[name].info.meta = {"ucd": f"{word};pos.errorEllipse;pos.eq"}
    assert ellipse(table)[0] == ["a", "b", "c"]
    table["s"] = [1.0, 1.0] * u.arcsec
    table["s"].info.meta = {"ucd": "stat.error;pos.eq"}
    assert ellipse(table["ra", "dec", "s"])[0] == ["s"]


def test_errors_of_an_earlier_match_are_not_ones_own(skies):
    local, reference = skies(17, n=100, others=100)
    local.remove_columns(["err_maj", "err_min", "err_ang"])
    out = ac.crossmatch(local, reference, radius=2 * u.arcsec)
    out["pos_err"] = 0.5 * u.arcsec
    assert read_position_errors(out, ("ra", "dec")).columns == ["pos_err"]


@pytest.mark.parametrize(
    ("columns", "given", "message"),
    [
        ({}, None, "no columns of position errors are found .*--position-error"),
        ({"pos_err": [0.1, 0.2]}, None, r"'pos_err' of position errors has no unit.*table\['pos_err'\].unit"),
        ({"pos_err": [0.1, 0.2] * u.s}, None, "is in 's', which is not an angle"),
        ({"pos_err": ["a", "b"]}, None, "one number a row"),
        ({"pos_err": [0.0, -1.0] * u.arcsec}, None, "no row has a position error"),
        ({}, 3 * u.s, "is not one positive angle"),
        ({}, -3 * u.arcsec, "is not one positive angle"),
        ({}, "ra_error", "there is no column 'ra_error'"),
        ({}, ("a", "b", "c", "d"), "one to three columns"),
        ({}, 0.3, "one to three columns"),
        (
            {"a": [1.0, 1.0] * u.mas, "b": [1.0, 1.0] * u.mas, "c": [0.0, 2.0]},
            "a,b,c",
            "'c' has correlations beyond",
        ),
    ],
)
def test_errors_that_cannot_be_used(columns, given, message):
    with pytest.raises(InputError, match=message):
        read_position_errors(QTable({**POSITION, **columns}), ("ra", "dec"), given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bayesian"}, r"no method 'bayesian'; did you mean 'bayes'\?"),
        ({"completeness": 0.5}, "completeness= is for method='bayes'"),
        ({"method": "bayes", "completeness": 1.5}, "completeness=1.5"),
        ({"method": "bayes", "max_p_none": 2}, "max_p_none=2 is not a probability"),
        ({"method": "bayes", "false_matches": True}, "leave false_matches out"),
        ({"method": "bayes", "position_error": 500 * u.arcsec}, "give the radius"),
        ({"method": "bayes", "reference_position_error": "nothing"}, "in the reference: there is no column"),
    ],
)
def test_wrong_parameters(skies, options, message):
    local, reference = skies(18, n=20, others=20)
    with pytest.raises(InputError, match=message):
        ac.crossmatch(local, reference, **options)


def test_galactic_ellipses_are_refused():
    table = QTable({"l": [10.0], "b": [5.0], "err_maj": [1.0] * u.arcsec, "err_min": [0.5] * u.arcsec})
    table["err_ang"] = [30.0] * u.deg
    with pytest.raises(InputError, match="in right ascension and declination only"):
        ac.crossmatch(table, table, method="bayes")
    out = ac.crossmatch(table, table, method="bayes", **CIRCLES)
    assert out["match_p"][0] > 0.9
    here = SkyCoord(10 * u.deg, 5 * u.deg, frame="galactic").icrs
    equatorial = QTable({"ra": [here.ra], "dec": [here.dec]})
    mixed = QTable({"pos": SkyCoord(table["l"] * u.deg, table["b"] * u.deg, frame="galactic")})
    for name in ("err_maj", "err_min", "err_ang"):
        mixed[name] = table[name]
    for reference in (table, mixed):
        with pytest.raises(InputError, match=r"in the reference.*reference_position_error='pos_err'"):
            ac.crossmatch(equatorial, reference, method="bayes", position_error=1 * u.arcsec)


def test_a_row_without_an_error_is_not_lost(skies):
    local, reference = skies(19, n=100, others=100)
    reference["err_maj"] = MaskedColumn(reference["err_maj"].value, mask=np.arange(len(reference)) % 2 == 0)
    reference["err_maj"].unit = u.arcsec
    out = ac.crossmatch(local, reference, method="bayes", columns=["number"])
    assert ac.records(out)[-1]["bayes"]["reference_errors_not_known"] == (len(reference) + 1) // 2
    found = filled(out, "number") == np.asarray(local["true"])
    assert found.sum() > 0.9 * (np.asarray(local["true"]) >= 0).sum()


def test_with_a_service(cds, peer, skies):
    local, reference = skies(20, n=500, others=3000, longer=3.0)
    cds.catalogues["simbad"] = peer.Catalogue(reference, "ra", "dec")
    options = {"method": "bayes", "radius": 4 * u.arcsec, "columns": ["number"]}
    with pytest.raises(InputError, match=r"conf\.false_match_rows"):
        ac.crossmatch(local, "simbad", **options)
    with pytest.raises(InputError, match="give a radius"):
        ac.crossmatch(local, "simbad", method="bayes")
    with ac.conf.set_temp("false_match_rows", 1000):
        out = ac.crossmatch(local, "simbad", **options)
    at_hand = ac.crossmatch(local, reference, **options)
    assert out.colnames == at_hand.colnames
    same = filled(out, "number") == filled(at_hand, "number")
    assert same.mean() > 0.98
    with ac.conf.set_temp("false_match_rows", 1000):
        cds.faults.extend([None, *[peer.failing(500)] * 9])
        with pytest.raises(ac.ServiceError):
            ac.crossmatch(local, "simbad", **options, cache=False)
