"""Arguments and options that several verbs have, and what their words mean."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "Cluster",
    "Errors",
    "FeatureList",
    "Figure",
    "Files",
    "Find",
    "Level",
    "MaxIter",
    "MaybeOutput",
    "Method",
    "Missing",
    "MissingPolicy",
    "NInit",
    "Output",
    "Overwrite",
    "OverwriteColumns",
    "Param",
    "Position",
    "Recipe",
    "Scale",
    "Seed",
    "Table",
    "angle_of",
    "errors_of",
    "fail",
    "features_of",
    "names_of",
    "numbers_of",
    "parameters_of",
    "value_of",
]


class Find(StrEnum):
    """Find modes, in the words of STILTS."""

    ALL = "all"
    BEST = "best"
    BEST_REMOTE = "best-remote"
    EACH = "each"
    EACH_DIST = "each-dist"
    BEST_SYMMETRIC = "best-symmetric"


class Missing(StrEnum):
    """What to do with missing values."""

    MARGINALIZE = "marginalize"
    DROP = "drop"
    MEDIAN = "median"


Files = Annotated[
    list[Path], typer.Argument(help="Tables: VOTable, FITS, ECSV, Parquet, CSV; several are stacked.")
]
Table = Annotated[Path, typer.Argument(help="Table to work on.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write; its ending gives the format.")]
MaybeOutput = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the table; the ending gives the format.")
]
Figure = Annotated[Path | None, typer.Option(help="Draw it too: .png, .pdf, .svg.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output file.")]
OverwriteColumns = Annotated[
    bool, typer.Option("--overwrite-columns", help="Replace columns of the same names.")
]
Cluster = Annotated[
    str | None, typer.Option(help="Column of cluster labels; of the latest clustering by default.")
]
Position = Annotated[
    str | None, typer.Option(help="Columns of the position, as ra,dec, if they are not found.")
]
Level = Annotated[
    int | None,
    typer.Option(help="Fold SIMBAD's types: 0 to Star, Galaxy …, 1 to YSO, AGN …, and so on."),
]
Seed = Annotated[int | None, typer.Option(help="Random seed; drawn and recorded by default.")]

# What to cluster in, and by which method.
FeatureList = Annotated[str | None, typer.Option(help="Columns or patterns, separated by commas.")]
Recipe = Annotated[str | None, typer.Option(help="Ready features: csc2 or csc2-12.")]
Scale = Annotated[
    str | None,
    typer.Option(help="none, log, lognorm, minmax, standard or robust; or name=scale, by commas."),
]
MissingPolicy = Annotated[
    Missing | None, typer.Option(help="Missing values; by default what suits the method.")
]
Errors = Annotated[
    list[str] | None,
    typer.Option(
        help="Measurement errors: auto, or feature=column; of correlations first,second=column. Repeat it."
    ),
]
Method = Annotated[str, typer.Option(help="gmm, or a clusterer of scikit-learn.")]
NInit = Annotated[int | None, typer.Option(help="Number of starts.")]
MaxIter = Annotated[int | None, typer.Option(help="Most steps of one start.")]
Param = Annotated[list[str] | None, typer.Option(help="Further parameter of the method: name=value.")]


def fail(message: str) -> Any:
    """Say what is wrong with the command.

    Parameters
    ----------
    message : str
        What, where, and what to do.

    Raises
    ------
    InputError
        Always.
    """
    from astro_cluster.exceptions import InputError

    raise InputError(message)


def names_of(text: str | None) -> str | tuple[str, ...] | None:
    """Take names apart that are separated by commas.

    Parameters
    ----------
    text : str or None
        One name or several.

    Returns
    -------
    str, tuple of str or None

    Examples
    --------
    >>> names_of("ra,dec"), names_of("pos")
    (('ra', 'dec'), 'pos')
    """
    if text is None or "," not in text:
        return text
    return tuple(part.strip() for part in text.split(","))


def angle_of(text: str) -> Any:
    """Return the angle that a text means.

    Parameters
    ----------
    text : str
        A number with its unit.

    Returns
    -------
    `~astropy.units.Quantity`

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> angle_of("3arcsec")
    <Quantity 3. arcsec>
    """
    from astropy import units as u
    from astropy.coordinates import Angle

    try:
        try:
            angle = u.Quantity(text)  # 3s is a time, not an hour angle
        except (TypeError, ValueError):
            angle = u.Quantity(Angle(text))  # 3" and 1'
    except (TypeError, ValueError, u.UnitsError):
        angle = None
    if angle is None or not angle.unit.is_equivalent(u.deg):
        fail(f"{text!r} is no angle: give a number with its unit, such as 3arcsec")
    return angle


def value_of(text: str) -> Any:
    """Turn the text of a value into what it most likely is: a literal, else a word.

    Parameters
    ----------
    text : str
        As it was given.

    Returns
    -------
    object

    Examples
    --------
    >>> value_of("0.4"), value_of("true"), value_of("ball_tree")
    (0.4, True, 'ball_tree')
    """
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def numbers_of(text: str) -> list[int]:
    """Return the whole numbers that a text means.

    Parameters
    ----------
    text : str
        Numbers and ranges, the ends of which belong to them, separated by commas.

    Returns
    -------
    list of int

    Raises
    ------
    InputError
        If it is something else.

    Examples
    --------
    >>> numbers_of("2:5"), numbers_of("2:20:6,30")
    ([2, 3, 4, 5], [2, 8, 14, 20, 30])
    """
    found: list[int] = []
    for part in text.split(","):
        try:
            found += _range_of([int(number) for number in part.split(":")])
        except ValueError:
            fail(f"-n {text} means no numbers; give some such as 2:20 (from 2 to 20), 2:20:2 or 2,4,8")
    return found


def _range_of(ends: list[int]) -> range:
    match ends:
        case [number]:
            return range(number, number + 1)
        case [first, last]:
            return range(first, last + 1)
        case [first, last, step]:
            return range(first, last + 1, step)
    raise ValueError("too many ends")


def _scale(text: str) -> str | dict[str, str]:
    """Parse ``standard`` or ``bb_kt=lognorm,powlaw_gamma=minmax``."""
    if "=" not in text:
        return text
    parts = [part.partition("=") for part in text.split(",")]
    return {name.strip(): scale.strip() for name, _, scale in parts}


def features_of(recipe: str | None, features: str | None, scale: str | None) -> Any:
    """Return the features that the options mean.

    Parameters
    ----------
    recipe : str or None
        Name of ready features.
    features : str or None
        Names and patterns.
    scale : str or None
        Scales of these.

    Returns
    -------
    Features

    Raises
    ------
    InputError
        If there is not just one of the first two, or a scale too many.

    Examples
    --------
    >>> features_of(None, "hard_*,bb_kt", "bb_kt=log").columns
    ('hard_*', 'bb_kt')
    """
    from astro_cluster.features import Features
    from astro_cluster.recipes import RECIPES
    from astro_cluster.recipes import recipe as ready

    if (recipe is None) == (features is None):
        fail(
            "say what to cluster in, one of the two: --features 'hard_*,bb_kt' or "
            f"--recipe {'|'.join(RECIPES)}"
        )
    if recipe is not None:
        if scale is not None:
            fail("--recipe brings its own scales; give --scale with --features")
        return ready(recipe)
    return Features(features or "", scale=_scale(scale or "none"))


def errors_of(texts: list[str] | None) -> str | dict[str | tuple[str, ...], str] | None:
    """Return the measurement errors that the options mean.

    Parameters
    ----------
    texts : list of str or None
        ``auto``, or features and their columns of errors.

    Returns
    -------
    None, "auto" or dict
        As `~astro_cluster.cluster` takes it.

    Raises
    ------
    InputError
        If one is neither.

    Examples
    --------
    >>> errors_of(["ra=ra_error", "dec=dec_error", "ra,dec=ra_dec_corr"])
    {'ra': 'ra_error', 'dec': 'dec_error', ('ra', 'dec'): 'ra_dec_corr'}
    """
    if not texts:
        return None
    if "auto" in texts:
        if len(texts) > 1:
            fail("--errors auto finds the columns itself; give it alone, or name all columns")
        return "auto"
    found: dict[str | tuple[str, ...], str] = {}
    for text in texts:
        feature, _, column = (part.strip() for part in text.partition("="))
        key = names_of(feature)
        if not feature or not column:
            fail(
                f"--errors {text!r} should be feature=column, such as parallax=parallax_error, of a "
                "correlation ra,dec=ra_dec_corr, or auto"
            )
        if key in found:
            fail(f"--errors names the errors of {feature!r} twice; give one column")
        found[key] = column  # type: ignore[index]
    return found


def parameters_of(
    step: Callable[..., Any], texts: list[str] | None, n_init: int | None, max_iter: int | None
) -> dict[str, Any]:
    """Return the parameters of the method that the options mean.

    Parameters
    ----------
    step : callable
        What they are for; its own parameters are none of the method.
    texts : list of str or None
        As ``name=value``.
    n_init, max_iter : int or None
        These have options of their own.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If one is not of that form, or no parameter of the method.

    Examples
    --------
    >>> from astro_cluster import cluster
    >>> parameters_of(cluster, ["eps=0.4"], None, 300)
    {'eps': 0.4, 'max_iter': 300}
    """
    import inspect

    of_step = inspect.signature(step).parameters
    found: dict[str, Any] = {}
    for text in texts or []:
        name, separator, value = text.partition("=")
        if not separator:
            fail(f"--param {text!r} should be name=value, such as eps=0.4")
        if name in of_step:
            fail(f"--param {name} is no parameter of the method; there is an option or an argument for it")
        found[name] = value_of(value)
    return found | {k: v for k, v in {"n_init": n_init, "max_iter": max_iter}.items() if v is not None}
