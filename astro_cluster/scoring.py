"""How honest probabilities of types are, once the types are known: arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import entr
from sklearn.metrics import log_loss

__all__ = ["Bins", "binned", "scores_of"]


@dataclass(frozen=True, slots=True)
class Bins:
    """Rows by the probability of their likeliest type.

    Parameters
    ----------
    edges : (b + 1,) array of float
        Of the b bins.
    count : (b,) array of int
        Rows of each bin.
    confidence : (b,) array of float
        Sum of their probabilities.
    right : (b,) array of float
        How many of them are of their likeliest type.
    variance : (b,) array of float
        Of that number, if the probabilities are honest.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    right: np.ndarray
    variance: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """Distance of probability and share in each bin, over all rows, (b,) array."""
        return np.abs(self.right - self.confidence) / self.count.sum()


def binned(probabilities: np.ndarray, types: np.ndarray, bins: int, strategy: str) -> Bins:
    """Return sums over bins of probability.

    Parameters
    ----------
    probabilities : (n, k) array of float
        Of k types.
    types : (n,) array of int
        The true ones.
    bins : int
        Number of bins.
    strategy : {"uniform", "quantile"}
        Bins of the same width, or with the same number of rows.

    Returns
    -------
    Bins

    Examples
    --------
    >>> binned(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]), 2, "uniform").right
    array([0., 1.])
    """
    confidence = np.minimum(probabilities.max(axis=1), 1.0)
    right = probabilities.argmax(axis=1) == types
    edges = np.linspace(0.0, 1.0, bins + 1)
    if strategy == "quantile":
        edges = np.unique(np.quantile(confidence, edges))
        edges = np.repeat(edges, 2) if len(edges) == 1 else edges
    # A bin has its upper edge, as in Guo et al.
    at = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, len(edges) - 2)

    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(at, weights, minlength=len(edges) - 1)

    count = np.bincount(at, minlength=len(edges) - 1)
    return Bins(edges, count, total(confidence), total(right), total(confidence * (1 - confidence)))


def scores_of(probabilities: np.ndarray, types: np.ndarray, bins: Bins) -> dict[str, float]:
    """Return the numbers that stand for all bins together.

    Parameters
    ----------
    probabilities : (n, k) array of float
        Of k types.
    types : (n,) array of int
        The true ones.
    bins : Bins
        Of the same rows.

    Returns
    -------
    dict of str to float
        ``ece``, ``ece_if_honest``, ``brier``, ``log_loss``, ``accuracy``, ``mean_confidence``,
        ``accuracy_blind`` and ``log_loss_blind``, as `~astro_cluster.calibration` describes them.

    Examples
    --------
    >>> p, types = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])
    >>> round(scores_of(p, types, binned(p, types, 2, "uniform"))["brier"], 3)
    0.05
    """
    n, k = probabilities.shape
    indicator = np.eye(k)[types]
    shares = indicator.mean(axis=0)
    return {
        "ece": float(bins.gap.sum()),
        # A binomial's mean distance from its mean, nearly; zero only for infinitely many rows.
        "ece_if_honest": float(np.sqrt(2 / np.pi * bins.variance).sum() / n),
        "brier": float(((probabilities - indicator) ** 2).sum(axis=1).mean()),
        "log_loss": float(log_loss(types, probabilities, labels=np.arange(k))),
        "accuracy": float(bins.right.sum() / n),
        "mean_confidence": float(bins.confidence.sum() / n),
        "accuracy_blind": float(shares.max()),
        "log_loss_blind": float(entr(shares).sum()),
    }
