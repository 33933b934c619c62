"""What `embed` expects of a model: the contract of scikit-learn and three words more.

A model of ours says by class attributes what it takes and what its columns are called, and by
`Embedder.facts` what of its fit belongs on record.  Any other transformer of scikit-learn's kind
can be given too; `stem_of`, `takes_of` and `facts_of` say for it what it does not say itself.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

__all__ = ["Embedder", "Takes", "facts_of", "is_fitted", "scalars_of", "stem_of", "takes_of"]

Takes = Literal["rows", "images", "spectra"]

# Methods that make a map to look at: each coordinate becomes a column, which any program can plot.
_MAPS = {"tsne", "umap", "pacmap", "trimap", "phate", "densmap"}


@runtime_checkable
class Embedder(Protocol):
    """A model of fewer coordinates.

    Attributes
    ----------
    stem : str
        Name of the new columns: ``"tsne"`` becomes ``tsne_1``, ``tsne_2`` …; ``"latent"`` and
        ``"pca"`` become one column (n, d).
    takes : {"rows", "images", "spectra"}
        Whether ``X`` is (n, d); (n, h, w) or (n, h, w, c); or (n, m) fluxes, NaN where there is none.
        What a method of the last kind names of ``weights`` (n, m), ``redshift`` (n,), ``grid`` and
        ``normalized`` it is given.
    random_state : int or None
        Seed.
    """

    stem: ClassVar[str]
    takes: ClassVar[Takes]
    random_state: int | None

    def fit(self, X: np.ndarray, y: Any = None) -> Any:
        """Learn from rows or images; returns the model itself."""
        ...

    def fit_transform(self, X: np.ndarray, y: Any = None) -> np.ndarray:
        """Learn from rows or images and return their coordinates, (n, k)."""
        ...

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the coordinates of rows or images, (n, k)."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, as scikit-learn does."""
        ...

    def set_params(self, **params: Any) -> Any:
        """Set parameters, as scikit-learn does."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return plain numbers of the fit for the record.

        Returns
        -------
        dict
            What JSON can keep: ``kl_divergence``, ``n_iter``; ``epochs``, ``held_out_loss``,
            ``seconds`` and ``history``, a dict of equally long lists ``epoch``, ``loss``,
            ``held_out_loss``, ``learning_rate`` and ``seconds``; ``explained_variance_ratio``.
        """
        ...


def stem_of(model: Any) -> str:
    """Return what the new columns of a model are called.

    Parameters
    ----------
    model : estimator
        One of ours, or any other.

    Returns
    -------
    str
        Its own word, or the name of its class in lower case.

    Examples
    --------
    >>> from sklearn.decomposition import FastICA
    >>> stem_of(FastICA())
    'fastica'
    """
    return str(getattr(model, "stem", type(model).__name__.lower()))


def takes_of(model: Any) -> Takes:
    """Return whether a model takes rows, images or spectra.

    Parameters
    ----------
    model : estimator
        One of ours, or any other.

    Returns
    -------
    {"rows", "images", "spectra"}
        Rows if it does not say.

    Examples
    --------
    >>> from sklearn.decomposition import FastICA
    >>> takes_of(FastICA())
    'rows'
    """
    return getattr(model, "takes", "rows")


def scalars_of(model: Any) -> bool:
    """Tell whether each coordinate becomes a column of its own.

    Parameters
    ----------
    model : estimator
        One of ours, or any other.

    Returns
    -------
    bool
        True for what makes a map to look at: t-SNE, UMAP, and what scikit-learn calls a manifold.

    Examples
    --------
    >>> from sklearn.decomposition import FastICA
    >>> from sklearn.manifold import Isomap
    >>> scalars_of(FastICA()), scalars_of(Isomap())
    (False, True)
    """
    return stem_of(model) in _MAPS or type(model).__module__.startswith("sklearn.manifold")


def facts_of(model: Any) -> dict[str, Any]:
    """Return plain numbers of a fitted model for the record.

    Parameters
    ----------
    model : estimator
        One of ours, or any other.

    Returns
    -------
    dict
        Of one that is not ours: those of its fitted attributes that such models usually have.

    Examples
    --------
    >>> from sklearn.decomposition import TruncatedSVD
    >>> svd = TruncatedSVD(1, random_state=0).fit(np.eye(3) * [3.0, 2.0, 1.0])
    >>> list(facts_of(svd))
    ['explained_variance_ratio']
    """
    if hasattr(model, "facts"):
        return dict(model.facts())
    found = {}
    for name in ("kl_divergence_", "explained_variance_ratio_", "reconstruction_err_", "stress_", "n_iter_"):
        value = np.asarray(getattr(model, name, None))
        if value.dtype.kind in "fiu" and value.ndim <= 1:
            found[name.removesuffix("_")] = value.tolist()
    return found


def is_fitted(model: Any) -> bool:
    """Tell whether a model has been fitted.

    Parameters
    ----------
    model : estimator
        One of ours, or any other.

    Returns
    -------
    bool

    Examples
    --------
    >>> from sklearn.decomposition import FastICA
    >>> is_fitted(FastICA())
    False
    """
    if hasattr(model, "__sklearn_is_fitted__"):
        return bool(model.__sklearn_is_fitted__())
    return any(name.endswith("_") and not name.startswith("_") for name in vars(model))
