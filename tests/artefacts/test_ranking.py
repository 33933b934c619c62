"""Known outliers come first, whatever the order of rows or the scale of columns."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.table import Column, MaskedColumn, QTable

import astro_cluster as ac
from astro_cluster.artefacts.tails import evidence_of
from astro_cluster.exceptions import InputError

from .samples import sample

NEW = ("outlier_score", "inspection_rank", "outlier_reason")


def ranks(table: QTable, **options: object) -> np.ndarray:
    return np.asarray(ac.rank(table, random_state=1, **options)["inspection_rank"])


def test_known_outliers_come_first():
    table = sample()
    out = ac.rank(table, random_state=1)
    assert out.colnames == [*table.colnames, *NEW]
    assert sorted(out["inspection_rank"]) == list(range(1, 401))
    assert (np.asarray(out["inspection_rank"])[table["spurious"]] <= 30).sum() >= 19
    order = np.argsort(out["inspection_rank"])
    assert (np.diff(np.asarray(out["outlier_score"])[order]) <= 0).all()
    for name in NEW:
        assert check_ucd(out[name].info.meta["ucd"], check_controlled_vocabulary=True)
    assert "inspection_rank" not in table.colnames


def test_the_reason_is_what_is_the_most_unusual():
    table = sample(bad=0)
    table["latent"][7] += 50
    table["zero_fraction"][3] = 0.5
    table["spike_power"][11] = 99
    out = ac.rank(table, random_state=1)
    found = out["outlier_reason"][[7, 3, 11]].tolist()
    assert found == ["latent density", "zero_fraction", "spike_power"]
    assert set(np.asarray(out["inspection_rank"])[[7, 3, 11]]) <= set(range(1, 9))


def test_the_score_is_the_power_mean():
    table = sample(50, 3)
    out = ac.rank(table, quality=["zero_fraction", "spike_power"], weight=0.4, random_state=1)
    distances = np.linalg.norm(table["latent"][:, None] - np.asarray(table["latent"])[None], axis=2)
    lonely = np.sort(distances, axis=1)[:, 1:11].mean(axis=1)
    total = np.zeros(50)
    for values, weight in ((lonely, 0.4), (table["zero_fraction"], 0.3), (table["spike_power"], 0.3)):
        total += weight * np.sqrt(10 ** evidence_of(np.asarray(values)))
    np.testing.assert_allclose(out["outlier_score"], 2 * np.log10(total), atol=1e-12)


def test_the_order_of_rows_does_not_matter():
    table = sample()
    order = np.random.default_rng(2).permutation(len(table))
    np.testing.assert_allclose(
        ac.rank(table, random_state=1)["outlier_score"][order],
        ac.rank(table[order], random_state=1)["outlier_score"],
    )


def test_factors_and_offsets_of_quality_columns_do_not_matter():
    table = sample()
    other = table.copy()
    other["zero_fraction"] = 100 * table["zero_fraction"]
    other["spike_power"] = 7 * table["spike_power"] - 3
    np.testing.assert_array_equal(ranks(table), ranks(other))
    turned = table.copy()
    turned["spike_power"] = -np.asarray(table["spike_power"])
    low = {"zero_fraction": "high", "spike_power": "low"}
    np.testing.assert_array_equal(ranks(table), ranks(turned, quality=low))


def test_shifts_turns_and_factors_of_the_coordinates_do_not_matter():
    table = sample()
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    other = table.copy()
    other["latent"] = 1e3 * np.asarray(table["latent"]) @ turn + 1e5
    np.testing.assert_allclose(
        ac.rank(table, random_state=1)["outlier_score"], ac.rank(other, random_state=1)["outlier_score"]
    )


def test_rows_with_nothing_are_masked_and_rows_with_something_are_not():
    table = sample()
    latent = np.ma.array(np.asarray(table["latent"]), mask=False)
    latent[[3, 5]] = np.ma.masked
    table["latent"] = MaskedColumn(latent)
    for name in ("zero_fraction", "spike_power"):
        table[name] = MaskedColumn(table[name], mask=np.arange(400) == 3)
    out = ac.rank(table, random_state=1)
    for name in NEW:
        assert np.flatnonzero(np.ma.getmaskarray(out[name])).tolist() == [3]
    assert sorted(out["inspection_rank"].compressed()) == list(range(1, 400))


def test_features_or_quality_alone_are_enough():
    table = sample()
    by_density = ac.rank(table, quality=False, random_state=1)
    assert set(by_density["outlier_reason"]) == {"latent density"}
    by_quality = ac.rank(table, features=None, quality={"zero_fraction": "high"}, random_state=1)
    assert set(by_quality["outlier_reason"]) == {"zero_fraction"}
    gaps = np.asarray(table["zero_fraction"]) > 0
    assert (np.asarray(by_quality["inspection_rank"])[gaps] <= gaps.sum()).all()
    facts = ac.records(ac.rank(table, random_state=1))[-1]
    assert facts["ingredients"] == {"latent density": 0.5, "zero_fraction": 0.25, "spike_power": 0.25}


def test_directions():
    table = QTable({"snr": np.arange(50.0), "id": np.arange(50)})
    for direction, first in (("low", 0), ("high", 49)):
        assert np.argmin(ranks(table, quality={"snr": direction})) == first
    assert set(np.argsort(ranks(table, quality="snr"))[:2]) == {0, 49}


def test_a_column_of_several_values_a_row_counts_each():
    table = sample()
    table["zero_fraction"] = np.column_stack([table["zero_fraction"], np.zeros(400), table["spike_power"]])
    names = ac.records(ac.rank(table, random_state=1))[-1]["ingredients"]
    assert list(names) == ["latent density", "zero_fraction[0]", "zero_fraction[2]", "spike_power"]


def test_the_latest_embedding_is_taken_and_never_a_map():
    table = sample()
    table["tsne_1"], table["tsne_2"] = np.zeros(400), np.zeros(400)
    assert ac.records(ac.rank(table, random_state=1))[-1]["inputs"].keys() == {
        "latent", "zero_fraction", "spike_power",
    }  # fmt: skip
    table["image"] = Column(np.random.default_rng(1).normal(size=(400, 8, 8)))
    embedded = ac.embed(table, "pca", n_components=3, prefix="mine_", random_state=1, faithfulness=False)
    assert "mine_pca" in ac.records(ac.rank(embedded, random_state=1))[-1]["inputs"]


@pytest.mark.parametrize("method", ["mixture", "forest"])
def test_other_densities(method: str):
    table = sample()
    assert (ranks(table, method=method)[table["spurious"]] <= 40).sum() >= 18


def test_prefix_overwrite_and_rerun(tmp_path):
    ac.write(sample(), tmp_path / "in.ecsv")
    out = ac.rank(tmp_path / "in.ecsv", prefix="a_", random_state=1)
    assert "a_inspection_rank" in out.colnames
    with pytest.raises(InputError, match="already has the columns a_outlier_score"):
        ac.rank(out, prefix="a_")
    again = ac.rank(out, prefix="a_", random_state=1, overwrite=True)
    np.testing.assert_array_equal(again["a_inspection_rank"], out["a_inspection_rank"])
    ac.write(out, tmp_path / "out.vot")
    rerun = ac.rerun(tmp_path / "out.vot")
    np.testing.assert_array_equal(rerun["a_inspection_rank"], out["a_inspection_rank"])


def test_the_same_seed_gives_the_same_order_of_equal_rows():
    table = QTable({"zero_fraction": np.r_[np.zeros(60), 0.5]})
    first, second = ranks(table), ranks(table)
    np.testing.assert_array_equal(first, second)
    assert first[-1] == 1
    assert (np.diff(first[:60]) != 1).any()  # equal rows are not in the order of the table


def test_infinite_quality_is_the_most_suspicious():
    table = QTable({"spike_power": np.r_[np.arange(20.0), np.inf]})
    assert ranks(table)[-1] == 1


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (QTable({"ra": np.arange(5.0)}), {}, "nothing to tell artefacts by: embed the images first"),
        (sample(), {"features": None, "quality": False}, "nothing to tell artefacts by"),
        (sample(), {"quality": ["zero_frction"]}, "did you mean 'zero_fraction'"),
        (sample(), {"quality": {"zero_fraction": "up"}}, "'up' is no direction"),
        (sample(), {"features": "latnt"}, "did you mean 'latent'"),
        (sample(), {"weight": 2}, "weight=2 is no weight"),
        (sample(), {"method": "svm"}, "method='svm' is not known"),
        (sample(), {"random_state": -1}, "is no seed"),
        (QTable({"zero_fraction": np.zeros(9)}), {}, "are the same in all rows"),
        (sample()[:2], {}, "2 of 2 rows have features"),
        (QTable({"zero_fraction": np.zeros((9, 2, 2))}), {}, "has shape"),
    ],
)
def test_bad_input_is_one_clear_sentence(table: QTable, options: dict, message: str):
    with pytest.raises(InputError, match=message):
        ac.rank(table, **options)


def test_coordinates_that_never_change_are_left_out():
    table = sample()
    with_dead = table.copy()
    with_dead["latent"] = np.column_stack([np.ones(400), table["latent"], np.zeros(400)])
    np.testing.assert_array_equal(ranks(table), ranks(with_dead))
    np.testing.assert_array_equal(ranks(table), ranks(with_dead, features="lat*"))
    assert with_dead["latent"].shape == (400, 6)


def test_coordinates_of_two_rows_have_no_density():
    latent = np.ma.array(np.random.default_rng(1).normal(size=(6, 3)), mask=False)
    latent[2:] = np.ma.masked
    table = QTable({"latent": MaskedColumn(latent), "zero_fraction": [0, 0, 0, 0.1, 0, 0]})
    assert ac.records(ac.rank(table))[-1]["ingredients"] == {"zero_fraction": 1.0}
