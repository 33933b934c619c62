"""Checks of the parameters of an `InfoVAE`: one message that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from astro_cluster.embedding.autoencoder.parameters import TRAINING_NUMBERS, check_number, check_widths
from astro_cluster.embedding.autoencoder.training import OPTIMISERS
from astro_cluster.embedding.infovae.objective import KERNELS
from astro_cluster.exceptions import InputError, did_you_mean

__all__ = ["check_parameters", "plain_normalize"]

_NUMBERS = TRAINING_NUMBERS | {
    "n_latent": (1, 100_000, True, False, False),
    "alpha": (-math.inf, 1, False, False, False),
    "lambda_": (0, math.inf, False, False, False),
    "softening": (0, 1e6, False, False, False),
}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Make sure that the parameters of an InfoVAE make sense.

    Parameters
    ----------
    parameters : mapping of str to object
        All of them, by name.

    Raises
    ------
    InputError
        If one does not, or α and λ would reward latents for leaving their prior.

    Examples
    --------
    >>> from astro_cluster.embedding.infovae import InfoVAE
    >>> check_parameters(InfoVAE().get_params())
    """
    for name, bounds in _NUMBERS.items():
        check_number(name, parameters[name], bounds)
    if parameters["alpha"] + parameters["lambda_"] < 1:
        raise InputError(
            f"alpha={parameters['alpha']!r} and lambda_={parameters['lambda_']!r}: the MMD counts "
            "alpha + lambda_ − 1, which must not be below 0; raise lambda_"
        )
    if parameters["hidden"] is None:
        raise InputError("hidden=None; give the widths of the hidden layers, such as (256, 128)")
    check_widths("hidden", parameters["hidden"])
    for name in ("subtract_mean", "conditioned"):
        if not isinstance(parameters[name], bool | np.bool_):
            raise InputError(f"{name}={parameters[name]!r}; give True or False")
    if not isinstance(parameters["device"], str):
        raise InputError(f"device={parameters['device']!r}; give 'cpu', 'cuda' or 'auto'")
    for name, allowed in (("kernel", tuple(KERNELS)), ("optimiser", OPTIMISERS)):
        if parameters[name] not in allowed:
            raise InputError(
                f"there is no {name} {parameters[name]!r}, only {', '.join(allowed)}"
                + did_you_mean(parameters[name], allowed)
            )
    plain_normalize(parameters["normalize"])


def plain_normalize(how: Any) -> str | None:
    """Return how spectra are normalised as a file keeps it.

    Parameters
    ----------
    how : str, pair of `~astropy.units.Quantity` or None
        As `~astro_cluster.InfoVAE` takes it.

    Returns
    -------
    str or None
        A window as ``"window:5080:5120"``, in Ångström.

    Raises
    ------
    InputError
        If it is none of these.

    Examples
    --------
    >>> from astropy import units as u
    >>> plain_normalize((508 * u.nm, 512 * u.nm))
    'window:5080:5120'
    """
    from astro_cluster.spectra.normalising import parse_norm

    if isinstance(how, str) and how == "auto":
        return how
    try:
        kind, window = parse_norm(how)
    except InputError as error:
        raise InputError(f"normalize={how!r} cannot be: {error}") from error
    return f"window:{window[0]:.12g}:{window[1]:.12g}" if kind == "window" else kind
