"""The figures of the verb plot: what each needs of the table, and of the words that were given."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from astro_cluster.cli.options import fail, value_of

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.table import QTable
    from matplotlib.artist import Artist

__all__ = ["AS_OPTIONS", "KINDS", "Kind"]


class Kind(StrEnum):
    """Figures, by the functions of `plotting` that draw them."""

    CLUSTERS = "clusters"
    SKY = "sky"
    TYPES = "types"
    ALLUVIAL = "alluvial"
    RELIABILITY = "reliability"
    CHOICE = "choice"
    RADIUS = "radius"
    THUMBNAILS = "thumbnails"
    SHEET = "sheet"
    RECONSTRUCTIONS = "reconstructions"
    REGION = "region"
    RECALL = "recall"
    LEARNING = "learning"
    CORNER = "corner"
    SPECTRA = "spectra"
    SPECTRA_SHEET = "spectra-sheet"
    TRAVERSAL = "traversal"
    DENSITY = "density"
    HISTOGRAM = "histogram"
    LEAKAGE = "leakage"
    TUNING = "tuning"


def draw_clusters(table: QTable, x: str | None = None, y: str | None = None, **options: Any) -> Artist:
    """Draw groups in two columns, as the options of `plot` say."""
    from astro_cluster.plotting import plot_clusters

    if x is None or y is None:
        fail("say which columns to draw: -x hard_hs -y hard_ms")
    return plot_clusters(table, x, y, **options)  # type: ignore[arg-type]


def draw_sky(table: QTable, **options: Any) -> Artist:
    """Draw groups on the sky, as the options of `plot` say."""
    from astro_cluster.plotting import plot_sky

    return plot_sky(table, **options)


def draw_types(
    table: QTable,
    by: str | None = None,
    cluster: str | None = None,
    level: int | None = None,
    top: int | None = None,
) -> Artist:
    """Draw the types of each group, as the options of `plot` say."""
    import astro_cluster as ac

    options = {"level": level} | ({} if top is None else {"top": top})
    if "fraction_of_cluster" in table.colnames:  # a summary already
        return ac.plotting.plot_types(table, by=by, **options)
    if by is None:
        fail("say which types to draw: --by main_type")
    return ac.plotting.plot_types(ac.summarize(table, cluster, by=by), **options)


def draw_alluvial(table: QTable, runs: list[str] | None = None) -> Artist:
    """Draw how rows go from group to group between runs, as the options of `plot` say."""
    from astro_cluster.plotting import plot_alluvial

    if runs is None and "run_a" not in table.colnames:
        fail("say which runs to draw, by their prefixes: --runs gmm6_,gmm8_")
    return plot_alluvial(table, runs)


def draw_reliability(
    table: QTable, by: str | None = None, prefix: str = "", seed: int | None = None
) -> Artist:
    """Draw how honest memberships are, as the options of `plot` say."""
    import astro_cluster as ac

    if by is None:
        fail("say which column has the types that are known: --by main_type")
    return ac.plotting.plot_reliability(ac.calibration(table, by, prefix=prefix, random_state=seed))


def draw_choice(table: QTable) -> Artist:
    """Draw the criteria for a number of groups, as the options of `plot` say."""
    from astro_cluster.plotting import plot_choice

    return plot_choice(table)


def draw_radius(table: QTable) -> Artist:
    """Draw what each radius of a match finds, as the options of `plot` say."""
    from astro_cluster.plotting import plot_radius

    return plot_radius(table)


# ---------------------------------------------------------------- of images


def _marks(table: QTable, label: str, value: str) -> Any:
    """Return what stands for a bad row: a text where the column has texts."""
    column = table[label] if label in table.colnames else None
    texts = getattr(getattr(column, "dtype", None), "kind", "O") in "USO"
    return value if texts else value_of(value)


def draw_thumbnails(
    table: QTable, x: str | None = None, y: str | None = None, by: str | None = None, **options: Any
) -> Artist:
    """Draw images at their place in a plane, as the options of `plot` say."""
    from astro_cluster.plotting import plot_thumbnails

    return plot_thumbnails(table, x, y, cluster=_groups(by, options), **options)


def draw_sheet(table: QTable, by: str | None = None, **options: Any) -> Artist:
    """Draw images of each group, as the options of `plot` say."""
    from astro_cluster.plotting import plot_contact_sheet

    return plot_contact_sheet(table, cluster=_groups(by, options), **options)


def _groups(by: str | None, options: dict[str, Any]) -> str | bool | None:
    if options.pop("ungrouped", False):
        return False
    return options.pop("cluster", None) or by


def draw_reconstructions(table: QTable, model: str | None = None, **options: Any) -> Artist:
    """Draw images over what an autoencoder makes of them, as the options of `plot` say."""
    from astro_cluster.plotting import plot_reconstructions

    if model is None:
        fail("say which autoencoder made the latents: --model ae.safetensors")
    return plot_reconstructions(table, model, **options)


def draw_region(
    table: QTable,
    x: str | None = None,
    y: str | None = None,
    label: str | None = None,
    value: str = "true",
    **options: Any,
) -> Artist:
    """Draw the clusters in which a label gathers, as the options of `plot` say."""
    from astro_cluster.plotting import plot_region

    if label is None:
        fail("say which column tells the bad rows: --label spurious")
    return plot_region(table, x, y, label=label, value=_marks(table, label, value), **options)  # type: ignore[arg-type]


def draw_recall(
    table: QTable,
    label: str | None = None,
    value: str = "true",
    score: str | None = None,
    cluster: str | None = None,
    threshold: float = 0.05,
    **options: Any,
) -> Artist:
    """Draw how many bad rows a ranking finds, as the options of `plot` say."""
    import astro_cluster as ac

    if "recall" in table.colnames and "inspected" in table.colnames:  # a curve already
        return ac.plotting.plot_recall(table, **options)
    if label is None:
        fail("say which column tells the bad rows: --label spurious")
    marks = _marks(table, label, value)  # type: ignore[arg-type]
    scores = [None] if score is None else [name.strip() for name in score.split(",")]
    curves = [ac.recall_curve(table, label, score=name, value=marks) for name in scores]
    named = {str(curve.meta["score"]): curve for curve in curves}
    region = None
    if cluster is not None:
        region = {cluster: ac.inspect(table, cluster, label=label, value=marks, threshold=threshold)}
    return ac.plotting.plot_recall(named, region=region, **options)


def draw_learning(table: QTable, model: Path | None = None) -> Artist:
    """Draw the loss against the epoch, as the options of `plot` say."""
    from astro_cluster.plotting import plot_learning_curve

    if model is None:
        return plot_learning_curve(table)
    from astro_cluster.embedding import load_model

    return plot_learning_curve(load_model(model))


# ---------------------------------------------------------------- of spectra


def draw_corner(table: QTable, corner: str = "latent", **options: Any) -> Artist:
    """Draw every pair of the numbers of columns, as the options of `plot` say."""
    from astro_cluster.plotting import plot_corner

    return plot_corner(table, [name.strip() for name in corner.split(",")], **options)


def draw_spectra(table: QTable, **options: Any) -> Artist:
    """Draw spectra and their reconstructions, as the options of `plot` say."""
    from astro_cluster.plotting import plot_spectra

    return plot_spectra(table, **_of_spectra(options))


def draw_spectra_sheet(table: QTable, **options: Any) -> Artist:
    """Draw many small spectra, as the options of `plot` say."""
    from astro_cluster.plotting import plot_spectra_sheet

    return plot_spectra_sheet(table, **_of_spectra(options))


def _of_spectra(options: dict[str, Any]) -> dict[str, Any]:
    if "model" in options and "reconstruction" in options:
        fail("--model makes the reconstructions, and --reconstruction names their column; give one of them")
    if "model" in options:
        options["reconstruction"] = options.pop("model")
    elif options.get("reconstruction") == "none":
        options["reconstruction"] = False
    return options


def draw_traversal(
    table: QTable, model: str | None = None, redshift: str | None = None, **options: Any
) -> Artist:
    """Draw what each latent changes, as the options of `plot` say."""
    from astro_cluster.plotting import plot_traversal

    if model is None:
        fail("say which model made the latents: --model tuned/best.safetensors")
    if redshift is not None:
        options["redshift"] = value_of(redshift)
        if not isinstance(options["redshift"], int | float):
            fail(f"--redshift {redshift} is no number, which the figure traversal takes")
    return plot_traversal(model, table, **options)


def draw_density(table: QTable, x: str | None = None, y: str | None = None, **options: Any) -> Artist:
    """Draw how many rows lie where in two columns, as the options of `plot` say."""
    from astro_cluster.plotting import plot_density

    if x is None or y is None:
        fail("say which columns to draw: -x Z -y reconstruction_chi2")
    return plot_density(table, x, y, **options)  # type: ignore[arg-type]


def draw_histogram(table: QTable, x: str | None = None, xscale: str | None = None, **options: Any) -> Artist:
    """Draw how many rows have which value, as the options of `plot` say."""
    from astro_cluster.plotting import plot_histogram

    if x is None:
        fail("say which column to draw: -x Z")
    return plot_histogram(table, x, scale=xscale, **options)  # type: ignore[arg-type]


def draw_leakage(table: QTable, x: str = "redshift", seed: int = 0, **options: Any) -> Artist:
    """Draw what latents know of a column, as the options of `plot` say."""
    from astro_cluster.plotting import plot_leakage

    return plot_leakage(table, x, random_state=seed, **options)


def draw_tuning(table: QTable) -> Artist:
    """Draw the errors of models of several sizes, as the options of `plot` say."""
    from astro_cluster.plotting import plot_tuning

    return plot_tuning(table)


_LOOK = ("column", "stretch", "colour_map", "origin")
_GROUPS = ("cluster", "by", "ungrouped")
_SPECTRA = ("n", "rows", "reconstruction", "model", "labels", "redshift", "lines")

# The options that each takes, by the words of Python.
KINDS: dict[Kind, tuple[Callable[..., Any], tuple[str, ...]]] = {
    Kind.CLUSTERS: (draw_clusters, ("x", "y", "xscale", "yscale", "cluster")),
    Kind.SKY: (draw_sky, ("cluster", "position")),
    Kind.TYPES: (draw_types, ("by", "level", "cluster", "top")),
    Kind.ALLUVIAL: (draw_alluvial, ("runs",)),
    Kind.RELIABILITY: (draw_reliability, ("by", "prefix", "seed")),
    Kind.CHOICE: (draw_choice, ()),
    Kind.RADIUS: (draw_radius, ()),
    Kind.THUMBNAILS: (
        draw_thumbnails,
        ("x", "y", *_GROUPS, "width", "max_images", "overlap", *_LOOK),
    ),
    Kind.SHEET: (draw_sheet, (*_GROUPS, "per_cluster", "columns", "order", "labels", *_LOOK)),
    Kind.RECONSTRUCTIONS: (draw_reconstructions, ("model", "n", "rows", "residuals", *_LOOK)),
    Kind.REGION: (draw_region, ("x", "y", "cluster", "label", "value", "threshold")),
    Kind.RECALL: (draw_recall, ("label", "value", "score", "cluster", "threshold", "fraction", "upto")),
    Kind.LEARNING: (draw_learning, ("model",)),
    Kind.CORNER: (draw_corner, ("corner", "color", "contours", "log_color", "colour_map")),
    Kind.SPECTRA: (draw_spectra, (*_SPECTRA, "columns")),
    Kind.SPECTRA_SHEET: (draw_spectra_sheet, (*_SPECTRA, "columns", "order")),
    Kind.TRAVERSAL: (
        draw_traversal,
        ("model", "features", "latents", "n", "percentiles", "redshift", "lines", "colour_map"),
    ),
    Kind.DENSITY: (draw_density, ("x", "y", "xscale", "yscale", "missing", "colour_map")),
    Kind.HISTOGRAM: (draw_histogram, ("x", "xscale", "bins", "missing")),
    Kind.LEAKAGE: (draw_leakage, ("x", "features", "missing", "seed")),
    Kind.TUNING: (draw_tuning, ()),
}
AS_OPTIONS = tuple(list(Kind)[7:])
"""Those that are also options: ``--thumbnails`` is the kind ``thumbnails``."""
