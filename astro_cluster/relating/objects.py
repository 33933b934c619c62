"""Which rows are of one object: they must not be learnt from and judged, nor counted twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy.table import QTable
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from astro_cluster.artefacts.material import latent_columns
from astro_cluster.cells import cell_texts
from astro_cluster.columns import require, ucd_of
from astro_cluster.exceptions import InputError
from astro_cluster.tables import float_values

__all__ = ["distinct_rows", "identifier_column", "objects_in", "objects_of", "same_rows"]

_USUAL = ("source_id",)


def same_rows(values: np.ndarray) -> np.ndarray:
    """Return the number of each row among the distinct rows.

    Parameters
    ----------
    values : (n, d) array of float
        Rows; NaN is equal to NaN, and -0 to 0.

    Returns
    -------
    (n,) array of int
        Equal for equal rows; from 0 in the order of their first appearance.

    Examples
    --------
    >>> same_rows(np.array([[7.0, 1.0], [3.0, 1.0], [7.0, 1.0]]))
    array([0, 1, 0])
    """
    plain = np.where(np.isnan(values), np.nan, values + 0.0)  # one NaN of the many, and no -0
    plain = np.ascontiguousarray(plain)
    if not len(plain) or not plain.shape[1]:
        return np.zeros(len(plain), dtype=np.int64)
    keys = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse.ravel()]


def identifier_column(table: QTable, objects: str | None = None) -> str | None:
    """Return the column that tells which rows are of one object.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    objects : str, optional
        The column, if it is known.

    Returns
    -------
    str or None
        That with the UCD ``meta.id;meta.main``, else ``source_id``; None if there is none.

    Raises
    ------
    InputError
        If the column that was named is missing or has several values a row.

    Examples
    --------
    >>> identifier_column(QTable({"source_id": ["a", "b"]}))
    'source_id'
    """
    if objects is not None:
        name = require(table, objects)[0]
        if getattr(table[name], "shape", (0,))[1:]:
            raise InputError(f"column {name!r} has several values a row; identifiers are one a row")
        return name
    named = [name for name in table.colnames if ucd_of(table, name) == "meta.id;meta.main"]
    found = [*named, *(name for name in _USUAL if name in table.colnames)]
    return next((name for name in found if len(getattr(table[name], "shape", (0,))) == 1), None)


def objects_of(features: np.ndarray, identifiers: Any = None) -> np.ndarray:
    """Return the number of the object that each row is of.

    Parameters
    ----------
    features : (n, d) array of float
        Rows with the same features are of one object; rows with a NaN are like no other.
    identifiers : (n,) column, optional
        Rows with the same identifier are of one object, too; those without one are like no other.

    Returns
    -------
    (n,) array of int

    Notes
    -----
    A match with ``find="all"`` repeats the row of a spectrum for each of its counterparts, and a survey takes
    several spectra of one quasar.  If a row like another is learnt from, the other is no test.

    Examples
    --------
    >>> objects_of(np.array([[1.0], [2.0], [1.0], [3.0]]), np.array(["a", "b", "c", "b"]))
    array([0, 1, 0, 1])
    """
    n = len(features)
    alike = same_rows(features)
    alone = np.isnan(features).any(axis=1)
    alike[alone] = n + np.flatnonzero(alone)
    labels = [alike]
    if identifiers is not None:
        texts, nothing = cell_texts(identifiers, n)
        number = np.unique(texts.astype(str), return_inverse=True)[1]
        labels.append(np.where(nothing, n + np.arange(n), number))
    # Rows are joined through what they have in common, however long the chain.
    start = 0
    rows, ends = [], []
    for label in labels:
        rows.append(np.arange(n))
        ends.append(n + start + np.unique(label, return_inverse=True)[1])
        start += n
    edges = (np.ones(n * len(labels)), (np.concatenate(rows), np.concatenate(ends)))
    graph = coo_matrix(edges, shape=(n + start, n + start))
    return connected_components(graph, directed=False)[1][:n].astype(np.int64)


def objects_in(
    table: QTable, columns: Iterable[str], objects: str | None = None
) -> tuple[np.ndarray, list[str]]:
    """Return the number of the object that each row of a table is of.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    columns : iterable of str
        Columns of features: rows with the same coordinates, of columns that have several a row, are of one
        object.  If none has, those of the latest embedding are looked at.
    objects : str, optional
        As for `identifier_column`.

    Returns
    -------
    tuple of (n,) array of int and list of str
        The objects, and the columns that tell them.

    Raises
    ------
    InputError
        As `identifier_column`.

    Examples
    --------
    >>> objects_in(QTable({"latent": [[1.0, 2.0], [0.0, 1.0], [1.0, 2.0]]}), ["latent"])
    (array([0, 1, 0]), ['latent'])
    """
    vectors = [name for name in columns if len(table[name].shape) == 2]
    vectors = vectors or [name for name in latent_columns(table) if len(table[name].shape) == 2]
    identifiers = identifier_column(table, objects)
    features = np.column_stack([*(float_values(table[name]) for name in vectors), np.zeros(len(table))])
    if not vectors:
        features[:] = np.nan
    of = objects_of(features, None if identifiers is None else table[identifiers])
    return of, [*vectors, *([] if identifiers is None else [identifiers])]


def distinct_rows(objects: np.ndarray, *values: np.ndarray) -> np.ndarray:
    """Return the rows that do not repeat an earlier row of the same object.

    Parameters
    ----------
    objects : (n,) array of int
        Object of each row.
    *values : (n,) or (n, d) array
        Rows are repeats if they are equal in all of these.

    Returns
    -------
    (m,) array of int
        Numbers of the rows, ascending.

    Examples
    --------
    >>> distinct_rows(np.array([0, 0, 0, 1]), np.array([5.0, 5.0, 6.0, 5.0]))
    array([0, 2, 3])
    """
    columns = [objects, *values]
    together = np.column_stack([np.asarray(column, dtype=float) for column in columns])
    return np.unique(same_rows(together), return_index=True)[1]
