"""A few labels become probabilities that are honest, and labels are found wherever they are."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import astro_cluster as ac
from astro_cluster.artefacts.labels import labels_of
from astro_cluster.exceptions import AstroClusterWarning, InputError

from .samples import sample


def some_labels(table: QTable, number: int, seed: int = 3) -> MaskedColumn:
    """The truth of a few rows, some of each class."""
    rng = np.random.default_rng(seed)
    bad = np.asarray(table["spurious"])
    chosen = rng.choice(len(bad), number, replace=False)
    chosen[:3] = np.flatnonzero(bad)[:3]
    return MaskedColumn(bad, mask=~np.isin(np.arange(len(bad)), chosen))


def logistic(n: int = 6000, seed: int = 1) -> tuple[QTable, np.ndarray]:
    """Rows whose probability is known: a logistic function of their coordinates."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 3))
    p = 1 / (1 + np.exp(2.2 - 1.5 * latent @ [1.0, -1.0, 0.5]))
    return QTable({"latent": latent, "spurious": rng.uniform(size=n) < p}), p


@pytest.mark.parametrize("number", [60, 200])
def test_probabilities_are_honest(number: int):
    gaps, errors, blind = [], [], []
    for seed in range(4):
        table, truth = logistic(seed=seed)
        looked = np.random.default_rng(seed).choice(6000, number, replace=False)
        table["looked"] = MaskedColumn(table["spurious"], mask=~np.isin(np.arange(6000), looked))
        p = np.asarray(ac.learn(table, "looked", name="spurious", random_state=seed)["prob_spurious"])
        bins = np.minimum((5 * p).astype(int), 4)
        sums = [np.bincount(bins, w, minlength=5) for w in (p, truth)]
        gaps.append(np.abs(sums[0] - sums[1]).sum() / 6000)
        errors.append(np.mean((p - truth) ** 2))
        blind.append(np.var(truth))
    assert np.mean(gaps) < {60: 0.09, 200: 0.05}[number]
    assert np.mean(errors) < {60: 0.45, 200: 0.15}[number] * np.mean(blind)


@pytest.mark.parametrize("number", [10, 40, 150])
def test_few_labels_find_most(number: int):
    table = sample(800, 40)
    table["looked"] = some_labels(table, number)
    with pytest.warns(AstroClusterWarning, match="single label") if number == 0 else _nothing():
        out = ac.learn(table, "looked", name="spurious", random_state=1)
    rest = np.ma.getmaskarray(table["looked"])
    p = np.asarray(out["prob_spurious"])
    assert roc_auc_score(table["spurious"][rest], p[rest]) > 0.95
    assert ((p >= 0) & (p <= 1)).all()
    assert check_ucd(out["prob_spurious"].info.meta["ucd"], check_controlled_vocabulary=True)
    facts = ac.records(out)[-1]
    assert sum(facts["labels_used"].values()) == (~rest).sum()
    assert 0 < facts["scores"]["brier"] < 1
    assert facts["scores"]["roc_auc"]["spurious"] > 0.9
    reliability = facts["scores"]["reliability"]["spurious"]
    assert sum(part["count"] for part in reliability) == (~rest).sum()


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_a_labelled_row_is_judged_by_a_model_that_did_not_see_its_label():
    """Noise cannot be learnt: held-out probabilities know nothing of random labels."""
    rng = np.random.default_rng(5)
    table = QTable({"latent": rng.normal(size=(300, 30)), "label": rng.integers(2, size=300)})
    out = ac.learn(table, "label", random_state=1)
    assert roc_auc_score(table["label"], out["prob_label"]) < 0.62
    # While a model that saw them would know them well.
    seen = LogisticRegression(C=10, max_iter=2000).fit(table["latent"], table["label"])
    assert roc_auc_score(table["label"], seen.predict_proba(table["latent"])[:, 1]) > 0.65


def test_labels_may_come_from_anywhere(tmp_path):
    table = sample()
    mask = np.arange(400) >= 80
    ids, truth = np.asarray(table["source_id"])[~mask], np.asarray(table["spurious"])[~mask]
    own = QTable(table, copy=True)
    own.remove_column("spurious")
    own["spurious"] = MaskedColumn(table["spurious"], mask=mask)
    wanted = ac.learn(own, "spurious", random_state=1)["prob_spurious"]
    own.remove_column("spurious")
    shuffled = np.random.default_rng(1).permutation(80)
    labels = QTable({"source_id": ids[shuffled], "spurious": truth[shuffled]})
    labels.write(tmp_path / "labels.csv", format="ascii.csv")
    ways = [labels, str(tmp_path / "labels.csv"), tmp_path / "labels.csv"]
    for way in ways:
        np.testing.assert_array_equal(ac.learn(own, way, random_state=1)["prob_spurious"], wanted)
    by_id = dict(zip(ids.tolist(), truth.tolist(), strict=True))
    out = ac.learn(own, by_id, id="source_id", name="spurious", random_state=1)
    np.testing.assert_array_equal(out["prob_spurious"], wanted)


def test_what_was_learnt_can_be_run_again_without_the_file_of_labels(tmp_path):
    table = sample()
    ac.write(table["source_id", "latent", "zero_fraction"], tmp_path / "in.vot")
    labels = table["source_id", "spurious"][:90]
    out = ac.learn(tmp_path / "in.vot", labels, random_state=1)
    ac.write(out, tmp_path / "out.vot")
    np.testing.assert_allclose(ac.rerun(tmp_path / "out.vot")["prob_spurious"], out["prob_spurious"])


def test_the_studys_labels_and_several_classes():
    table = sample()
    table["label"] = 1 - np.asarray(table["spurious"]).astype(int)
    out = ac.learn(table, "label", value=0, name="spurious", random_state=1)
    bad = np.asarray(table["spurious"])
    assert out["prob_spurious"][bad].mean() > 0.7 > 0.1 > out["prob_spurious"][~bad].mean()
    assert ac.records(out)[-1]["labels_used"] == {"others": 380, "spurious": 20}
    table["class"] = np.where(bad, "diffraction spike", np.where(np.arange(400) % 2, "good", "edge/data"))
    out = ac.learn(table, "class", random_state=1)
    names = ["prob_diffraction_spike", "prob_edge_data", "prob_good"]
    assert out.colnames[-3:] == names
    np.testing.assert_allclose(sum(np.asarray(out[name]) for name in names), 1)
    assert ac.learn(table, "class", value="good", random_state=1).colnames[-1] == "prob_good"


def test_a_single_label_of_a_class_is_enough_and_a_note_says_what_is_missing():
    table = sample()
    mask = np.ones(400, dtype=bool)
    mask[np.flatnonzero(table["spurious"])[0]] = mask[np.flatnonzero(~table["spurious"])[:9]] = False
    table["looked"] = MaskedColumn(table["spurious"], mask=mask)
    with pytest.warns(AstroClusterWarning, match="a class has a single label"):
        out = ac.learn(table, "looked", name="spurious", random_state=1)
    assert ac.records(out)[-1]["scores"] is None
    assert roc_auc_score(table["spurious"], out["prob_spurious"]) > 0.9


def test_rows_with_nothing_are_masked():
    table = sample()
    table["latent"] = MaskedColumn(table["latent"], mask=np.repeat(np.arange(400) == 5, 4).reshape(400, 4))
    with pytest.warns(AstroClusterWarning, match="1 labelled rows have neither"):
        out = ac.learn(table, "spurious", quality=False, random_state=1)
    assert np.flatnonzero(np.ma.getmaskarray(out["prob_spurious"])).tolist() == [5]


def test_labels_of_rows_that_are_not_there_are_told():
    with pytest.warns(AstroClusterWarning, match=r"1 of 3 labels are of no row of the table \(source_id 1\)"):
        found = labels_of(sample(), {1: "a", 5000: "a", 5001: "b"}, id="source_id")
    assert found.known.sum() == 2


def test_identifiers_of_other_types_are_the_same():
    table = QTable({"id": np.array([11, 12, 2**60 + 1])})
    given = QTable({"id": ["11", " 12 ", str(2**60 + 1)], "label": ["x", "y", "x"]})
    assert labels_of(table, given).classes.tolist() == [0, 1, 0]
    given["id"] = [11.0, 12.0, 13.0]
    with pytest.warns(AstroClusterWarning):
        assert labels_of(table, given).classes.tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ("spurius", {}, "neither a column nor a file: there is no column 'spurius'; did you mean 'spurious'"),
        ({5000: True}, {}, "need the column of identifiers"),
        ({1: True}, {"id": "source_id"}, "none of the 1 labels is of a row of the table"),
        ({5000: True, 5001: True}, {"id": "source_id"}, "labels 'label' are all 'True'"),
        ({5000: "a", 5001: "b"}, {"id": "source_id", "value": "c"}, "either only 'c' or none of it"),
        ({5000: "a", 5001: "b"}, {"id": "source_id", "name": "c"}, "value= is not given"),
        (QTable({"a": [1]}), {}, "share no column"),
        (QTable({"source_id": [1]}), {}, "has the column source_id alone|the column source_id alone"),
        (QTable({"source_id": [1], "x": [1], "y": [2]}), {}, "several columns beside source_id: x, y"),
        (QTable({"source_id": [5000, 5000], "x": ["a", "b"]}), {}, "5000 has more than one label"),
        (3, {}, "labels cannot be a int"),
        ("spike_power", {}, "have 400 different values, and at most 20 classes"),
        ("latent", {}, "several values a row"),
        ("spurious", {"features": ["latent", "spurious"]}, "cannot be learnt from itself"),
        ("zero_fraction", {"value": 0.0}, "cannot be learnt from itself"),
    ],
)
def test_bad_labels_are_one_clear_sentence(labels: object, options: dict, message: str):
    with pytest.raises(InputError, match=message):
        ac.learn(sample(), labels, **options)


def test_columns_that_are_taken_and_double_identifiers():
    table = sample()
    out = ac.learn(table, "spurious", random_state=1)
    with pytest.raises(InputError, match="already has the column prob_spurious"):
        ac.learn(out, "spurious")
    assert ac.learn(out, "spurious", random_state=1, overwrite=True).colnames == out.colnames
    table["source_id"][3] = table["source_id"][4]
    with pytest.raises(InputError, match="stands in rows 3 and 4"):
        ac.learn(table, {int(table["source_id"][0]): True}, id="source_id")
