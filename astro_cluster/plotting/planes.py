"""Which two coordinates span the plane of a figure, and what its axes say."""

from __future__ import annotations

import re

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import axis_label, one_a_row
from astro_cluster.tables import float_values

__all__ = ["described", "plane_columns", "plane_values", "same_scale"]

_PLANES = ("tsne", "umap", "pca", "latent")
_LONGEST = 44  # letters of a description that an axis of one column of a journal has room for


def _split(name: str) -> tuple[str, int] | None:
    """Return the column and the number in "latent[0]"."""
    found = re.fullmatch(r"(.+)\[(\d+)\]", name)
    return (found[1], int(found[2])) if found else None


def plane_columns(table: QTable, x: str | None, y: str | None) -> tuple[str, str]:
    """Return the coordinates that span the plane.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    x, y : str or None
        Those asked for.

    Returns
    -------
    tuple of two str
        If none are asked for, ``tsne_1`` and ``tsne_2`` with any prefix; else the first two of
        another embedding, such as ``latent[0]`` and ``latent[1]``.

    Raises
    ------
    InputError
        If only one is given, a column is missing or there is no plane.

    Examples
    --------
    >>> plane_columns(QTable({"a_tsne_1": [0.0], "a_tsne_2": [1.0]}), None, None)
    ('a_tsne_1', 'a_tsne_2')
    """
    if (x is None) != (y is None):
        raise InputError("give both coordinates of the plane, x and y, or neither")
    if x is not None and y is not None:
        for name in (x, y):
            column = name if name in table.colnames else (_split(name) or (name, 0))[0]
            require(table, column)
        return x, y
    for stem in _PLANES:
        for name in reversed(table.colnames):  # the latest
            if name.endswith(f"{stem}_1") and f"{name[:-1]}2" in table.colnames:
                return name, f"{name[:-1]}2"
            shape = getattr(table[name], "shape", (0,))
            if name.endswith(stem) and len(shape) == 2 and shape[1] > 1:
                return f"{name}[0]", f"{name}[1]"
    raise InputError(
        "the table has no plane to draw the images in: embed them first (embed(table, 'tsne')), or name two "
        "columns, x and y (-x, -y)"
    )


def plane_values(table: QTable, name: str) -> np.ndarray:
    """Return a coordinate of each row.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    name : str
        A numeric column, or one of several values a row with a number: ``"latent[0]"``.

    Returns
    -------
    (n,) array of float64
        NaN where masked.

    Raises
    ------
    InputError
        If there is no such coordinate.

    Examples
    --------
    >>> plane_values(QTable({"latent": [[1.0, 2.0]]}), "latent[1]")
    array([2.])
    """
    if name in table.colnames or (parts := _split(name)) is None:
        return one_a_row(table, name)
    values = float_values(table[parts[0]])
    if values.ndim != 2 or parts[1] >= values.shape[1]:
        has = values.shape[1] if values.ndim == 2 else 1
        raise InputError(f"there is no {name!r}: column {parts[0]!r} has {has} values a row, counted from 0")
    return values[:, parts[1]]


def same_scale(table: QTable, x: str, y: str) -> bool:
    """Tell whether a length means the same along both axes, as in an embedding.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    x, y : str
        The coordinates.

    Returns
    -------
    bool
        True if their names differ in the number alone, and their units do not.

    Examples
    --------
    >>> t = QTable({"tsne_1": [0.0], "tsne_2": [1.0], "flux": [1.0]})
    >>> same_scale(t, "tsne_1", "tsne_2"), same_scale(t, "tsne_1", "flux")
    (True, False)
    """
    stems = {re.sub(r"\d+", "", name) for name in (x, y)}
    numbered = x != y and len(stems) == 1
    if _split(x) and x not in table.colnames:
        return numbered
    units = [u.Unit(getattr(table[name], "unit", None) or "") for name in (x, y)] if numbered else []
    return numbered and units[0] == units[1]


def described(table: QTable, name: str) -> str:
    r"""Return the label of an axis: what the column is said to be, if that is short, and its unit.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    name : str
        A coordinate.

    Returns
    -------
    str

    Examples
    --------
    >>> t = QTable({"flux": [1.0] * u.mJy, "latent": [[0.0, 1.0]]})
    >>> t["flux"].info.description = "Total flux"
    >>> described(t, "flux"), described(t, "latent[1]")
    ('Total flux [$\\mathrm{mJy}$]', 'latent, component 1')
    """
    if name not in table.colnames and (parts := _split(name)) is not None:
        return f"{parts[0]}, component {parts[1]}"
    label = axis_label(table, name)
    description = getattr(table[name].info, "description", None) or ""
    return description + label.removeprefix(name) if 0 < len(description) <= _LONGEST else label
