"""`TSNE`: scikit-learn's contract, on rows of bytes or floats of any width."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from astro_cluster.embedding.distances import as_rows, squared_distances
from astro_cluster.embedding.faithfulness import most_neighbours, trustworthiness_and_continuity
from astro_cluster.embedding.tsne.affinities import joint, n_neighbours
from astro_cluster.embedding.tsne.descent import Descent, OnStep, descend_from, grouped_weight, kl_divergence
from astro_cluster.embedding.tsne.large import descend_by_grid, is_there
from astro_cluster.embedding.tsne.neighbours import WHOLE, Neighbours, nearest, nearest_others
from astro_cluster.embedding.tsne.placing import place
from astro_cluster.embedding.tsne.start import SPREAD, from_distances, from_rows, scaled, shaken
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.threads import available_threads

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["TSNE"]

EXACT = 10_000  # rows, up to which points repel one by one
GROUPED = 500_000  # rows, up to which they repel by the group; beyond, openTSNE takes over

SEVERAL = 4  # starts, where all distances are in memory at a time

_LOOKED_AT = 15  # neighbours, for trustworthiness and continuity
_EXACT_DIVERGENCE = 100_000  # rows, up to which the divergence is from all pairs
_AS_GOOD = 0.01  # relative difference of divergences that decides nothing


@dataclass(slots=True)
class _Material:
    """What is known of the rows before the way down."""

    neighbours: Neighbours
    components: np.ndarray | None
    distances: np.ndarray | None


class TSNE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Map of rows in which neighbours stay neighbours (t-SNE), for tables, latents and pixels.

    The same objective and the same schedule as `sklearn.manifold.TSNE`, so that the maps are as good;
    but the neighbours come from scalar products of blocks of rows (of bytes as exact integers), no
    copy of the rows in double precision is made, the principal components to start from cost nothing,
    the forces are computed on vectors, and new rows can be placed.

    A map is to be looked at.  Distances between groups, their sizes and their densities in it mean
    little; clusters are better made from the rows themselves or from the latents of an autoencoder.

    Parameters
    ----------
    n_components : {1, 2, 3}, default=2
        Number of coordinates.
    perplexity : float, default=30.0
        How many neighbours of a row count, about; less than the number of rows.
    early_exaggeration : float, default=12.0
        How much stronger rows attract each other in the first 250 steps.
    learning_rate : float or "auto", default="auto"
        Length of the steps; "auto" is n / early_exaggeration / 4, at least 50.
    max_iter : int, default=1000
        Steps in all.
    init : {"pca", "random"} or (n, n_components) array, default="pca"
        Where to start: along the principal components, at random, or here.
    method : {"auto", "exact", "groups", "openTSNE"}, default="auto"
        How points repel: each pair for itself; those far away by the group, as Barnes & Hut; or on
        a grid, by the package openTSNE (extra ``images``; at most two coordinates).  "auto" is
        "exact" up to 10,000 rows, "groups" up to 500,000, and openTSNE beyond.
    n_jobs : int, optional
        Threads; None or -1 means one a core.  The map does not depend on it, unless openTSNE makes it.
    random_state : int or `~numpy.random.RandomState`, optional
        Seed of a random start and of openTSNE.  A start from principal components needs none.
    min_grad_norm : float, default=1e-7
        The map is ready when the gradient is smaller.
    n_init : int or "auto", default="auto"
        How many starts are followed to the end, each a little beside the first (with "random", each
        its own); of the maps whose divergence is within 1 % of the least, the most trustworthy is
        kept.  "auto" is four up to 5,000 rows and one beyond; openTSNE always has one.

    Attributes
    ----------
    embedding_ : (n, n_components) array
        The map.
    kl_divergence_ : float
        Kullback–Leibler divergence of the map from the data; from all pairs up to 100,000 rows.
    n_iter_ : int
        Steps done.
    learning_rate_ : float
        Length of the steps.
    method_ : {"exact", "groups", "openTSNE"}
        How points repelled.
    trustworthiness_, continuity_ : float
        How far the neighbours in the map can be trusted, and how many of the true ones it kept: of
        15 neighbours, or fewer if there are not that many rows
        (`~astro_cluster.embedding.faithfulness.trustworthiness_and_continuity`); NaN for two rows.
    n_features_in_ : int
        Number of features d.

    Raises
    ------
    InputError
        If a parameter makes no sense, or the rows cannot be mapped.

    Warns
    -----
    AstroClusterWarning
        If there are so many rows that openTSNE would be faster, and it is not installed.

    Notes
    -----
    Van der Maaten & Hinton (2008, JMLR 9, 2579).  Up to 200,000 rows all neighbours are exact; beyond,
    those of more than 12 features are openTSNE's approximate ones if it is there.  The fitted
    estimator keeps a reference to the rows, which `transform` needs: pickled, it holds them all.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> X = np.concatenate([rng.normal(0, 1, (50, 8)), rng.normal(9, 1, (50, 8))])
    >>> tsne = TSNE(perplexity=10).fit(X)
    >>> first, second = tsne.embedding_[:50], tsne.embedding_[50:]
    >>> apart = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    >>> bool(apart > 5 * first.std(axis=0).max())
    True
    >>> tsne.transform(X[:3] + 0.01).shape
    (3, 2)
    """

    stem: ClassVar[str] = "tsne"
    takes: ClassVar[Literal["rows"]] = "rows"

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        early_exaggeration: float = 12.0,
        learning_rate: float | str = "auto",
        max_iter: int = 1000,
        init: str | ArrayLike = "pca",
        method: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        min_grad_norm: float = 1e-7,
        n_init: int | str = "auto",
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.early_exaggeration = early_exaggeration
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.init = init
        self.method = method
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.min_grad_norm = min_grad_norm
        self.n_init = n_init

    # ------------------------------------------------------------ fitting

    def fit(self, X: ArrayLike, y: object = None, *, on_step: OnStep | None = None) -> TSNE:
        """Make the map.

        Parameters
        ----------
        X : (n, d) array
            Rows; bytes (uint8) and single precision are not converted as a whole.
        y : None
            Ignored.
        on_step : callable, optional
            Called every 50 steps with the number of steps done and of all; what it raises ends
            the fit and leaves the estimator as it was.

        Returns
        -------
        TSNE
            Itself.

        Raises
        ------
        InputError
            If a parameter makes no sense; if there are fewer than two rows or not more rows than
            the perplexity, if all rows are equal, or if there are NaN.
        """
        rows = self._rows_of(X, reset=True, least=2)
        self._check_parameters()
        n = len(rows)
        self._check_rows(n)
        method = self._chosen_method(n)
        threads = _threads(self.n_jobs)
        random = check_random_state(self.random_state)
        material = self._look(rows, threads)
        P = joint(material.neighbours, self.perplexity)
        starts = self._starts(material, n, random, several=method != "openTSNE")
        how = Descent(
            self.max_iter,
            self.early_exaggeration,
            self._rate(n),
            self.min_grad_norm,
            threads,
            method == "groups",
            on_step,
        )
        if method == "openTSNE":
            maps = [descend_by_grid(P, starts[0], how, random.randint(2**31 - 1))]
        else:
            maps = descend_from(P, starts, how)
        judged = [
            (self._divergence(P, Y, threads), *self._judge(rows, Y, material.distances)) for Y, _ in maps
        ]
        best = _best(judged)
        embedding, n_iter = maps[best]
        divergence, self.trustworthiness_, self.continuity_ = judged[best]
        self.embedding_ = embedding
        self.kl_divergence_ = divergence
        self.n_iter_ = n_iter
        self.learning_rate_ = how.learning_rate
        self.method_ = method
        self._rows = rows
        return self

    def fit_transform(self, X: ArrayLike, y: object = None, *, on_step: OnStep | None = None) -> np.ndarray:
        """Make the map and return it.

        Parameters
        ----------
        X : (n, d) array
            Rows.
        y : None
            Ignored.
        on_step : callable, optional
            As for `fit`.

        Returns
        -------
        (n, n_components) array

        Raises
        ------
        InputError
            As `fit`.
        """
        return self.fit(X, on_step=on_step).embedding_

    def set_embedding(self, X: ArrayLike, Y: ArrayLike) -> TSNE:
        """Take a map that was made before, so that `transform` places new rows on it.

        Parameters
        ----------
        X : (n, d) array
            The rows of the map.
        Y : (n, p) array
            The map.

        Returns
        -------
        TSNE
            Itself, as if fitted, with ``n_components`` as the map has them; there is no ``kl_divergence_``.

        Raises
        ------
        InputError
            If the two have not as many rows, or the map not one to three coordinates, or if there are NaN.

        Examples
        --------
        >>> import numpy as np
        >>> X = np.arange(40.0).reshape(20, 2)
        >>> TSNE().set_embedding(X, X / 10).transform([[4.2, 5.2]]).shape
        (1, 2)
        """
        rows = self._rows_of(X, reset=True)
        embedding = as_rows(Y, "the map Y").astype(np.float64)
        if len(embedding) != len(rows) or not len(rows):
            raise InputError(
                f"there are {len(rows)} rows and a map of {len(embedding)}: it must be the map of these rows"
            )
        if not 1 <= embedding.shape[1] <= 3:
            raise InputError(f"the map has {embedding.shape[1]} coordinates; it must have one, two or three")
        for name in ("kl_divergence_", "trustworthiness_", "continuity_", "learning_rate_", "method_"):
            vars(self).pop(name, None)
        self.n_components = embedding.shape[1]
        self.embedding_ = embedding
        self.n_iter_ = 0
        self._rows = rows
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Place new rows on the map, which does not change.

        Parameters
        ----------
        X : (m, d) array
            New rows.

        Returns
        -------
        (m, n_components) array
            Where each of them lies, whatever other new rows there are.  Rows of the map itself
            come to lie near their place in ``embedding_``, not on it.

        Raises
        ------
        InputError
            If there are not as many features as in `fit`, or if there are NaN.

        Notes
        -----
        See `~astro_cluster.embedding.tsne.placing.place`.
        """
        check_is_fitted(self, "embedding_")
        rows = self._rows_of(X, reset=False)
        return place(
            rows, self._rows, self.embedding_, perplexity=self.perplexity, n_threads=_threads(self.n_jobs)
        )

    def facts(self) -> dict[str, Any]:
        """Return what of the fit belongs on record.

        Returns
        -------
        dict
            Plain numbers and words: ``kl_divergence``, ``n_iter``, ``learning_rate``, ``method``,
            ``trustworthiness`` and ``continuity``, as far as they are known.
        """
        names = ("method", "n_iter", "learning_rate", "kl_divergence", "trustworthiness", "continuity")
        found = {name: getattr(self, f"{name}_", None) for name in names}
        return {
            name: value
            for name, value in found.items()
            if value is not None and not (isinstance(value, float) and math.isnan(value))
        }

    @property
    def _n_features_out(self) -> int:
        return self.embedding_.shape[1]

    # ------------------------------------------------------------ parts of the fit

    def _rows_of(self, X: ArrayLike, *, reset: bool, least: int = 1) -> np.ndarray:
        """Return rows of numbers, as many features as before unless this is a new fit."""
        if np.ma.is_masked(X):
            raise InputError("X has masked values: leave these rows out or fill them")
        if np.iscomplexobj(X):
            raise InputError("Complex data not supported: real and imaginary parts can be two features")
        try:
            checked = validate_data(
                self, X, reset=reset, dtype="numeric", ensure_all_finite=False, ensure_min_samples=least
            )
        except ValueError as error:
            raise InputError(" ".join(str(error).split())) from error
        return as_rows(checked, "X")

    def _check_parameters(self) -> None:
        _check(self.n_components in (1, 2, 3), "n_components", self.n_components, "1, 2 or 3")
        _check_number("perplexity", self.perplexity, 1.0)
        _check_number("early_exaggeration", self.early_exaggeration, 1.0)
        _check_number("min_grad_norm", self.min_grad_norm, 0.0)
        if self.learning_rate != "auto":
            _check_number("learning_rate", self.learning_rate, 0.0, above=True)
        if self.n_init != "auto":
            whole = isinstance(self.n_init, Integral) and self.n_init >= 1
            _check(whole, "n_init", self.n_init, "'auto' or a number of starts, at least 1")
        whole = isinstance(self.max_iter, Integral) and self.max_iter >= 1
        _check(whole, "max_iter", self.max_iter, "a number of steps, at least 1")
        ways = ("auto", "exact", "groups", "openTSNE")
        _check(self.method in ways, "method", self.method, " or ".join(map(repr, ways)))
        if isinstance(self.init, str):
            _check(self.init in ("pca", "random"), "init", self.init, "'pca', 'random' or an array")

    def _check_rows(self, n: int) -> None:
        if self.perplexity >= n:
            raise InputError(
                f"perplexity = {self.perplexity:g} must be less than the number of rows, {n}; "
                f"at most {max(1, (n - 1) // 3)} makes sense with so few"
            )

    def _chosen_method(self, n: int) -> str:
        if self.method == "openTSNE" and self.n_components > 2:
            raise InputError(
                f'method="openTSNE" makes maps of one or two coordinates, not {self.n_components}: choose '
                'method="groups"'
            )
        if self.method != "auto":
            return self.method
        if n <= EXACT:
            return "exact"
        if n <= GROUPED or self.n_components > 2:
            return "groups"
        if is_there():
            return "openTSNE"
        warnings.warn(
            f"a map of {n} rows takes long; the package openTSNE would be faster: "
            'pip install "astro_cluster[images]"',
            AstroClusterWarning,
            stacklevel=3,
        )
        return "groups"

    def _look(self, rows: np.ndarray, n_threads: int) -> _Material:
        """Find the neighbours, and where to start."""
        n = len(rows)
        k = n_neighbours(n, self.perplexity)
        wanted = isinstance(self.init, str) and self.init == "pca"
        if n <= WHOLE:
            distances = squared_distances(rows, n_threads=n_threads)
            if not distances.any():
                raise InputError("all rows are equal: there is nothing to map")
            found = nearest(distances, k, n_threads=n_threads)
            components = from_distances(distances, self.n_components) if wanted else None
            return _Material(found, components, distances)
        if (rows == rows[0]).all():
            raise InputError("all rows are equal: there is nothing to map")
        found = nearest_others(rows, k, n_threads=n_threads, approximate=is_there())
        return _Material(found, from_rows(rows, self.n_components) if wanted else None, None)

    def _starts(
        self, material: _Material, n: int, random: np.random.RandomState, *, several: bool
    ) -> list[np.ndarray]:
        """Return where to begin."""
        wanted = self.n_init if self.n_init != "auto" else SEVERAL if n <= WHOLE else 1
        many = int(wanted) if several else 1
        if material.components is not None:
            return shaken(scaled(material.components, random), many)
        shape = (n, self.n_components)
        if isinstance(self.init, str):
            return [random.normal(size=shape) * SPREAD for _ in range(many)]
        start = as_rows(self.init, "init").astype(np.float64)
        if start.shape != shape:
            raise InputError(f"init has the shape {start.shape}; {shape} is needed")
        return shaken(start, many)

    def _rate(self, n: int) -> float:
        if isinstance(self.learning_rate, str):
            return max(n / self.early_exaggeration / 4.0, 50.0)
        return float(self.learning_rate)

    @staticmethod
    def _divergence(P: csr_array, Y: np.ndarray, n_threads: int) -> float:
        weight = None if len(Y) <= _EXACT_DIVERGENCE else grouped_weight(Y, n_threads)
        return kl_divergence(P, Y, n_threads=n_threads, weight=weight)

    @staticmethod
    def _judge(rows: np.ndarray, Y: np.ndarray, distances: np.ndarray | None) -> tuple[float, float]:
        k = min(_LOOKED_AT, most_neighbours(len(rows)))
        if k == 0:
            return math.nan, math.nan
        return trustworthiness_and_continuity(rows, Y, n_neighbors=k, distances=distances)


def _best(judged: list[tuple[float, float, float]]) -> int:
    """Return which map to keep: of those that fit about as well, the one that can be trusted most."""
    least = min(divergence for divergence, *_ in judged)
    as_good = [i for i, (divergence, *_) in enumerate(judged) if divergence <= least + _AS_GOOD * abs(least)]
    return max(as_good, key=lambda i: judged[i][1])


def _check(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise InputError(f"{name} = {value!r} cannot be used; it must be {allowed}")


def _check_number(name: str, value: object, least: float, *, above: bool = False) -> None:
    ok = isinstance(value, Real) and math.isfinite(value) and (value > least if above else value >= least)
    _check(ok, name, value, f"a number {'above' if above else 'of at least'} {least:g}")


def _threads(n_jobs: int | None) -> int:
    """Return the number of threads that scikit-learn's ``n_jobs`` stands for."""
    if n_jobs is None:
        return available_threads()
    if not isinstance(n_jobs, Integral) or n_jobs == 0:
        raise InputError(f"n_jobs = {n_jobs!r} cannot be used; it must be a number of threads, -1 or None")
    return int(n_jobs) if n_jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + int(n_jobs))
