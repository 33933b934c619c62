"""Maps of very many rows: openTSNE goes the way down, on the neighbours found here."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_cluster.embedding.tsne.descent import EXPLORATION, REPORT, Descent
from astro_cluster.exceptions import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["descend_by_grid", "is_there"]


def is_there() -> bool:
    """Return whether openTSNE can be imported.

    Returns
    -------
    bool
    """
    return importlib.util.find_spec("openTSNE") is not None


def descend_by_grid(P: csr_array, start: np.ndarray, how: Descent, seed: int) -> tuple[np.ndarray, int]:
    """Return the map at the end of the way down, with forces interpolated on a grid.

    Parameters
    ----------
    P : (n, n) sparse array
        Probabilities of the pairs.
    start : (n, p) array
        Where to begin; one or two coordinates.
    how : Descent
        How to go.
    seed : int
        Seed of openTSNE.

    Returns
    -------
    Y : (n, p) array
        The map.
    n_iter : int
        Steps done.

    Raises
    ------
    InputError
        If openTSNE is not installed.

    Notes
    -----
    Linderman et al. (2019, Nature Methods 16, 243) in openTSNE (Poličar, Stražar & Zupan 2024,
    J. Stat. Softw. 109, 3).  The schedule and the learning rate are those of `descend`: openTSNE
    leaves the factor 4 out of the gradient.
    """
    if not is_there():
        raise InputError(
            'method="openTSNE" needs the package openTSNE: pip install "astro_cluster[images]"; or choose '
            'method="groups"'
        )
    import openTSNE
    from openTSNE.affinity import PrecomputedAffinities
    from scipy.sparse import csr_matrix

    affinities = PrecomputedAffinities(csr_matrix(P), normalize=False)
    embedding = openTSNE.TSNEEmbedding(
        np.ascontiguousarray(start, dtype=np.float64),
        affinities,
        negative_gradient_method="fft",
        n_jobs=how.n_threads,
        random_state=seed,
    )
    first = min(EXPLORATION, how.max_iter)
    done = 0
    for n_iter, exaggeration, momentum in (
        (first, how.early_exaggeration, 0.5),
        (how.max_iter - first, 1.0, 0.8),
    ):
        if n_iter == 0:
            continue
        reports: dict[str, Any] = {}
        if how.on_step is not None:

            def report(step: int, error: float, map_: np.ndarray, before: int = done) -> None:
                how.on_step(before + step, how.max_iter)  # type: ignore[misc]

            reports = {"callbacks": report, "callbacks_every_iters": REPORT, "use_callbacks": True}
        embedding = embedding.optimize(
            n_iter,
            exaggeration=exaggeration,
            momentum=momentum,
            learning_rate=4.0 * how.learning_rate,
            propagate_exception=True,
            **reports,
        )
        done += n_iter
    return np.asarray(embedding, dtype=np.float64).copy(), done
