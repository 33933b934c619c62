"""The estimator: scikit-learn's contract and its maps, with less work."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.manifold import TSNE as SklearnTSNE
from sklearn.utils.estimator_checks import parametrize_with_checks

from astro_cluster import TSNE, AstroClusterWarning, InputError
from astro_cluster.embedding.faithfulness import trustworthiness_and_continuity
from astro_cluster.embedding.tsne import estimator as module
from astro_cluster.embedding.tsne import large, neighbours
from astro_cluster.embedding.tsne.affinities import joint, n_neighbours
from astro_cluster.embedding.tsne.descent import kl_divergence

REASON = "a map is made of all rows at once; new rows are placed on it one by one"
EXPECTED = {
    "check_transformer_general": REASON,
    "check_transformer_data_not_an_array": REASON,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [TSNE(perplexity=2, max_iter=250, random_state=0)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def groups():
    rng = np.random.default_rng(4)
    centres = rng.normal(0, 6, (5, 12))
    label = np.repeat(np.arange(5), 60)
    return centres[label] + rng.normal(size=(300, 12)), label


@pytest.fixture(scope="module")
def fitted(groups):
    return TSNE(perplexity=15, random_state=1).fit(groups[0])


def purity(Y, label):
    """Return how many of the five nearest in a map are of the same group."""
    distance = ((Y[:, np.newaxis] - Y) ** 2).sum(axis=-1)
    np.fill_diagonal(distance, np.inf)
    return (label[distance.argsort(axis=1)[:, :5]] == label[:, np.newaxis]).mean()


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("init", ["pca", "random"])
def test_groups_come_apart(groups, p, init):
    X, label = groups
    Y = TSNE(p, perplexity=15, init=init, random_state=3).fit_transform(X)
    assert Y.shape == (300, p)
    assert purity(Y, label) > (0.9 if p == 1 else 0.99)


def test_is_as_good_as_sklearns(groups):
    X = groups[0][::2]
    P = joint(neighbours.nearest_others(X, n_neighbours(150, 15)), 15.0)
    ours = TSNE(perplexity=15, random_state=1).fit(X)
    theirs = SklearnTSNE(perplexity=15, random_state=1, method="exact").fit_transform(X)
    assert ours.kl_divergence_ < kl_divergence(P, theirs.astype(float)) + 0.02
    assert ours.trustworthiness_ > trustworthiness_and_continuity(X, theirs)[0] - 0.005


def test_what_is_found(groups, fitted):
    X, _ = groups
    assert fitted.n_features_in_ == 12
    assert fitted.method_ == "exact"
    assert 250 < fitted.n_iter_ <= 1000
    both = trustworthiness_and_continuity(X, fitted.embedding_)
    assert (fitted.trustworthiness_, fitted.continuity_) == pytest.approx(both)
    facts = fitted.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["kl_divergence"] == fitted.kl_divergence_
    assert fitted.get_feature_names_out().tolist() == ["tsne0", "tsne1"]
    assert (fitted.stem, fitted.takes) == ("tsne", "rows")


def test_does_not_depend_on_threads(monkeypatch, groups):
    X, _ = groups
    X = np.concatenate([X, X + 1])
    found = [TSNE(n_jobs=jobs, max_iter=400).fit(X) for jobs in (1, 2, -1)]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found.append(TSNE(max_iter=400).fit(X))
    for other in found[1:]:
        assert np.array_equal(found[0].embedding_, other.embedding_)
        assert found[0].kl_divergence_ == other.kl_divergence_


def test_a_start_from_components_needs_no_seed(groups):
    X, _ = groups
    found = [TSNE(random_state=seed, max_iter=300).fit_transform(X) for seed in (None, 1, 2)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    found = [TSNE(init="random", random_state=seed, max_iter=300).fit_transform(X) for seed in (1, 1, 2)]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize("init", ["pca", "random"])
def test_the_best_of_several_starts(groups, init):
    X = groups[0][::3]
    options = dict(perplexity=8, init=init, random_state=1, max_iter=400)
    found = [TSNE(n_init=n, **options).fit(X) for n in (1, 5)]
    assert found[1].kl_divergence_ <= found[0].kl_divergence_ * 1.01
    again = TSNE(n_init=5, n_jobs=1, **options).fit_transform(X)
    assert np.array_equal(found[1].embedding_, again)


def test_which_map_is_best():
    assert module._best([(2.0, 0.9, 0.5), (1.0, 0.7, 0.5), (1.005, 0.8, 0.5)]) == 2
    assert module._best([(1.0, np.nan, np.nan)]) == 0


def test_given_start(groups):
    X, _ = groups
    begin = np.random.default_rng(1).normal(size=(300, 2)) * 1e-4
    as_given = TSNE(init=begin, max_iter=300).fit_transform(X)
    assert np.array_equal(as_given, TSNE(init=begin.tolist(), max_iter=300).fit_transform(X))
    assert clone(TSNE(init=begin)).init is not None


def test_bytes_are_the_same_numbers():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (120, 400), dtype=np.uint8)
    pixels[:60] //= 2
    as_bytes = TSNE(perplexity=10, max_iter=300).fit(pixels)
    as_doubles = TSNE(perplexity=10, max_iter=300).fit(pixels.astype(float))
    assert as_bytes._rows is pixels  # not copied
    model = TSNE(perplexity=10, max_iter=10, n_init=1)
    early = [model.fit_transform(X) for X in (pixels, pixels.astype(float))]
    assert np.allclose(*early, rtol=1e-3, atol=1e-3 * np.abs(early[0]).max())
    assert as_bytes.kl_divergence_ == pytest.approx(as_doubles.kl_divergence_, abs=0.1)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([1e-6, 1.0, 1e6]), st.floats(-100, 100), st.integers(0, 100))
def test_shift_and_scale_do_not_matter(scale, shift, seed):
    X = np.random.default_rng(seed).normal(size=(40, 3))
    first = TSNE(perplexity=5, max_iter=10, n_init=1).fit_transform(X)
    second = TSNE(perplexity=5, max_iter=10, n_init=1).fit_transform((X + shift) * scale)
    assert np.allclose(first, second, rtol=1e-3, atol=1e-4 * np.abs(first).max())


def test_order_of_the_rows_does_not_matter(groups):
    X, _ = groups
    order = np.random.default_rng(1).permutation(300)
    first = TSNE(max_iter=10, n_init=1).fit_transform(X)
    second = TSNE(max_iter=10, n_init=1).fit_transform(X[order])
    assert np.allclose(first[order], second, rtol=1e-3, atol=1e-3 * np.abs(first).max())


def test_equal_rows_come_together():
    X = np.repeat(np.random.default_rng(1).normal(size=(30, 4)), 4, axis=0)
    Y = TSNE(perplexity=8).fit_transform(X).reshape(30, 4, 2)
    assert np.isfinite(Y).all()
    within = np.linalg.norm(Y - Y.mean(axis=1, keepdims=True), axis=2).max()
    assert within < 0.3 * Y.mean(axis=1).std()


@pytest.mark.parametrize(("n", "perplexity"), [(2, 1.0), (3, 1.5), (5, 4.9)])
def test_very_few_rows(n, perplexity):
    model = TSNE(perplexity=perplexity, random_state=1).fit(np.arange(2.0 * n).reshape(n, 2) ** 2)
    assert np.isfinite(model.embedding_).all()
    json.dumps(model.facts(), allow_nan=False)


# ------------------------------------------------------------ new rows


def test_new_rows_come_to_lie_with_their_group(groups, fitted):
    X, label = groups
    rng = np.random.default_rng(9)
    new = X + rng.normal(size=X.shape) * 0.3
    Y = fitted.transform(new)
    centres = np.array([fitted.embedding_[label == g].mean(axis=0) for g in range(5)])
    assert (((Y[:, np.newaxis] - centres) ** 2).sum(axis=-1).argmin(axis=1) == label).all()
    own = fitted.transform(X)
    spread = fitted.embedding_[label == 0].std()
    assert np.median(np.linalg.norm(own - fitted.embedding_, axis=1)) < 0.5 * spread


def test_new_rows_do_not_depend_on_each_other(groups, fitted):
    new = groups[0][:40] + 0.1
    whole = fitted.transform(new)
    assert np.array_equal(whole[7:9], fitted.transform(new[7:9]))
    assert np.array_equal(whole, clone_of(fitted, n_jobs=1).transform(new))


def clone_of(model, **params):
    return pickle.loads(pickle.dumps(model)).set_params(**params)


def test_a_known_map_can_be_taken(groups, fitted):
    X, _ = groups
    other = TSNE(perplexity=15).set_embedding(X, fitted.embedding_)
    assert np.array_equal(other.transform(X[:9] + 1), fitted.transform(X[:9] + 1))
    assert "kl_divergence" not in other.facts()
    moved = TSNE(perplexity=15).set_embedding(X, fitted.embedding_ + 500).transform(X[:9] + 1)
    assert np.allclose(moved, fitted.transform(X[:9] + 1) + 500, atol=1e-3)
    with pytest.raises(InputError, match="300 rows and a map of 299"):
        TSNE().set_embedding(X, fitted.embedding_[1:])
    with pytest.raises(InputError, match="4 coordinates"):
        TSNE().set_embedding(X, np.zeros((300, 4)))


def test_new_rows_of_other_kinds(groups):
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80), dtype=np.uint8)
    model = TSNE(perplexity=6, max_iter=300).fit(pixels)
    same = model.transform(pixels[:5])
    assert np.allclose(model.transform(pixels[:5].astype(float)), same, atol=1e-3)
    with pytest.raises(InputError, match="80 features"):
        model.transform(pixels[:, :79])
    with pytest.raises(NotFittedError):
        TSNE().transform(pixels)


# ------------------------------------------------------------ very many rows


def test_opentsne_makes_as_good_a_map(groups):
    pytest.importorskip("openTSNE")
    X, label = groups
    seen = []
    model = TSNE(perplexity=15, method="openTSNE", max_iter=300, n_jobs=1, random_state=1)
    model.fit(X, on_step=lambda done, of: seen.append((done, of)))
    assert purity(model.embedding_, label) > 0.99
    assert model.method_ == "openTSNE"
    assert (300, 300) in seen
    assert seen == sorted(seen)
    exact = TSNE(perplexity=15, max_iter=300).fit(X)
    assert model.kl_divergence_ == pytest.approx(exact.kl_divergence_, abs=0.1)
    assert model.transform(X[:3]).shape == (3, 2)


def test_which_method(monkeypatch, groups):
    X, _ = groups
    called = []
    monkeypatch.setattr(module, "EXACT", 200)
    assert TSNE(max_iter=20).fit(X).method_ == "groups"
    monkeypatch.setattr(module, "GROUPED", 250)

    def grid(P, start, how, seed):
        called.append(seed)
        return start, 7

    monkeypatch.setattr(module, "descend_by_grid", grid)
    model = TSNE(random_state=1).fit(X)
    assert called
    assert (model.method_, model.n_iter_) == ("openTSNE", 7)
    assert TSNE(3, max_iter=20).fit(X).method_ == "groups"  # the grid has no third coordinate
    monkeypatch.setattr(module, "is_there", lambda: False)
    with pytest.warns(AstroClusterWarning, match=r"astro_cluster\[images\]"):
        assert TSNE(max_iter=20).fit(X).method_ == "groups"


@pytest.mark.parametrize("p", [1, 2, 3])
def test_repulsion_by_the_group_makes_as_good_a_map(groups, p):
    X, label = groups
    X, label = X[::2], label[::2]
    model = TSNE(p, perplexity=15, method="groups").fit(X)
    assert model.method_ == "groups"
    assert purity(model.embedding_, label) > (0.9 if p == 1 else 0.99)
    exact = TSNE(p, perplexity=15).fit(X)
    assert model.kl_divergence_ == pytest.approx(exact.kl_divergence_, abs=0.05 if p > 1 else 0.4)


def test_repulsion_by_the_group_does_not_depend_on_threads(groups):
    found = [TSNE(method="groups", n_jobs=n, max_iter=60, n_init=1).fit_transform(groups[0]) for n in (1, 2)]
    assert np.array_equal(*found)


def test_divergence_of_very_many_rows_is_estimated(monkeypatch, groups):
    X, _ = groups
    exact = TSNE(perplexity=15, max_iter=300).fit(X)
    monkeypatch.setattr(module, "_EXACT_DIVERGENCE", 100)
    estimated = TSNE(perplexity=15, max_iter=300).fit(X)
    assert estimated.kl_divergence_ == pytest.approx(exact.kl_divergence_, rel=5e-3)
    assert estimated.kl_divergence_ != exact.kl_divergence_


def test_without_opentsne(monkeypatch, groups):
    monkeypatch.setattr(large, "is_there", lambda: False)
    with pytest.raises(InputError, match=r'pip install "astro_cluster\[images\]"'):
        TSNE(method="openTSNE").fit(groups[0])


def test_opentsne_is_loaded_only_when_needed():
    import subprocess

    code = (
        "import sys, numpy; from astro_cluster import TSNE; "
        "TSNE(perplexity=2, max_iter=10).fit(numpy.arange(40.).reshape(20, 2)); "
        "print([m for m in ('openTSNE', 'torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rows_by_blocks(monkeypatch, groups):
    X, label = groups
    monkeypatch.setattr(module, "WHOLE", 100)
    monkeypatch.setattr(neighbours, "WHOLE", 100)
    monkeypatch.setattr(neighbours, "TREE", 2)
    model = TSNE(perplexity=15).fit(X)
    assert purity(model.embedding_, label) > 0.99
    with pytest.raises(InputError, match="all rows are equal"):
        TSNE(perplexity=15).fit(np.ones((300, 2)))


# ------------------------------------------------------------ what cannot be done


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (dict(n_components=4), "n_components = 4 .* 1, 2 or 3"),
        (dict(perplexity=0.5), "perplexity = 0.5 .* at least 1"),
        (dict(perplexity=300), "perplexity = 300 must be less than the number of rows, 300; at most 99"),
        (dict(perplexity="many"), "perplexity = 'many'"),
        (dict(early_exaggeration=0.1), "early_exaggeration"),
        (dict(learning_rate=0.0), "learning_rate = 0.0 .* above 0"),
        (dict(learning_rate="fast"), "learning_rate = 'fast'"),
        (dict(max_iter=0), "max_iter = 0"),
        (dict(max_iter=10.5), "max_iter = 10.5"),
        (dict(init="spectral"), "init = 'spectral'"),
        (dict(init=np.zeros((3, 2))), r"init has the shape \(3, 2\); \(300, 2\)"),
        (dict(init=np.full((300, 2), np.nan)), "init contains NaN"),
        (dict(method="barnes_hut"), "method = 'barnes_hut'"),
        (dict(method="openTSNE", n_components=3), "one or two coordinates, not 3"),
        (dict(n_jobs=0), "n_jobs = 0"),
        (dict(min_grad_norm=-1.0), "min_grad_norm"),
        (dict(n_init=0), "n_init = 0"),
        (dict(n_init="many"), "n_init = 'many'"),
    ],
)
def test_says_which_parameter_is_wrong(groups, params, message):
    with pytest.raises(InputError, match=message):
        TSNE(**params).fit(groups[0])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((50, 3)), "all rows are equal"),
        (np.ones((1, 3)), "minimum of 2"),
        (np.where(np.arange(150).reshape(50, 3) == 40, np.nan, 1.0), r"NaN or infinity in 1 of 50 rows"),
        (np.ones((50, 3, 3)), "dim"),
        (np.ones((0, 3)), "0 sample"),
        (np.array([["a", "b"]] * 50), "numeric"),
        (np.ones((50, 3)) * 1j, "Complex data not supported: real"),
        (np.ma.masked_equal(np.arange(150.0).reshape(50, 3), 7), "masked values"),
        (
            np.full((50, 3), 2e30, np.float32),
            "up to 2e.30, whose squares are too large",
        ),
    ],
)
def test_says_what_is_wrong_with_the_rows(X, message):
    with pytest.raises(InputError, match=message):
        TSNE().fit(X)


def test_an_interruption_leaves_the_model_as_it_was(groups):
    model = TSNE(perplexity=15, max_iter=300).fit(groups[0])
    before = model.embedding_

    def stop(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(groups[0] * 2 + 1, on_step=stop)
    assert model.embedding_ is before
    assert model.transform(groups[0][:2]).shape == (2, 2)
