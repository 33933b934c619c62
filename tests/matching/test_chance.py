"""How many matches are false, and which: against simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table

import astro_cluster as ac
from astro_cluster.matching.background import background_at_hand, background_by_asking, shifted_positions
from astro_cluster.matching.chance import (
    Hazard,
    cap_area,
    expected_by_density,
    expected_by_shift,
    false_probability,
    fit_hazard,
)
from astro_cluster.tables import float_values

RADIUS = 3 * u.arcsec
MODES = ["each", "all", "best", "best-remote", "best-symmetric"]


def probabilities(out, name="match_p_false"):
    return float_values(out[name])


@pytest.fixture(scope="module")
def crowded(skies):
    """Five pairs of catalogues, one side of which is three times as crowded as the other."""
    return [skies(seed, others=12_000, steep=2.0) for seed in range(5)]


# ---------------------------------------------------------------- the statistics


def test_cap_area_on_the_sphere():
    assert cap_area(180 * 3600.0) == pytest.approx((u.sr * 4 * np.pi).to_value(u.arcsec**2))
    assert cap_area(np.array([1e-3, 1.0, 100.0])) == pytest.approx(np.pi * np.array([1e-6, 1.0, 1e4]))


def test_expected_numbers_against_loops():
    rng = np.random.default_rng(1)
    area = np.append(rng.exponential(1.0, 50), [np.inf] * 10)
    density = rng.uniform(0.1, 0.5, 60)
    shifted = np.append(rng.exponential(3.0, 70), [np.inf] * 30)
    limits = np.array([0.0, 0.3, 1.0, 7.0])
    by_density = [np.sum(density * np.minimum(area, limit)) for limit in limits]
    assert expected_by_density(area, density, limits) == pytest.approx(by_density)
    by_shift = [
        sum(np.sum(area >= event) / np.sum(shifted >= event) for event in shifted if event <= limit)
        for limit in limits
    ]
    assert expected_by_shift(area, shifted, limits) == pytest.approx(by_shift)


def test_probabilities_add_up_and_the_rate_never_grows():
    rng = np.random.default_rng(2)
    density = rng.uniform(0.02, 0.2, 5000)
    true = np.where(rng.uniform(size=5000) < 0.6, rng.exponential(0.3, 5000), np.inf)
    area = np.minimum(true, rng.exponential(1 / density))
    area[area > 4] = np.inf
    hazard = fit_hazard(area, density, 4.0)
    assert np.all(np.diff(hazard.heights) <= 0)
    met = np.isfinite(area)
    total = false_probability(area[met], density[met], hazard).sum()
    assert total == pytest.approx(float(expected_by_density(area, density, 4.0)), rel=1e-6)
    assert hazard.left(np.array([4.0]))[0] == pytest.approx(0.4, abs=0.04)


def test_few_rows_with_true_ones_close_by():
    """A rate that is one wide bin for a few dozen rows finds more true ones than there are."""
    rng = np.random.default_rng(3)
    density, limit, share = np.full(60, 0.02), float(np.pi * 9), []
    for _ in range(100):
        true = np.where(rng.uniform(size=60) < 0.5, rng.exponential(0.5 * np.pi, 60), np.inf)
        area = np.minimum(true, rng.exponential(1 / density))
        hazard = fit_hazard(np.where(area > limit, np.inf, area), density, limit)
        share.append(1 - float(hazard.left(np.array([limit]))[0]))
    assert np.mean(share) == pytest.approx(0.5, abs=0.03)


def test_a_pair_and_a_nearest_pair():
    hazard = Hazard(np.array([0.0, 1.0, 2.0]), np.array([2.0, 0.5]))
    area, density = np.array([0.5, 1.5]), np.array([0.1, 0.3])
    assert false_probability(area, density, hazard) == pytest.approx([0.1 / 2.1, 0.3 / 0.8])
    left = np.exp([-1.0, -2.25])
    wanted = density / (density + [2.0, 0.5] * left)
    assert false_probability(area, density, hazard, nearest=False) == pytest.approx(wanted)


# ---------------------------------------------------------------- the sky


@pytest.mark.parametrize("place", [(0.0, 90.0), (359.9999, 0.0), (77.0, -89.9999)])
def test_moved_positions_are_rings(place):
    here = SkyCoord([place[0]] * 200, [place[1]] * 200, unit="deg")
    rows, moved = shifted_positions(here, np.ones(200, dtype=bool), 50.0)
    gap = here[rows].separation(moved).arcsec
    assert len(rows) == 1600
    assert gap.min() > 50 - 1e-6
    assert gap.max() < 70 + 1e-6
    east, north = here[rows].spherical_offsets_to(moved)
    assert abs(east.arcsec.mean()) < 2  # in all directions
    assert abs(north.arcsec.mean()) < 2
    again = shifted_positions(here, np.ones(200, dtype=bool), 50.0)[1]
    assert np.array_equal(moved.ra, again.ra)


@pytest.mark.parametrize("centre", [(180.0, 0.0), (0.0, 5.0), (77.0, 90.0), (10.0, -89.99)])
@pytest.mark.parametrize("radius", [0.1, 10.0, 100.0])
def test_density_of_an_even_sky(centre, radius):
    rng = np.random.default_rng(5)
    middle = SkyCoord(*centre, unit="deg")
    there = middle.directional_offset_by(
        rng.uniform(0, 360, 20_000) * u.deg, np.sqrt(rng.uniform(0, 1, 20_000)) * u.deg
    )
    here = middle.directional_offset_by(
        rng.uniform(0, 360, 400) * u.deg, 0.5 * np.sqrt(rng.uniform(0, 1, 400)) * u.deg
    )
    found = background_at_hand(
        here, there, radius * u.arcsec, valid=np.ones(400, bool), remote_valid=np.ones(20_000, bool)
    )
    truth = 20_000 / cap_area(3600.0)
    assert found.density.mean() == pytest.approx(truth, rel=0.05)
    assert (found.density / truth).std() < 0.35
    within = np.mean(found.shifted <= cap_area(radius))
    if radius >= 10:
        assert within == pytest.approx(1 - np.exp(-truth * cap_area(radius)), rel=0.1)


def test_small_crowded_fields_are_not_thinned():
    """Forty objects a field, fields far apart: the 32nd neighbour may lie in the next field."""
    rng = np.random.default_rng(6)
    fields = SkyCoord(np.arange(30) * 10.0, np.zeros(30), unit="deg")
    which = np.repeat(np.arange(30), 20)
    size = 3 * u.arcmin
    there = fields[which].directional_offset_by(
        rng.uniform(0, 360, 600) * u.deg, size * np.sqrt(rng.uniform(0, 1, 600))
    )
    found = background_at_hand(
        fields, there, 1 * u.arcsec, valid=np.ones(30, bool), remote_valid=np.ones(600, bool)
    )
    assert np.median(found.density) == pytest.approx(20 / cap_area(180.0), rel=0.4)


def test_density_by_asking():
    rng = np.random.default_rng(7)
    here = SkyCoord(rng.uniform(10, 30, 500), rng.uniform(-10, 10, 500), unit="deg")
    truth = np.where(here.ra.deg < 20, 1e-4, 1e-3)
    asked = []

    def probe(places, reach):
        asked.append((len(places), here[:, None].separation(places[None, :]).min(axis=0)))
        density = np.where(places.ra.deg < 20, 1e-4, 1e-3)
        nearest = np.sqrt(rng.exponential(1 / density) / np.pi)
        return np.where(nearest <= reach.to_value(u.arcsec), nearest, np.inf)

    found = background_by_asking(
        here, np.ones(500, bool), 2 * u.arcsec, probe, most=2000, reach=60 * u.arcsec
    )
    ((n_places, gap),) = asked
    assert n_places == 2000
    assert gap.min() > 62 * u.arcsec  # farther than it looks, and a radius more
    assert gap.max() < 1.4 * 62.01 * u.arcsec  # and no farther than need be, for sources lie in clumps
    away = np.abs(here.ra.deg - 20) > 2
    ratio = (found.density / truth)[away]
    assert ratio.mean() == pytest.approx(1, abs=0.1)
    assert ratio.std() < 0.4


def test_nothing_is_said_of_what_was_not_looked_at():
    """A radius by TAP may be larger than the reach of the question how crowded the reference is."""
    here = SkyCoord([10.0, 20.0], [0.0, 0.0], unit="deg")
    found = background_by_asking(
        here,
        np.ones(2, bool),
        10 * u.arcmin,
        lambda places, reach: np.full(len(places), np.inf),
        most=16,
        reach=180 * u.arcsec,
    )
    assert not len(found.shifted)  # else: that no moved position has an object within ten arcminutes
    assert found.correction(float(cap_area(600.0))) == 1


# ---------------------------------------------------------------- the column


@pytest.mark.parametrize("find", MODES)
def test_false_matches_add_up(crowded, find):
    """The sum of the probabilities is the number of false matches, within its scatter."""
    false = expected = variance = 0.0
    for local, reference in crowded:
        out = ac.crossmatch(local, reference, radius=RADIUS, columns=["number"], find=find)
        p = probabilities(out)
        met = np.isfinite(p)
        wrong = np.ma.filled(np.ma.asarray(out["number"]), -2)[met] != np.asarray(out["true"])[met]
        false, expected = false + wrong.sum(), expected + p[met].sum()
        variance += np.sum(p[met] * (1 - p[met]))
    assert false > 700
    # Densities are known to some percent only, which the scatter of the truth does not hold.
    assert abs(false - expected) < 3 * np.sqrt(variance) + 0.05 * false


def _clump(rng):
    """Return 60 rows and 330 objects in a clump with a core of a minute; half of the rows have one."""

    def places(count):
        away = 60 * np.sqrt(1 / rng.uniform(0.02, 1, count) - 1)
        turn = rng.uniform(0, 2 * np.pi, count)
        return away * [np.cos(turn), np.sin(turn)]

    here, more = places(60), places(300)
    has = rng.uniform(size=60) < 0.5
    there = np.hstack([here[:, has] + rng.normal(0, 0.5, (2, has.sum())), more])
    here, there = ([10 + x / 3600, y / 3600] * u.deg for x, y in (here, there))
    local = QTable({"ra": here[0], "dec": here[1], "true": np.where(has, np.cumsum(has) - 1, -1)})
    return local, QTable({"ra": there[0], "dec": there[1], "number": np.arange(there.shape[1])})


@pytest.mark.parametrize("find", ["each", "all", "best-remote"])
def test_few_rows_in_a_clump(find):
    """Moved positions leave it, and what is false has to be told from the neighbours."""
    rng, false, expected = np.random.default_rng(12), 0, 0.0
    for _ in range(40):
        local, reference = _clump(rng)
        out = ac.crossmatch(local, reference, radius=RADIUS, columns=["number"], find=find)
        p = probabilities(out)
        met = np.isfinite(p)
        false += (np.ma.filled(np.ma.asarray(out["number"]), -2)[met] != np.asarray(out["true"])[met]).sum()
        expected += p[met].sum()
    assert false > 250
    assert expected == pytest.approx(false, rel=0.12)


def test_probabilities_are_honest(crowded):
    p, wrong = [], []
    for local, reference in crowded:
        out = ac.crossmatch(local, reference, radius=RADIUS, columns=["number"], find="best")
        p.append(probabilities(out))
        wrong.append(np.asarray(out["number"]) != np.asarray(out["true"]))
    p, wrong = np.concatenate(p), np.concatenate(wrong)
    for low, high in zip(
        [0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7], [0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1], strict=True
    ):
        bin_ = (p > low) & (p <= high)
        assert bin_.sum() > 20
        scatter = np.sqrt(np.sum(p[bin_] * (1 - p[bin_]))) / bin_.sum()
        assert abs(wrong[bin_].mean() - p[bin_].mean()) < 4 * scatter + 0.03


def test_the_record_tells_how_many(crowded):
    local, reference = crowded[0]
    out = ac.crossmatch(local, reference, radius=RADIUS, columns=["number"])
    facts = ac.records(out)[-1]["false_matches"]
    p = probabilities(out)
    matched = np.isfinite(p)
    assert facts["matched"] == matched.sum() == (~out["match_separation"].mask).sum()
    assert facts["expected"] == pytest.approx(p[matched].sum())
    assert facts["spread"] == pytest.approx(np.sqrt(facts["expected"]))
    assert facts["fraction"] == pytest.approx(facts["expected"] / facts["matched"])
    wrong = (out["number"][matched] != out["true"][matched]).sum()
    assert abs(facts["by_density"] - wrong) < 4 * facts["spread"]
    assert abs(facts["by_shift"] - wrong) < 4 * facts["spread"]
    assert facts["true_share"] == pytest.approx(0.7, abs=0.05)


def test_the_column(skies, tmp_path):
    local, reference = skies(1, n=300, others=1000)
    out = ac.crossmatch(local, reference, radius=1 * u.arcsec, columns=["number"], separation="near")
    assert out.colnames[-2:] == ["near", "near_p_false"]
    column = out["near_p_false"]
    assert np.array_equal(column.mask, out["near"].mask)
    assert column.info.meta == {"ucd": "stat.probability"}
    assert column.info.description.startswith("Probability that the matched object in a table in memory")
    none = ac.crossmatch(local, reference, radius=1 * u.arcsec, columns=[], false_matches=False)
    assert none.colnames[-1] == "match_separation"
    assert "false_matches" not in ac.records(none)[-1]
    with pytest.raises(ac.InputError, match="already has the column 'gaia_p_false'"):
        ac.crossmatch(
            QTable({**local, "gaia_p_false": np.ones(300)}), reference, separation="gaia_separation"
        )


def test_the_same_again(skies, tmp_path):
    local, reference = skies(2, n=300, others=3000)
    path = ac.write(reference, tmp_path / "reference.vot")
    out = ac.crossmatch(local, str(path), radius=RADIUS)
    again = ac.rerun(ac.write(out, tmp_path / "out.vot"))
    assert np.array_equal(probabilities(out), probabilities(again), equal_nan=True)


def test_a_match_with_nothing_true(skies):
    local, reference = skies(3, share=0.0, others=10_000)
    out = ac.crossmatch(local, reference, radius=RADIUS, find="best")
    assert probabilities(out).mean() > 0.97


def test_identical_catalogues(skies):
    local, _ = skies(4)
    out = ac.crossmatch(local, QTable(local["ra", "dec"]), radius=RADIUS)
    assert probabilities(out).max() < 1e-6


@pytest.mark.filterwarnings("ignore:no row has a counterpart")
def test_awkward_tables():
    one = QTable({"ra": [10.0], "dec": [0.0]})
    near = QTable({"ra": [10.0001], "dec": [0.0]})
    assert 0 <= probabilities(ac.crossmatch(one, near))[0] < 1e-6
    far = QTable({"ra": [50.0], "dec": [0.0]})
    assert np.isnan(probabilities(ac.crossmatch(one, far))[0])
    pole = QTable({"ra": np.arange(20.0), "dec": np.full(20, 90.0)})
    assert np.all(probabilities(ac.crossmatch(pole, pole)) < 1e-3)
    gap = QTable({"ra": MaskedColumn([10.0, 10.0], mask=[False, True]), "dec": [0.0, 0.0]})
    assert np.isnan(probabilities(ac.crossmatch(gap, near))).tolist() == [False, True]
    wide = ac.crossmatch(one, far, radius=120 * u.deg)
    assert probabilities(wide)[0] <= 1
    assert ac.records(wide)[-1]["false_matches"]["by_shift"] is None


def test_a_crowd_within_the_radius():
    rng = np.random.default_rng(8)
    there = QTable({"ra": rng.uniform(10, 10.02, 5000), "dec": rng.uniform(0, 0.02, 5000)})
    here = QTable({"ra": rng.uniform(10.005, 10.015, 40), "dec": rng.uniform(0.005, 0.015, 40)})
    p = probabilities(ac.crossmatch(here, there, radius=15 * u.arcsec))
    assert np.all((p > 0.5) & (p <= 1))


# ---------------------------------------------------------------- services


@pytest.fixture
def asking(cds, peer, skies):
    """The stand-in, asked for false matches too; it knows a reference as "simbad"."""
    reference = skies(9, n=600, others=6000, centre=(0.0, 5.0))[1]
    cds.catalogues["simbad"] = peer.Catalogue(Table(reference["ra", "dec", "number"]), "ra", "dec")
    with ac.conf.set_temp("false_match_rows", 1000):
        yield cds


@pytest.fixture
def local(skies):
    return skies(9, n=600, others=6000, centre=(0.0, 5.0))[0]


def test_one_more_request(asking, local, skies):
    out = ac.crossmatch(local, "simbad", radius=5 * u.arcsec, chunk_rows=400)
    assert len(asking.forms) == 3
    extra = asking.forms[-1]
    assert extra["selection"] == "best"
    assert float(extra["distmaxarcsec"]) == 30
    assert 500 < len(extra["file:cat1"].splitlines()) <= 1001
    p = probabilities(out)
    met = ~out["match_separation"].mask
    assert np.array_equal(np.isfinite(p), met)
    facts = ac.records(out)[-1]["false_matches"]
    wrong = (out["number"][met] != out["true"][met]).sum()
    assert abs(facts["expected"] - wrong) < 4 * facts["spread"]
    at_hand = ac.crossmatch(local, skies(9, n=600, others=6000, centre=(0.0, 5.0))[1], radius=5 * u.arcsec)
    assert facts["expected"] == pytest.approx(probabilities(at_hand)[met].sum(), rel=0.25)
    again = ac.crossmatch(local, "simbad", radius=5 * u.arcsec, chunk_rows=400)
    assert len(asking.forms) == 3  # kept
    assert np.array_equal(p, probabilities(again), equal_nan=True)


def test_a_failure_of_it_does_not_lose_the_match(asking, peer, local):
    asking.faults.extend([None, *[peer.failing(500)] * 5])
    with pytest.warns(ac.AstroClusterWarning, match="how many matches are false could not be asked"):
        out = ac.crossmatch(local, "simbad", radius=10 * u.arcsec)
    assert not out["match_separation"].mask.all()
    assert out["match_p_false"].mask.all()
    assert "false_matches" not in ac.records(out)[-1]


def test_not_asked_for(asking, local):
    out = ac.crossmatch(local, "simbad", radius=10 * u.arcsec, false_matches=False)
    assert len(asking.forms) == 1
    assert "match_p_false" not in out.colnames


def test_a_part_stands_for_very_many(monkeypatch, crowded):
    from astro_cluster.matching import background

    local, reference = crowded[0]
    whole = ac.crossmatch(local, reference, radius=RADIUS, columns=["number"], find="best")
    monkeypatch.setattr(background, "_MOST_COUNTED", 300)
    monkeypatch.setattr(background, "_MOST_REFERENCE", 5000)
    monkeypatch.setattr(background, "_MOST_SHIFTED", 4000)
    part = ac.crossmatch(local, reference, radius=RADIUS, columns=["number"], find="best")
    assert ac.records(part)[-1]["false_matches"]["shifted_positions"] == 4000
    for name in ("expected", "by_density", "by_shift"):
        whole_number, number = (ac.records(out)[-1]["false_matches"][name] for out in (whole, part))
        assert number == pytest.approx(whole_number, rel=0.15)
    assert np.corrcoef(probabilities(whole), probabilities(part))[0, 1] > 0.9


PLACES = {
    "anywhere": lambda rng, m: (rng.uniform(0, 360, m), rng.uniform(-90, 90, m)),
    "at the pole": lambda rng, m: (
        rng.uniform(0, 360, m),
        90 - rng.integers(0, 2, m) * rng.uniform(0, 1e-3, m),
    ),
    "one place": lambda _, m: (np.full(m, 10.0), np.full(m, -5.0)),
    "across 0 h": lambda rng, m: (rng.normal(0, 1e-3, m) % 360, rng.normal(0, 1e-3, m)),
    "on a grid": lambda rng, m: (
        (rng.integers(0, 3, m) * 1e-4 + 359.9999) % 360,
        rng.integers(0, 3, m) * 1e-4,
    ),
}


@pytest.mark.filterwarnings("ignore:no row has a counterpart")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("find", [*MODES, "each-dist"])
def test_probabilities_are_probabilities(place, find):
    """Whatever the tables: no error, no warning, nothing beyond 0 and 1, masked as the separation."""
    rng = np.random.default_rng(10)
    for exponent in (-6, -1, 1, 3, 5.7):
        tables = []
        for m in rng.integers(1, 60, 2):
            ra, dec = PLACES[place](rng, m)
            ra[1:][rng.uniform(size=m - 1) < 0.1] = np.nan
            tables.append(QTable({"ra": ra, "dec": dec, "pos_err": np.exp(rng.normal(-1, 1, m)) * u.arcsec}))
        radius = 10**exponent * u.arcsec
        out = ac.crossmatch(*tables, radius=radius, find=find)
        p = probabilities(out)
        assert np.array_equal(np.isfinite(p), np.isfinite(float_values(out["match_separation"])))
        assert np.all((p >= 0) & (p <= 1) | np.isnan(p))
        facts = ac.records(out)[-1]["false_matches"]
        assert 0 <= facts["expected"] <= facts["matched"] + 1e-6
        none = float_values(ac.crossmatch(*tables, radius=radius, find=find, method="bayes")["match_p_none"])
        assert np.all((none >= 0) & (none <= 1) | np.isnan(none))
