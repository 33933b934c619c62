"""How far the memberships of a mixture would move with another sample, as columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.columns import add_column
from astro_cluster.exceptions import InputError
from astro_cluster.features import FeatureMatrix
from astro_cluster.mixture import GaussianMixture
from astro_cluster.mixture.resampled import bootstrap

__all__ = ["add_bootstrap", "checked_number"]


def checked_number(number: Any) -> int:
    """Return how many bootstrap samples to draw, or say why that many cannot be.

    Parameters
    ----------
    number : int
        What was asked for; 0 for none.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If it is no whole number, negative, or 1, which has no spread.

    Examples
    --------
    >>> checked_number(50)
    50
    """
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole or number < 0 or number == 1:
        raise InputError(
            f"bootstrap={number!r} cannot be; give how many samples to draw, 2 or more (such as 50), or 0"
        )
    return int(number)


def add_bootstrap(
    out: QTable,
    mixture: GaussianMixture,
    matrix: FeatureMatrix,
    weights: np.ndarray | None,
    number: int,
    *,
    prefix: str,
    on_sample: Callable[[int, int], None] | None = None,
) -> None:
    """Refit a mixture to bootstrap samples, and add how far each row's memberships move.

    Parameters
    ----------
    out : `~astropy.table.QTable`
        Table of n rows that gets the columns.
    mixture : GaussianMixture
        After its fit; its seed is that of the samples.
    matrix : FeatureMatrix
        The n rows.
    weights : (m,) array or None
        How often each of the m usable rows counts.
    number : int
        How many samples.
    prefix : str
        Put before the names.
    on_sample : callable, optional
        Called after each sample with its number and ``number``.

    Raises
    ------
    InputError
        If a sample cannot be fitted.
    """
    X, errors = matrix.used()
    try:
        found = bootstrap(
            mixture,
            X,
            number,
            errors=errors,
            sample_weight=weights,
            random_state=mixture.random_state,
            on_sample=on_sample,
        )
    except ValueError as error:
        raise InputError(f"{type(mixture).__name__} cannot be bootstrapped: {error}") from error
    words: dict[str, Any] = {"prefix": prefix, "number": str(number)}
    for k, spread in enumerate(found.spread.T):
        add_column(out, "prob_spread", _whole(matrix, spread), index=k, mask=~matrix.usable, **words)
    together = _whole(matrix, found.co_assignment)
    add_column(out, "co_assignment", together, mask=np.isnan(together), **words)


def _whole(matrix: FeatureMatrix, values: np.ndarray) -> np.ndarray:
    """Return values of the usable rows as values of all rows."""
    whole = np.full(len(matrix.usable), np.nan)
    whole[matrix.usable] = values
    return whole
