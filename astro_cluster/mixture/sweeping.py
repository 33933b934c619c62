"""Mixtures of several sizes, fitted together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from astro_cluster.mixture.em import OnStep
from astro_cluster.mixture.engine import one_blas_thread
from astro_cluster.mixture.estimator import GaussianMixture
from astro_cluster.mixture.fitting import fit_all, gather
from astro_cluster.mixture.rows import Rows, RowSource

__all__ = ["sweep"]


def sweep(
    X: ArrayLike | RowSource,
    n_components: Sequence[int],
    *,
    errors: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    on_step: OnStep | None = None,
    **parameters: Any,
) -> list[GaussianMixture]:
    """Fit mixtures of several sizes to the same rows, all starts of all sizes together.

    Each read of the rows serves every mixture that has not converged yet.  With a seed, each
    mixture is the one that a fit of its own would find.

    Parameters
    ----------
    X : (n, d) array or RowSource
        Rows; NaN where missing.
    n_components : sequence of int
        Numbers of components.
    errors : (n, d) or (n, d, d) array, optional
        Standard errors, or covariance matrices of the errors.
    sample_weight : (n,) array, optional
        Weights.
    on_step : callable, optional
        Called after each step with its number and all runs.
    **parameters
        Parameters of `GaussianMixture`, but for given starts.

    Returns
    -------
    list of GaussianMixture
        Fitted, one for each size.

    Raises
    ------
    ValueError
        As `GaussianMixture.fit`.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> [len(gm.weights_) for gm in sweep(X, [1, 2], random_state=0)]
    [1, 2]
    """
    sizes = [int(k) for k in n_components]
    fitted = [GaussianMixture(k, **parameters) for k in sizes]
    if not fitted:
        return []
    own = ("weights_init", "means_init", "precisions_init", "warm_start")
    if any(parameters.get(name) is not None and parameters[name] is not False for name in own):
        raise ValueError("a sweep looks for its starts itself; fit a mixture alone to give it one")
    for one in fitted:
        one._validate_params()
    largest = fitted[int(np.argmax(sizes))]
    rows = largest._as_rows(X, errors, sample_weight, reset=True)
    if isinstance(rows, Rows) and len(rows) < max(sizes):
        raise ValueError(f"{len(rows)} rows are fewer than {max(sizes)} components; take fewer components")
    material = gather(rows, largest._make_engine())
    random_state = check_random_state(largest.random_state)
    with one_blas_thread():
        runs = fit_all(material, sizes, largest._settings(), random_state, on_step=on_step)
    for one, best in zip(fitted, runs, strict=True):
        one.n_features_in_ = largest.n_features_in_
        one._take(best, stacklevel=3)
    return fitted
