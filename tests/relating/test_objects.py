"""Rows of one object are known by their coordinates and by their identifiers."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable
from hypothesis import given
from hypothesis import strategies as st

from astro_cluster.exceptions import InputError
from astro_cluster.relating.objects import (
    distinct_rows,
    identifier_column,
    objects_in,
    objects_of,
    same_rows,
)


@given(st.lists(st.tuples(st.sampled_from([0.0, -0.0, 1.0, np.nan]), st.integers(0, 2)), max_size=30))
def test_same_rows_are_those_a_loop_finds(rows):
    values = np.array(rows, dtype=float).reshape(-1, 2)
    seen: list[str] = []
    numbers = []
    for first, second in rows:
        key = str((first + 0.0 if first == first else "nan", second))
        if key not in seen:
            seen.append(key)
        numbers.append(seen.index(key))
    assert same_rows(values).tolist() == numbers


def test_chains_of_coordinates_and_identifiers_are_one_object():
    features = np.array([[1.0], [1.0], [2.0], [3.0], [np.nan], [np.nan]])
    names = MaskedColumn(["a", "b", "b", "", "x", "y"], mask=[False] * 5 + [True])
    of = objects_of(features, names)
    assert of[0] == of[1] == of[2]
    assert len(np.unique(of)) == 4  # a row without coordinates is like no other


def test_the_column_of_identifiers_is_found():
    table = QTable({"name": ["a", "b"], "source_id": [1, 2], "latent": np.eye(2)})
    assert identifier_column(table) == "source_id"
    table["name"].info.meta = {"ucd": "meta.id;meta.main"}
    assert identifier_column(table) == "name"
    assert identifier_column(table, "source_id") == "source_id"
    assert identifier_column(QTable({"x": [1]})) is None
    with pytest.raises(InputError, match="did you mean 'source_id'"):
        identifier_column(table, "source_ids")
    with pytest.raises(InputError, match="several values a row"):
        identifier_column(table, "latent")


def test_equal_scalars_are_no_sign_of_one_object():
    table = QTable({"mag": [20.0, 20.0, 21.0], "latent": [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]})
    of, told_by = objects_in(table, ["mag"])
    assert (of.tolist(), told_by) == ([0, 1, 0], ["latent"])
    assert objects_in(table["mag",], ["mag"])[0].tolist() == [0, 1, 2]


def test_repeats_are_left_out_but_what_differs_is_not():
    objects = np.array([4, 4, 4, 7, 4])
    values = np.array([1.0, 2.0, 1.0, 1.0, np.nan])
    assert distinct_rows(objects, values).tolist() == [0, 1, 3, 4]
