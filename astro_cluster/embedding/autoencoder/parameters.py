"""Checks of the parameters of an autoencoder: one message that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from astro_cluster.embedding.autoencoder.losses import loss_shares
from astro_cluster.embedding.autoencoder.training import OPTIMISERS
from astro_cluster.exceptions import InputError, did_you_mean

__all__ = ["ARCHITECTURES", "TRAINING_NUMBERS", "check_number", "check_parameters", "check_widths"]

ARCHITECTURES = ("default", "study")
_MOST_LATENT = 100_000
_MOST_WIDTH = 100_000
_MOST_LAYERS = 12

TRAINING_NUMBERS: dict[str, tuple[float, float, bool, bool, bool]] = {
    "n_latent": (1, _MOST_LATENT, True, True, False),
    "epochs": (1, 10**9, True, False, False),
    "batch_size": (2, 10**9, True, False, False),
    "learning_rate": (0, 1e6, False, True, True),
    "clip": (0, math.inf, False, True, True),
    "held_out": (0, 0.9, False, False, False),
    "patience": (1, 10**9, True, True, False),
    "n_threads": (1, 10**6, True, True, False),
}
"""Bounds of what all trainings have: lowest, highest, whole, None will do, lowest excluded."""

_NUMBERS = TRAINING_NUMBERS | {
    "beta": (0, math.inf, False, False, False),
    "mmd": (0, math.inf, False, False, False),
    "shift": (0, 10_000, True, False, False),
}


def check_number(name: str, value: Any, bounds: tuple[float, float, bool, bool, bool]) -> None:
    """Make sure that a parameter is a number that makes sense.

    Parameters
    ----------
    name : str
        Its name.
    value : object
        The parameter.
    bounds : tuple
        Lowest, highest, whether it must be whole, whether None will do, whether the lowest is excluded.

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> check_number("epochs", 3, (1, 100, True, False, False))
    """
    low, high, whole, optional, above = bounds
    if value is None and optional:
        return
    kind: Any = Integral if whole else Real
    fits = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if fits and low <= value <= high and not (above and value == low):
        return
    what = "a whole number" if whole else "a number"
    start = f"above {low:g}" if above else f"from {low:g} on"
    end = f" and at most {high:g}" if high < 1e5 else ""
    raise InputError(f"{name}={value!r}; give {what} {start}{end}{' or None' if optional else ''}")


def check_widths(name: str, value: Any) -> None:
    """Make sure that the widths of hidden layers make sense.

    Parameters
    ----------
    name : str
        Name of the parameter.
    value : object
        The parameter; None will do.

    Raises
    ------
    InputError
        If they do not.

    Examples
    --------
    >>> check_widths("hidden", (256, 128))
    """
    if value is None:
        return
    fits = isinstance(value, Sequence) and not isinstance(value, str) and 1 <= len(value) <= _MOST_LAYERS
    if not fits or not all(
        isinstance(width, Integral) and not isinstance(width, bool) and 1 <= width <= _MOST_WIDTH
        for width in value
    ):
        raise InputError(
            f"{name}={value!r}; give one to {_MOST_LAYERS} whole numbers, such as (16, 8, 4), or None"
        )


def check_parameters(parameters: Mapping[str, Any], widths: str) -> None:
    """Make sure that the parameters of an autoencoder make sense.

    Parameters
    ----------
    parameters : mapping of str to object
        All of them, by name.
    widths : str
        Name of the one that holds the widths of the layers.

    Raises
    ------
    InputError
        If one does not, or two contradict each other.

    Examples
    --------
    >>> from astro_cluster.embedding.autoencoder import ConvAutoencoder
    >>> check_parameters(ConvAutoencoder().get_params(), "filters")
    """
    for name in _NUMBERS:
        check_number(name, parameters[name], _NUMBERS[name])
    check_widths(widths, parameters[widths])
    for name in ("augment", "average_symmetries"):
        if not isinstance(parameters[name], (bool,)):
            raise InputError(f"{name}={parameters[name]!r}; give True or False")
    if not isinstance(parameters["device"], str):
        raise InputError(f"device={parameters['device']!r}; give 'cpu', 'cuda' or 'auto'")
    for name, allowed in (("architecture", ARCHITECTURES), ("optimiser", OPTIMISERS)):
        if parameters[name] not in allowed:
            raise InputError(
                f"there is no {name} {parameters[name]!r}, only {', '.join(allowed)}"
                + did_you_mean(parameters[name], allowed)
            )
    loss_shares(parameters["loss"])
    if parameters["architecture"] == "study":
        if parameters["beta"] or parameters["mmd"]:
            raise InputError(
                "the study's architecture normalises its latents, so beta and mmd have nothing to hold; take "
                "architecture='default' with them"
            )
        if widths == "filters" and parameters["n_latent"] is not None:
            raise InputError(
                "the latents of the study's convolutional network follow from the size of the images "
                f"(4 × 16 × 16 for 128 × 128), so n_latent={parameters['n_latent']} cannot be met; leave it "
                "out, or take architecture='default'"
            )
