"""Whether a model that has been fitted to spectra can be given those of a table."""

from __future__ import annotations

import warnings
from typing import Any

from astro_cluster.embedding.protocol import takes_of
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.wavelengths import Grid

__all__ = ["check_grid", "check_same_grid", "check_scale", "conditioned_of"]


def conditioned_of(model: Any) -> bool:
    """Tell whether a model is given redshifts.

    Parameters
    ----------
    model : estimator
        One of ours, or any other.

    Returns
    -------
    bool

    Examples
    --------
    >>> from astro_cluster.embedding import PCA
    >>> conditioned_of(PCA())
    False
    """
    return takes_of(model) == "spectra" and bool(model.get_params(deep=False).get("conditioned", False))


def check_same_grid(grid: Grid, known: Grid, how: str) -> None:
    """Make sure that spectra are at the wavelengths that a model or a map knows.

    Parameters
    ----------
    grid : Grid
        Those of the table.
    known : Grid
        Those that are expected.
    how : str
        Who expects them.

    Raises
    ------
    InputError
        If they differ.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astro_cluster.wavelengths import log_grid
    >>> grid = log_grid(4000 * u.AA, 5000 * u.AA, 5)
    >>> check_same_grid(grid, grid, "the model has been fitted")
    """
    if grid != known:
        raise InputError(
            f"the spectra of the table are at {grid}, and {how} at {known}: bring them to the same "
            "wavelengths (astro_cluster.regrid, or read_spectra with the same grid)"
        )


def check_grid(model: Any, grid: Grid) -> None:
    """Make sure that a fitted model has learned at the wavelengths of a table.

    Parameters
    ----------
    model : estimator
        A fitted one; one that does not know its wavelengths is not asked.
    grid : Grid
        Wavelengths of the table.

    Raises
    ------
    InputError
        If it has not.
    """
    known = getattr(model, "grid_", getattr(model, "_grid", None))
    if isinstance(known, Grid):
        check_same_grid(grid, known, f"the {type(model).__name__} has been fitted")


def check_scale(model: Any, normalized: bool) -> None:
    """Say so if a fitted model has learned from normalised spectra, and those of a table are not.

    Parameters
    ----------
    model : estimator
        A fitted one; one that does not know how it normalises is not asked.
    normalized : bool
        Whether those of the table are.

    Warns
    -----
    AstroClusterWarning
        If they are at another scale.
    """
    how = getattr(model, "normalize_", getattr(model, "normalize", "auto"))
    if how is None and not normalized:
        warnings.warn(
            f"the {type(model).__name__} has learned from spectra as they were given, without normalising "
            "them, and those of the table are not noted as normalised: if they are at another scale than "
            "those were, normalise them the same way first (normalize_spectra)",
            AstroClusterWarning,
            stacklevel=6,
        )
