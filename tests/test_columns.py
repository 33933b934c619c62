"""The registry of columns: every entry valid, every name checked, errors that help."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy import units as u
from astropy.io.votable.ucd import check_ucd
from astropy.table import Column, MaskedColumn, QTable
from astropy.utils.masked import Masked
from hypothesis import given
from hypothesis.extra import numpy as hnp

from astro_cluster.columns import (
    REGISTRY,
    add_column,
    check_free,
    column_name,
    require,
    ucd_of,
    with_info,
)
from astro_cluster.exceptions import InputError


@pytest.mark.parametrize("key", REGISTRY)
def test_every_entry_is_valid(key):
    spec = REGISTRY[key]
    assert check_ucd(spec.ucd, check_controlled_vocabulary=True)
    assert spec.description
    assert not spec.description.endswith(".")
    if spec.unit:
        u.Unit(spec.unit)
    words = dict.fromkeys(re.findall(r"{(\w+)}", spec.description), "w") | {"index": 3}
    assert "{" not in spec.description.format(**words)
    assert re.fullmatch(r"\w+", column_name(key, index=3))


def test_names_carry_prefix_and_index():
    assert column_name("prob", prefix="gmm6_", index=10) == "gmm6_prob_10"
    assert column_name("cluster") == "cluster"


@given(hnp.arrays("f8", 5), hnp.arrays("?", 5))
def test_added_values_and_masks(values, mask):
    table = QTable({"ra": np.arange(5.0)})
    add_column(table, "outlier", values, mask=mask)
    got = table["outlier"]
    np.testing.assert_array_equal(np.broadcast_to(getattr(got, "mask", False), 5), mask)
    np.testing.assert_array_equal(np.ma.getdata(got)[~mask], values[~mask])
    assert isinstance(got, MaskedColumn) == bool(mask.any())


def test_an_added_column_is_described():
    table = QTable({"ra": [1.0, 2.0]})
    assert add_column(table, "prob", [0.1, 0.2], prefix="p_", index=4) == "p_prob_4"
    assert table["p_prob_4"].info.description == "Probability of membership in cluster 4"
    assert ucd_of(table, "p_prob_4") == "stat.probability"
    add_column(table, "cluster", [0, -1], method="DBSCAN")
    assert table["cluster"].info.description == "Cluster label by DBSCAN; -1 is noise"
    with pytest.raises(KeyError):
        add_column(table, "cluster", [0, -1])  # a word of the description is missing


def test_units_are_converted_to_the_registered_one():
    table = QTable({"ra": [1.0, 2.0]})
    add_column(table, "match_separation", [1.0, 2.0] * u.arcmin, reference="x")
    assert table["match_separation"].unit == u.arcsec
    assert table["match_separation"].value.tolist() == [60.0, 120.0]
    mask = np.array([False, True])
    add_column(table, "match_separation", np.array([1.0, 2.0]), name="sep", mask=mask, reference="x")
    assert isinstance(table["sep"], Masked)
    assert table["sep"].mask.tolist() == [False, True]


def test_vectors_are_masked_whole():
    table = QTable({"ra": [1.0, 2.0]})
    add_column(table, "latent", np.ones((2, 3)), mask=np.array([False, True]), method="PCA")
    assert table["latent"].mask.tolist() == [[False] * 3, [True] * 3]


def test_a_column_of_the_same_name_is_replaced_at_the_end():
    table = QTable({"cluster": [5, 5], "ra": [1.0, 2.0]})
    add_column(table, "cluster", [0, 1], method="KMeans")
    assert table.colnames == ["ra", "cluster"]
    assert table["cluster"].tolist() == [0, 1]


def test_an_unknown_name_is_told_with_the_nearest():
    table = QTable({"powlaw_gamma": [1.0], "bb_kt": [1.0]})
    assert require(table, "bb_kt") == ["bb_kt"]
    with pytest.raises(InputError) as caught:
        require(table, ["bb_kt", "powlaw_gama"])
    assert str(caught.value) == (
        "there is no column 'powlaw_gama'; did you mean 'powlaw_gamma'? The columns are: powlaw_gamma, bb_kt"
    )


def test_an_unknown_name_with_none_near_is_a_sentence():
    with pytest.raises(InputError) as caught:
        require(QTable({"ra": [1.0]}), "zzz")
    assert re.match(r"there is no column 'zzz'[.;:] ", str(caught.value))


def test_a_wide_table_is_not_listed_whole():
    table = QTable({f"c{i}": [1] for i in range(60)})
    with pytest.raises(InputError, match=r"c39, …$"):
        require(table, "nope")


def test_taken_names():
    table = QTable({"cluster": [1], "prob_0": [1.0]})
    check_free(table, ["g_cluster"])
    check_free(table, ["cluster"], overwrite=True)
    with pytest.raises(InputError, match="already has the columns cluster, prob_0: give another prefix"):
        check_free(table, ["cluster", "prob_0", "prob_1"])
    with pytest.raises(InputError, match="already has the column cluster: "):
        check_free(table, ["cluster"])


def test_info_is_copied():
    like = [1.0] * u.m
    like.info.description, like.info.meta, like.info.format = "d", {"ucd": "POS.EQ.RA"}, ".1f"
    got = with_info(Column([1]), QTable({"x": like})["x"])
    assert (got.info.description, got.info.meta, got.info.format) == ("d", {"ucd": "POS.EQ.RA"}, ".1f")
    assert ucd_of(QTable({"x": got}), "x") == "pos.eq.ra"
