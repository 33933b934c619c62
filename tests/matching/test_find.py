"""The find modes against loops that cannot be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_cluster import InputError
from astro_cluster.matching.find import FIND_MODES, check_mode, nearest_pair, select_pairs

N_LOCAL, N_REMOTE = 6, 5


@st.composite
def pair_lists(draw):
    """Pairs in any order, few distinct separations so that many are equal."""
    places = st.tuples(st.integers(0, N_LOCAL - 1), st.integers(0, N_REMOTE - 1))
    pairs = draw(st.lists(places, unique=True, max_size=N_LOCAL * N_REMOTE))
    separations = draw(
        st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3]), min_size=len(pairs), max_size=len(pairs))
    )
    local, remote = (np.array([p[k] for p in pairs], dtype=int) for k in (0, 1))
    return local, remote, np.array(separations, dtype=float)


def nearest(pairs, key, other):
    """For each row of one side the pair with the smallest (separation, row of the other side)."""
    best = {}
    for pair in pairs:
        row = pair[key]
        if row not in best or (pair[2], pair[other]) < (best[row][2], best[row][other]):
            best[row] = pair
    return list(best.values())


def brute_force(find, pairs, n_local, n_remote):
    if find == "all":
        return pairs
    if find in ("best", "each", "each-dist"):
        return nearest(pairs, 0, 1)
    if find == "best-remote":
        return nearest(pairs, 1, 0)
    sides = [(0, 1), (1, 0)] if n_local >= n_remote else [(1, 0), (0, 1)]
    for key, other in sides:
        pairs = nearest(pairs, key, other)
    return pairs


@pytest.mark.parametrize("find", FIND_MODES)
@pytest.mark.parametrize("n_remote", [N_REMOTE, N_LOCAL, N_LOCAL + 1, np.inf])
@given(given_pairs=pair_lists())
def test_modes_agree_with_brute_force(find, n_remote, given_pairs):
    local, remote, separation = given_pairs
    chosen = select_pairs(find, local, remote, separation, n_local=N_LOCAL, n_remote=n_remote)
    wanted = brute_force(
        find, list(zip(local.tolist(), remote.tolist(), separation.tolist(), strict=True)), N_LOCAL, n_remote
    )
    if find.startswith("each"):
        assert len(chosen) == N_LOCAL
        by_row = {pair[0]: pair for pair in wanted}
        for row, k in enumerate(chosen):
            if k < 0:
                assert row not in by_row
            else:
                assert (local[k], remote[k], separation[k]) == by_row[row]
    else:
        found = [(local[k], remote[k], separation[k]) for k in chosen]
        assert found == sorted(wanted, key=lambda pair: (pair[0], pair[2], pair[1]))


@pytest.mark.parametrize("find", FIND_MODES)
@given(given_pairs=pair_lists(), seed=st.integers(0, 1000))
def test_the_order_of_the_pairs_does_not_matter(find, given_pairs, seed):
    order = np.random.default_rng(seed).permutation(len(given_pairs[0]))
    results = []
    for local, remote, separation in (given_pairs, [a[order] for a in given_pairs]):
        k = select_pairs(find, local, remote, separation, n_local=N_LOCAL, n_remote=N_REMOTE)
        found = k[k >= 0]
        results.append((local[found].tolist(), remote[found].tolist(), (k < 0).tolist()))
    assert results[0] == results[1]


def test_nothing_to_choose_from():
    none = np.empty(0, dtype=int)
    assert nearest_pair(none, none, np.empty(0), 3).tolist() == [-1, -1, -1]
    for find in FIND_MODES:
        chosen = select_pairs(find, none, none, np.empty(0), n_local=2, n_remote=2)
        assert chosen.tolist() == ([-1, -1] if find.startswith("each") else [])


def test_unknown_mode_names_the_nearest():
    with pytest.raises(InputError, match=r"'bestremote'; did you mean 'best-remote'\?.*all, best,"):
        check_mode("bestremote")
