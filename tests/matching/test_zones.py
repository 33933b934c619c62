"""Every pair, against brute force with astropy: anywhere on the sky, any radius, any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_cluster.matching import zoneindex, zones
from astro_cluster.matching.local import close_pairs, degrees

ENGINES = ["numba", "numpy"]
RADII = [1e-4, 1.0, 300.0, 3600.0, 20 * 3600.0, 100 * 3600.0, 180 * 3600.0]


def all_sky(rng, n, scale):
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def near_pole(sign):
    def make(rng, n, scale):
        away = np.abs(rng.normal(0, 2 * scale, n)) % 180
        away[rng.random(n) < 0.1] = 0.0  # the pole itself, under any right ascension
        return rng.uniform(0, 360, n), sign * (90 - away)

    return make


def at_wrap(rng, n, scale):
    ra = rng.normal(0, 2 * scale, n) % 360
    ra[rng.random(n) < 0.1] = 0.0
    return ra, np.clip(rng.normal(0, 2 * scale, n), -90, 90)


def two_clumps(rng, n, scale):
    clump = rng.random(n) < 0.5
    ra = np.where(clump, 10.0, 200.0) + rng.normal(0, 2 * scale, n)
    return ra % 360, np.clip(np.where(clump, 41.0, -69.0) + rng.normal(0, 2 * scale, n), -90, 90)


def on_a_line(rng, n, scale):
    return np.full(n, 359.99999), np.clip(rng.normal(0, 2 * scale, n), -90, 90)


def doubled(rng, n, scale):
    ra, dec = all_sky(rng, -(-n // 10), scale)
    return np.repeat(ra, 10)[:n], np.repeat(dec, 10)[:n]


SKIES = {
    "all sky": all_sky,
    "north pole": near_pole(1),
    "south pole": near_pole(-1),
    "wrap": at_wrap,
    "two clumps": two_clumps,
    "line": on_a_line,
    "doubled": doubled,
}


def brute(local, remote):
    """Separations [arcsec] of all with all, by astropy."""
    a, b = (SkyCoord(*axes, unit="deg") for axes in (local, remote))
    return a[:, None].separation(b[None, :]).to_value(u.arcsec)


def nearest_of(separation, radius):
    """Number and separation of the nearest of each row, the lowest of equally near ones."""
    within = np.where(separation <= radius, separation, np.inf)
    gap = within.min(axis=1)
    return np.where(np.isfinite(gap), within.argmin(axis=1), -1), np.where(np.isfinite(gap), gap, np.nan)


def check(local, remote, radius, engine="numba", n_threads=1):
    separation = brute(local, remote)
    i, j = np.nonzero(separation <= radius)
    options = {"engine": engine, "n_threads": n_threads}
    ours = zones.all_pairs(*local, *remote, radius, **options)
    np.testing.assert_array_equal(ours[0], i)
    np.testing.assert_array_equal(ours[1], j)
    np.testing.assert_array_equal(ours[2], separation[i, j])  # to the last bit
    row, gap, n_pairs = zones.nearest_pairs(*local, *remote, radius, **options)
    best, least = nearest_of(separation, radius)
    np.testing.assert_array_equal(row, best)
    np.testing.assert_array_equal(gap, least)
    assert n_pairs == len(i)
    return len(i)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sky", SKIES)
@pytest.mark.parametrize("radius", RADII)
def test_brute_force(sky, radius, engine):
    rng = np.random.default_rng(3)
    found = 0
    for n, k in ((120, 150), (150, 120), (1, 7), (7, 1)):
        local, remote = (SKIES[sky](rng, m, min(radius / 3600, 30.0)) for m in (n, k))
        found += check(local, remote, radius, engine)
    if sky == "doubled" or (sky == "all sky" and radius < 3600):
        local = SKIES[sky](rng, 50, radius / 3600)
        found += check(local, local, radius, engine)
    assert found > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_many_in_one_place(engine, monkeypatch):
    """More pairs than there is room for at once, for one row and for many."""
    monkeypatch.setattr(zoneindex, "_CAPACITY", 50)
    monkeypatch.setattr(zones, "_BLOCK", 64)
    monkeypatch.setattr("astro_cluster.matching.zonearrays._AT_ONCE", 100)
    rng = np.random.default_rng(5)
    for n, k in ((90, 400), (400, 90)):
        check(two_clumps(rng, n, 1e-4), two_clumps(rng, k, 1e-4), 1.0, engine, n_threads=2)
        check(near_pole(1)(rng, n, 1e-4), near_pole(1)(rng, k, 1e-4), 1.0, engine)


@pytest.mark.parametrize("where", ["all sky", "north pole", "wrap", "two clumps"])
def test_threads_change_nothing(where, monkeypatch):
    monkeypatch.setattr(zones, "_BLOCK", 100)
    rng = np.random.default_rng(6)
    local, remote = (SKIES[where](rng, n, 0.01) for n in (700, 2500))
    for a, b in ((local, remote), (remote, local)):
        one = zones.all_pairs(*a, *b, 300.0, n_threads=1, engine="numba")
        nearest = zones.nearest_pairs(*a, *b, 300.0, n_threads=1, engine="numba")
        for n_threads in (2, 3):
            for engine in ENGINES:
                more = zones.all_pairs(*a, *b, 300.0, n_threads=n_threads, engine=engine)
                assert all(map(np.array_equal, one, more))
                row, gap, n = zones.nearest_pairs(*a, *b, 300.0, n_threads=n_threads, engine=engine)
                np.testing.assert_array_equal(row, nearest[0])
                np.testing.assert_array_equal(gap, nearest[1])
                assert n == nearest[2]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sky", SKIES)
def test_a_tree_finds_the_same(sky, engine, monkeypatch):
    """Where zones would compare too much a tree takes over: the same nearest, ties included."""
    monkeypatch.setattr(zones, "_CROWDED_AT_LEAST", 0)
    monkeypatch.setattr(zones, "_CROWDED", {True: 0, False: 0})
    rng = np.random.default_rng(7)
    for radius in (1.0, 3600.0, 180 * 3600.0):
        for n, k in ((150, 260), (260, 150)):
            local, remote = (SKIES[sky](rng, m, radius / 3600) for m in (n, k))
            local[0][3] = remote[1][5] = np.nan
            row, gap, n_pairs = zones.nearest_pairs(*local, *remote, radius, engine=engine)
            best, least = nearest_of(brute(local, remote), radius)
            if not (best >= 0).any():
                continue
            assert n_pairs is None
            np.testing.assert_array_equal(row, best)
            np.testing.assert_array_equal(gap, least)


def test_crowds_are_recognised():
    rng = np.random.default_rng(8)
    field = rng.normal(50, 0.5, (2, 20_000))
    assert zones.nearest_pairs(*field, *field, 3600.0)[2] is None
    assert zones.nearest_pairs(*field, *field, 1.0)[2] >= 20_000


@pytest.mark.parametrize("engine", ENGINES)
def test_what_has_no_position(engine):
    rng = np.random.default_rng(9)
    local, remote = all_sky(rng, 300, 0), all_sky(rng, 400, 0)
    for axis in (0, 1):
        local[axis][rng.integers(0, 300, 40)] = np.nan
        remote[axis][rng.integers(0, 400, 40)] = np.inf if axis else np.nan
    known = np.isfinite(local).all(axis=0), np.isfinite(remote).all(axis=0)
    i, j, gap = zones.all_pairs(*local, *remote, 36000.0, engine=engine)
    assert known[0][i].all()
    assert known[1][j].all()
    rows = [np.flatnonzero(k) for k in known]
    clean = zones.all_pairs(
        *(axis[rows[0]] for axis in local), *(axis[rows[1]] for axis in remote), 36000.0, engine=engine
    )
    np.testing.assert_array_equal(i, rows[0][clean[0]])
    np.testing.assert_array_equal(j, rows[1][clean[1]])
    np.testing.assert_array_equal(gap, clean[2])


@pytest.mark.parametrize("engine", ENGINES)
def test_empty_sides(engine):
    nothing, one, unknown = (np.empty(0),) * 2, (np.ones(1),) * 2, (np.full(3, np.nan),) * 2
    for a, b in ((nothing, one), (one, nothing), (nothing, nothing), (unknown, one), (one, unknown)):
        assert [len(x) for x in zones.all_pairs(*a, *b, 5.0, engine=engine)] == [0, 0, 0]
        row, gap, _ = zones.nearest_pairs(*a, *b, 5.0, engine=engine)
        assert row.tolist() == [-1] * len(a[0])
        assert np.isnan(gap).all()


def test_right_ascensions_of_any_turn():
    dec = np.array([5.0, 5.0, 5.0, 5.0])
    ra = np.array([-0.0001, 359.9999, 360.0, -1e-20])
    i, j, _ = zones.all_pairs(ra, dec, np.array([0.0001]), np.array([5.0]), 1.0)
    assert i.tolist() == [0, 1, 2, 3]
    assert j.tolist() == [0] * 4


def test_an_unknown_engine():
    with pytest.raises(ValueError, match="'auto', 'numba' or 'numpy'"):
        zones.all_pairs(*np.zeros((4, 1)), 1.0, engine="fortran")


def test_without_numba(monkeypatch):
    monkeypatch.setattr(zones, "_SMALL", 10)
    rng = np.random.default_rng(10)
    local, remote = all_sky(rng, 30, 0), all_sky(rng, 40, 0)
    compiled = zones.all_pairs(*local, *remote, 36000.0)
    monkeypatch.setattr(zones, "kernels", lambda: None)
    assert all(map(np.array_equal, compiled, zones.all_pairs(*local, *remote, 36000.0)))


# ---------------------------------------------------------------- invariants

angles = st.tuples(
    st.one_of(st.sampled_from([0.0, 180.0, 359.9999999]), st.floats(0, 360, exclude_max=True)),
    st.one_of(st.sampled_from([-90.0, 0.0, 90.0]), st.floats(-90, 90)),
)
positions = st.lists(angles, min_size=1, max_size=12).map(lambda rows: np.array(rows).T)
radii = st.one_of(st.sampled_from([1e-3, 1.0, 648000.0]), st.floats(1e-6, 648000.0))


@settings(deadline=None, max_examples=150)
@given(local=positions, remote=positions, radius=radii)
def test_any_positions(local, remote, radius):
    for engine in ENGINES:
        check(local, remote, radius, engine)


@settings(deadline=None, max_examples=60)
@given(local=positions, remote=positions, radius=radii, data=st.data())
def test_symmetries(local, remote, radius, data):
    i, j, _ = zones.all_pairs(*local, *remote, radius, engine="numba")
    pairs = set(zip(i.tolist(), j.tolist(), strict=True))
    separation = brute(local, remote)
    # What rounding may decide is no matter of symmetry.
    sure = {pair for pair in np.ndindex(separation.shape) if abs(separation[pair] - radius) > 1e-8}
    back = zones.all_pairs(*remote, *local, radius, engine="numba")
    assert pairs & sure == set(zip(back[1].tolist(), back[0].tolist(), strict=True)) & sure
    turn = data.draw(st.sampled_from([90.0, 128.0, 256.5]))
    turned = zones.all_pairs((local[0] + turn) % 360, local[1], (remote[0] + turn) % 360, remote[1], radius)
    assert pairs & sure == set(zip(turned[0].tolist(), turned[1].tolist(), strict=True)) & sure
    order = np.array(data.draw(st.permutations(range(remote.shape[1]))))
    mixed = zones.all_pairs(*local, *remote[:, order], radius, engine="numba")
    assert pairs == set(zip(mixed[0].tolist(), order[mixed[1]].tolist(), strict=True))


@settings(deadline=None, max_examples=60)
@given(local=positions, remote=positions, radius=radii, cut=st.integers(0, 12))
def test_others_that_come_in_parts(local, remote, radius, cut):
    for engine in ENGINES:
        every, nearest = (
            kind(*local, radius, engine=engine) for kind in (zones.AllPairs, zones.NearestPairs)
        )
        for search in (every, nearest):
            search.feed(*remote[:, :cut])
            search.feed(*remote[:, cut:], first_row=min(cut, remote.shape[1]))
        assert all(
            map(np.array_equal, every.result(), zones.all_pairs(*local, *remote, radius, engine=engine))
        )
        row, gap, n = nearest.result()
        whole = zones.nearest_pairs(*local, *remote, radius, engine=engine)
        np.testing.assert_array_equal(row, whole[0])
        np.testing.assert_array_equal(gap, whole[1])
        assert n == whole[2]


# ---------------------------------------------------------------- positions of astropy


def test_degrees_without_a_copy():
    coord = SkyCoord([10.0, 20.0] * u.deg, [1.0, 2.0] * u.deg)
    ra, dec = degrees(coord, np.ones(2, dtype=bool))
    assert np.shares_memory(ra, np.asarray(coord.data.lon))
    assert np.shares_memory(dec, np.asarray(coord.data.lat))
    hidden = degrees(coord, np.array([True, False]))
    assert np.isnan(hidden[1]).tolist() == [False, True]
    assert dec.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("frame", ["icrs", "galactic", "fk5", "fk4"])
def test_close_pairs_in_any_frame(frame):
    rng = np.random.default_rng(11)
    places = [SkyCoord(*near_pole(1)(rng, n, 0.5), unit="deg") for n in (60, 80)]
    places = [place.transform_to(frame) for place in places]
    valid = [rng.random(len(place)) < 0.8 for place in places]
    i, j, gap = close_pairs(*places, 0.2 * u.deg, valid=valid[0], remote_valid=valid[1])
    separation = places[0].icrs[:, None].separation(places[1].icrs[None, :]).to_value(u.arcsec)
    separation[~valid[0]] = separation[:, ~valid[1]] = np.inf
    expected = np.nonzero(separation <= 720 + 1e-9)
    np.testing.assert_array_equal([i, j], expected)
    np.testing.assert_allclose(gap, separation[expected], rtol=1e-13, atol=1e-9)
    i, j, gap = close_pairs(*places, 0.2 * u.deg, valid=valid[0], remote_valid=valid[1], nearest=True)
    best, _ = nearest_of(separation, 720 + 1e-9)
    np.testing.assert_array_equal(i, np.flatnonzero(best >= 0))
    np.testing.assert_array_equal(j, best[best >= 0])


def test_a_cartesian_position_and_one_with_a_distance():
    near = SkyCoord(1.0, 0.0, 0.0, unit="pc", representation_type="cartesian", frame="icrs").reshape(1)
    far = SkyCoord([0.0] * u.deg, [0.1] * u.deg, distance=[5] * u.kpc)
    one = np.ones(1, dtype=bool)
    _, _, gap = close_pairs(near, far, 1 * u.deg, valid=one, remote_valid=one)
    assert gap.tolist() == pytest.approx([360.0])
