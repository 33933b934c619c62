"""What is searched: the strengths of the terms of the loss, and the widths of the layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from astro_cluster.exceptions import InputError, did_you_mean

__all__ = ["Space", "space_of"]

_DEFAULT: dict[str, Any] = {
    "lambda_": (2.0, 64.0),
    "alpha": (0.0, 0.9),
    "width": [(128, 64), (256, 128), (512, 256)],
}


@dataclass(frozen=True)
class Space:
    """Ranges, and the values that a search begins with.

    Parameters
    ----------
    lambda_, alpha : (float, float) or None
        Lowest and highest; None for what the model has.
    width : dict of str to tuple of int, or None
        Widths of the hidden layers by their name; None for what the model has.
    start : dict of str to float or str
        Values of the model itself.

    Examples
    --------
    >>> from astro_cluster.embedding.infovae import InfoVAE
    >>> space = space_of({"alpha": None, "width": [(64,), (128, 64)]}, InfoVAE(hidden=(64,)))
    >>> space.lambda_, space.alpha, list(space.width)
    ((2.0, 64.0), None, ['64', '128-64'])
    """

    lambda_: tuple[float, float] | None
    alpha: tuple[float, float] | None
    width: Mapping[str, tuple[int, ...]] | None
    start: Mapping[str, Any]

    def first(self, name: str) -> Any:
        """Return the value of the model itself, if the search may have it.

        Parameters
        ----------
        name : str
            ``"lambda_"``, ``"alpha"`` or ``"width"``.

        Returns
        -------
        float, str or None
        """
        value, asked = self.start[name], getattr(self, name)
        if asked is None or (isinstance(asked, Mapping) and value in asked):
            return value
        return None if isinstance(asked, Mapping) or not asked[0] <= value <= asked[1] else value

    def suggested(self, trial: Any) -> dict[str, Any]:
        """Return the values of a trial.

        Parameters
        ----------
        trial : `optuna.trial.Trial`
            One that is running.

        Returns
        -------
        dict of str to float or str
            ``lambda_``, ``alpha`` and ``width``.
        """
        found = dict(self.start)
        if self.lambda_ is not None:
            found["lambda_"] = trial.suggest_float("lambda_", *self.lambda_, log=True)
        if self.alpha is not None:
            found["alpha"] = trial.suggest_float("alpha", *self.alpha)
        if self.width is not None:
            found["width"] = trial.suggest_categorical("width", list(self.width))
        return found

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as the model takes them.

        Parameters
        ----------
        values : mapping
            From `suggested`.

        Returns
        -------
        dict
        """
        hidden = tuple(int(width) for width in str(values["width"]).split("-"))
        return {"lambda_": values["lambda_"], "alpha": values["alpha"], "hidden": hidden}

    def asked(self) -> dict[str, Any]:
        """Return what `space_of` makes the same space of.

        Returns
        -------
        dict
        """
        width = None if self.width is None else [list(hidden) for hidden in self.width.values()]
        return {
            "lambda_": None if self.lambda_ is None else list(self.lambda_),
            "alpha": None if self.alpha is None else list(self.alpha),
            "width": width,
        }

    def to_plain(self) -> dict[str, Any]:
        """Return what JSON can keep.

        Returns
        -------
        dict
        """
        return self.asked() | {"start": dict(self.start)}


def width_name(hidden: Iterable[int]) -> str:
    """Return the name of widths of layers.

    Parameters
    ----------
    hidden : iterable of int
        Widths.

    Returns
    -------
    str

    Examples
    --------
    >>> width_name((256, 128))
    '256-128'
    """
    return "-".join(str(int(width)) for width in hidden)


def space_of(search: Mapping[str, Any] | None, model: Any) -> Space:
    """Return what is searched.

    Parameters
    ----------
    search : mapping or None
        What differs from the usual ranges: ``lambda_`` and ``alpha``, two numbers, and ``width``, a list of
        widths of layers; None in place of a range for what the model has.
    model : InfoVAE
        The model.

    Returns
    -------
    Space

    Raises
    ------
    InputError
        If a name or a range makes no sense, or the MMD could count less than nothing.
    """
    if search is not None and not isinstance(search, Mapping):
        raise InputError(f"search={search!r}; give a dict such as {{'lambda_': (2, 64), 'alpha': None}}")
    given = dict(search or {})
    if unknown := [name for name in given if name not in _DEFAULT]:
        raise InputError(
            f"search knows no {unknown[0]!r}, only {', '.join(_DEFAULT)}{did_you_mean(unknown[0], _DEFAULT)}"
        )
    given = _DEFAULT | given
    start = {
        "lambda_": float(model.lambda_),
        "alpha": float(model.alpha),
        "width": width_name(model.hidden),
    }
    space = Space(
        _range("lambda_", given["lambda_"], positive=True),
        _range("alpha", given["alpha"]),
        _widths(given["width"]),
        start,
    )
    lowest = sum((getattr(space, name) or (start[name],))[0] for name in ("lambda_", "alpha"))
    if lowest < 1 or (space.alpha or (0, start["alpha"]))[1] > 1:
        raise InputError(
            f"search allows lambda_ + alpha = {lowest:g}, or alpha above 1; the MMD counts "
            "alpha + lambda_ − 1 and the divergence 1 − alpha, neither of which may be below 0"
        )
    return space


def _range(name: str, asked: Any, *, positive: bool = False) -> tuple[float, float] | None:
    if asked is None:
        return None
    fits = isinstance(asked, (tuple, list)) and len(asked) == 2
    if fits and all(isinstance(x, Real) and not isinstance(x, bool) and math.isfinite(x) for x in asked):
        low, high = float(asked[0]), float(asked[1])
        if low < high and not (positive and low <= 0):
            return low, high
    raise InputError(f"search: {name}={asked!r}; give the lowest and the highest value, or None for one only")


def _widths(asked: Any) -> dict[str, tuple[int, ...]] | None:
    if asked is None:
        return None
    found: dict[str, tuple[int, ...]] = {}
    listed = isinstance(asked, (list, tuple)) and len(asked) > 0
    for hidden in asked if listed else ():
        if not (isinstance(hidden, (list, tuple)) and hidden) or not all(
            isinstance(width, Integral) and not isinstance(width, bool) and width > 0 for width in hidden
        ):
            listed = False
            break
        found[width_name(hidden)] = tuple(int(width) for width in hidden)
    if not listed:
        raise InputError(
            f"search: width={asked!r}; give a list of widths of layers: [(256, 128), (512, 256)]"
        )
    return found
