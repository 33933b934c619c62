"""Ready features for surveys: which columns, on which scale.

The descriptors are those of the Chandra Source Catalog 2 that Pérez-Díaz et al. (2024,
MNRAS 528, 4852) cluster; `CSC2` is the set of their first study, `CSC2_12` the final one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from astro_cluster.exceptions import InputError
from astro_cluster.features import Features

__all__ = ["CSC2", "CSC2_12", "RECIPES", "recipe"]

_BANDS = "bhms"
_LOGNORM = (
    "theta",
    "src_area_b",
    "bb_kt",
    *(f"var_{what}_{band}" for band in _BANDS for what in ("sigma", "mean", "min", "max")),
)

CSC2 = Features(
    columns=(
        "theta",
        "src_area_b",
        "hard_hm",
        "hard_hs",
        "hard_ms",
        "powlaw_gamma",
        "bb_kt",
        *(f"var_{what}_{band}" for band in _BANDS for what in ("prob", "sigma", "mean", "min", "max")),
        *(f"{test}_prob_{band}" for test in ("ks", "kp") for band in _BANDS),
    ),
    scale={**dict.fromkeys(_LOGNORM, "lognorm"), "powlaw_gamma": "minmax"},
)
"""35 descriptors of an observed source: hardness, spectral fits, variability in four bands."""

CSC2_12 = Features(
    columns=(
        "hard_hm",
        "hard_hs",
        "hard_ms",
        "powlaw_gamma",
        "bb_kt",
        "var_prob_b",
        "var_ratio_b",
        "var_prob_h",
        "var_ratio_h",
        "var_prob_s",
        "var_ratio_s",
        "var_newq_b",
    ),
    scale={"bb_kt": "lognorm", "var_ratio_*": "lognorm", "var_newq_b": "lognorm", "powlaw_gamma": "minmax"},
)
"""12 descriptors; var_ratio is sigma / mean, var_newq ((max + min) / 2) / mean of the rate."""

RECIPES: Mapping[str, Features] = MappingProxyType({"csc2": CSC2, "csc2-12": CSC2_12})


def recipe(name: str) -> Features:
    """Return the features of a ready recipe.

    Parameters
    ----------
    name : {"csc2", "csc2-12"}
        Name of the recipe, as the command line takes it.

    Returns
    -------
    `~astro_cluster.Features`

    Raises
    ------
    InputError
        If there is no such recipe.

    Examples
    --------
    >>> len(recipe("csc2").columns)
    35
    """
    key = name.lower().replace("_", "-")
    if key not in RECIPES:
        raise InputError(f"there is no recipe {name!r}; the recipes are: {', '.join(RECIPES)}")
    return RECIPES[key]
