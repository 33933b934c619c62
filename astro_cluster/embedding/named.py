"""Models by name, from a file or as given, and how the record keeps them."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from astro_cluster.embedding.protocol import is_fitted
from astro_cluster.exceptions import InputError, did_you_mean
from astro_cluster.linked import is_regular_file
from astro_cluster.provenance import register_codec

__all__ = ["FILE_ENDING", "Model", "RecordedModel", "fingerprint", "known_models", "make_model"]

FILE_ENDING = ".safetensors"

# Ours: where each class is, and what it may be called.
_OURS = {
    "TSNE": ("astro_cluster.embedding.tsne", ("tsne", "t-sne")),
    "PCA": ("astro_cluster.embedding.pca", ("pca",)),
    "PowerSpectrum": ("astro_cluster.embedding.power", ("power-spectrum", "powerspectrum", "power")),
    "ConvAutoencoder": (
        "astro_cluster.embedding.autoencoder",
        ("autoencoder", "conv-autoencoder", "convautoencoder"),
    ),
    "DenseAutoencoder": ("astro_cluster.embedding.autoencoder", ("dense-autoencoder", "denseautoencoder")),
    "InfoVAE": ("astro_cluster.embedding.infovae", ("infovae", "info-vae")),
    "WeightedPCA": ("astro_cluster.embedding.weighted_pca", ("weighted-pca", "weightedpca")),
}
_THEIRS = (
    "sklearn.decomposition",
    "sklearn.manifold",
    "sklearn.random_projection",
    "sklearn.kernel_approximation",
)
# joblib unpickles what it finds in a folder of this name.
_NOT_ON_RECORD = {"memory"}


@dataclass(frozen=True)
class Model:
    """A model that is ready for `embed`.

    Parameters
    ----------
    estimator : estimator
        One's own, so that it may be fitted.
    fitted : bool
        Whether it only transforms.
    recorded : RecordedModel
        What stands for it in the record.
    """

    estimator: Any
    fitted: bool
    recorded: RecordedModel


@dataclass(frozen=True)
class RecordedModel:
    """What the record keeps of a model: enough to make it, to read it again, or to tell which it was.

    Parameters
    ----------
    name : str
        Name of the class, with ``sklearn.`` before it if it is none of ours.
    parameters : dict
        Its parameters.
    file : str, optional
        File that it was read from.
    weights : str, optional
        Hash of what it has learned, if it was fitted before.
    """

    name: str
    parameters: Mapping[str, Any]
    file: str | None = None
    weights: str | None = None

    def relocated(self, folder: Path) -> RecordedModel:
        """Return the same with its file beside the table that is run again, if it is there.

        Parameters
        ----------
        folder : path
            Folder of that table.

        Returns
        -------
        RecordedModel
        """
        if self.file is None or is_regular_file(self.file):
            return self
        for place in (folder / self.file, folder / Path(self.file).name):
            if is_regular_file(place):
                return RecordedModel(self.name, self.parameters, str(place), self.weights)
        return self

    def made(self) -> Model:
        """Return the model, read again or new.

        Returns
        -------
        Model

        Raises
        ------
        InputError
            If it cannot be had: it was fitted elsewhere, or its file is gone or has changed.
        """
        if self.file is not None:
            found = _from_file(self.file)
            if found.recorded.weights != self.weights:
                raise InputError(
                    f"{self.file} has changed since the record was made: it holds another model; put the old "
                    "file back, or give the new one to embed(table, model=…)"
                )
            return found
        if self.weights is not None:
            raise InputError(
                f"the {self.name} of this step was fitted elsewhere and given as an object, and the record "
                f"keeps only its parameters and the hash of its weights ({self.weights[:19]}…): save it "
                f"(model.save('model{FILE_ENDING}')) and give the file to embed, and it can be run again"
            )
        estimator = _class_of(self.name)(**self.parameters)
        return Model(estimator, fitted=False, recorded=self)


def known_models() -> dict[str, str]:
    """Return the names that models may be given by.

    Returns
    -------
    dict of str to str
        Name, in lower case, to the name of the class: ours, then those of scikit-learn's
        decompositions, manifolds, projections and kernels, which ``sklearn.`` tells from ours.

    Examples
    --------
    >>> known_models()["autoencoder"], known_models()["fastica"]
    ('ConvAutoencoder', 'sklearn.FastICA')
    """
    theirs = _their_classes()
    found = {f"sklearn.{name.lower()}": f"sklearn.{name}" for name in theirs}
    found |= {name.lower(): f"sklearn.{name}" for name in theirs}
    return found | {word: name for name, (_, words) in _OURS.items() for word in words}


@functools.cache
def _their_classes() -> dict[str, type]:
    # Not by all_estimators, which imports all of scikit-learn and with it torch.
    found = {}
    for home in map(importlib.import_module, _THEIRS):
        for name, cls in vars(home).items():
            own = isinstance(cls, type) and cls.__module__.startswith(home.__name__)
            if own and hasattr(cls, "fit_transform") and name != "SparseCoder":
                found[name] = cls
    return found


def _class_of(name: str) -> type:
    """Return a class by the name that the record has for it; no others are ever made."""
    if name in _OURS:
        return getattr(importlib.import_module(_OURS[name][0]), name)
    home, _, rest = name.rpartition(".")
    if home == "sklearn" and rest in _their_classes():
        return _their_classes()[rest]
    raise InputError(f"the record names the model {name!r}, which is not one of the known models")


def _name_of(estimator: Any) -> str:
    """Return the name of a class that the record may have, or of any other with its module."""
    cls = type(estimator)
    if cls.__name__ in _OURS and cls.__module__.startswith("astro_cluster.embedding"):
        return cls.__name__
    if cls.__module__.startswith(_THEIRS) and _their_classes().get(cls.__name__) is cls:
        return f"sklearn.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def make_model(
    model: Any,
    *,
    random_state: int | None = None,
    refit: bool = False,
    parameters: Mapping[str, Any] | None = None,
    drawn: int | None = None,
) -> Model:
    """Return the model that was asked for, one's own.

    Parameters
    ----------
    model : str, path or estimator
        A name, a file of a fitted autoencoder, or an instance, which is copied.
    random_state : int, optional
        Seed, if the method takes one; drawn if neither this nor the model has any.
    refit : bool, optional
        Whether one that has been fitted forgets that.
    parameters : mapping, optional
        Parameters, if a name is given.
    drawn : int, optional
        Seed to take if neither ``random_state`` nor the model has one; a random one if not given.

    Returns
    -------
    Model

    Raises
    ------
    InputError
        If the name, the file or a parameter cannot be used, or the object is no transformer.

    Examples
    --------
    >>> make_model("pca", random_state=1, parameters={"n_components": 3}).estimator
    PCA(n_components=3, random_state=1)
    """
    parameters = dict(parameters or {})
    if isinstance(model, RecordedModel):
        return model.made()
    if isinstance(model, os.PathLike) or (isinstance(model, str) and model.lower().endswith(FILE_ENDING)):
        made = _from_file(model)
    elif isinstance(model, str):
        estimator = _by_name(model, parameters)
        _seed(estimator, random_state, drawn)
        return _new(estimator)
    elif isinstance(model, type):
        raise InputError(f"{model.__name__} is a class; give an instance: {model.__name__}(…)")
    elif not all(hasattr(model, name) for name in ("fit", "get_params")) or not (
        hasattr(model, "transform") or hasattr(model, "fit_transform")
    ):
        raise InputError(
            f"a {type(model).__name__} is no model to embed with: it lacks transform or get_params; give a "
            "name such as 'tsne', a model of ours, a transformer of scikit-learn or the file of a saved "
            "autoencoder"
        )
    else:
        made = _given(model)
    if parameters:
        raise InputError(
            f"unknown arguments {', '.join(parameters)}; parameters of a model that is given as an object or "
            "a file are its own: set them on the object"
        )
    if made.fitted and not refit:
        return made
    estimator = _unfitted(made.estimator)
    _seed(estimator, random_state, drawn)
    return _new(estimator)


def _given(model: Any) -> Model:
    if not is_fitted(model):
        return _new(_unfitted(model))
    if not hasattr(model, "transform"):
        raise InputError(
            f"a fitted {type(model).__name__} cannot place other rows (it has no transform); give "
            "refit=True to fit it to this table"
        )
    name, known = _name_of(model), model.get_params(deep=False)
    return Model(model, fitted=True, recorded=RecordedModel(name, known, weights=fingerprint(model)))


def _unfitted(model: Any) -> Any:
    from sklearn.base import clone

    return clone(model)


def _new(estimator: Any) -> Model:
    # The fit may change what a parameter holds, so the record gets its own.
    parameters = {
        name: value if _is_plain(value) else copy.deepcopy(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in _NOT_ON_RECORD
    }
    return Model(estimator, fitted=False, recorded=RecordedModel(_name_of(estimator), parameters))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _by_name(name: str, parameters: dict[str, Any]) -> Any:
    word = name.lower()
    home = next((ours for ours, (_, words) in _OURS.items() if word in words), None)
    if home is None and (home := known_models().get(word)) is None:
        raise InputError(
            f"there is no model {name!r}{did_you_mean(word, known_models(), n=1)} The models are: tsne, pca, "
            "autoencoder, conv-autoencoder, dense-autoencoder, infovae and weighted-pca; the file of a "
            f"saved one (model{FILE_ENDING}); and of scikit-learn {', '.join(sorted(_their_classes()))}"
        )
    from astro_cluster.estimators import with_parameters

    return with_parameters(_class_of(home), parameters)


def _seed(estimator: Any, random_state: int | None, drawn: int | None) -> None:
    """Give a model a seed, drawn if there is none, so that the record can repeat it."""
    if "random_state" not in estimator.get_params(deep=False):
        return
    own = estimator.get_params(deep=False)["random_state"]
    if random_state is not None:
        estimator.set_params(random_state=random_state)
    elif isinstance(own, np.random.RandomState):
        estimator.set_params(random_state=int(own.randint(2**31)))
    elif own is None:
        estimator.set_params(random_state=secrets.randbelow(2**31) if drawn is None else drawn)


def _from_file(path: str | os.PathLike[str]) -> Model:
    place = Path(path)
    if not is_regular_file(place):
        raise InputError(f"there is no model file {path}")
    if place.suffix.lower() != FILE_ENDING:
        raise InputError(f"{path} is no model file: a saved autoencoder ends in {FILE_ENDING}")
    from astro_cluster.embedding.autoencoder import load_model

    estimator = load_model(place)
    digest = "sha256:" + hashlib.sha256(place.read_bytes()).hexdigest()
    recorded = RecordedModel(_name_of(estimator), estimator.get_params(deep=False), os.fspath(path), digest)
    return Model(estimator, fitted=True, recorded=recorded)


def fingerprint(model: Any) -> str:
    """Return a hash of what a fitted model has learned.

    Parameters
    ----------
    model : estimator
        After its fit.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits; of an autoencoder, that of its weights, of another
        model, that of its fitted arrays and numbers.

    Examples
    --------
    >>> from astro_cluster.embedding.pca import PCA
    >>> X = np.arange(12.0).reshape(4, 3)
    >>> fingerprint(PCA(1).fit(X)) == fingerprint(PCA(1).fit(X))
    True
    """
    digest = hashlib.sha256()
    for name, value in sorted(_learned(model).items()):
        digest.update(f"\0{name}\0{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value))
    return "sha256:" + digest.hexdigest()


def _learned(model: Any) -> dict[str, np.ndarray]:
    found = {}
    for name, value in vars(model).items():
        # Of a network: torch gives its tensors by name.
        if hasattr(value, "state_dict"):
            for key, tensor in value.state_dict().items():
                found[f"{name}.{key}"] = np.asarray(tensor.detach().cpu())
        elif name.endswith("_") and isinstance(value, (np.ndarray, int, float, np.number)):
            array = np.asarray(value)
            if array.dtype.kind in "biufc":
                found[name] = array
    return found


def _to_plain(model: RecordedModel) -> dict[str, Any]:
    if model.name not in _OURS and not model.name.startswith("sklearn.") and model.weights is None:
        # A class of the user's own: a file must not name it, so it could not be made again.
        raise TypeError(f"{model.name} is not one of the known models")
    plain: dict[str, Any] = {"name": model.name, "params": dict(model.parameters)}
    return plain | {key: value for key in ("file", "weights") if (value := getattr(model, key)) is not None}


def _from_plain(plain: Any) -> RecordedModel:
    # Only known classes are ever made: a file must not choose what is run.
    if (
        not isinstance(plain, dict)
        or not isinstance(plain["name"], str)
        or not isinstance(plain["params"], dict)
    ):
        raise TypeError("no model")
    if refused := _NOT_ON_RECORD & set(plain["params"]):
        raise InputError(f"a record must not set the parameter {', '.join(refused)} of a model")
    file, weights = plain.get("file"), plain.get("weights")
    if not all(value is None or isinstance(value, str) for value in (file, weights)):
        raise TypeError("no model")
    if weights is None:
        cls = _class_of(plain["name"])
        if unknown := set(plain["params"]) - set(cls().get_params()):
            raise InputError(
                f"the record gives {plain['name']} the unknown parameters {', '.join(sorted(unknown))}"
            )
    return RecordedModel(plain["name"], plain["params"], file, weights)


register_codec("embedder", RecordedModel, _to_plain, _from_plain)
