"""The one registry of the columns that the package adds to a table.

A step never writes a unit, a UCD or a description of its own: it names an entry of
`REGISTRY` and calls `add_column`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from astro_cluster.exceptions import InputError, did_you_mean

__all__ = [
    "REGISTRY",
    "ColumnSpec",
    "add_column",
    "check_free",
    "column_name",
    "require",
    "ucd_of",
    "with_info",
]


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What a column of ours is called and means.

    Parameters
    ----------
    pattern : str
        Name of the column; ``{index}`` stands for a running number.
    ucd : str
        An IVOA UCD1+ that ``astropy.io.votable.ucd.check_ucd`` accepts.
    description : str
        One sentence; words in braces are filled in by `add_column`.
    unit : str, optional
        Unit in which the column is stored.
    form : str, optional
        How its values are shown.
    """

    pattern: str
    ucd: str
    description: str
    unit: str | None = None
    form: str | None = None


_RATIO = "meta.number;arith.ratio"

REGISTRY: dict[str, ColumnSpec] = {
    "source_file": ColumnSpec("source_file", "meta.id;meta.file", "File that the row was read from"),
    "cluster": ColumnSpec("cluster", "meta.code.class", "Cluster label by {method}; -1 is noise"),
    "prob": ColumnSpec(
        "prob_{index}", "stat.probability", "Probability of membership in cluster {index}", form=".4g"
    ),
    "prob_max": ColumnSpec(
        "prob_max",
        "stat.probability;stat.max",
        "Probability of membership in the row's own cluster",
        form=".4f",
    ),
    "entropy": ColumnSpec(
        "entropy",
        "stat.param",
        "Shannon entropy of the probabilities of membership over its maximum; 0 is certain, 1 undecided",
        form=".4f",
    ),
    "log_density": ColumnSpec(
        "log_density",
        "stat.likelihood;meta.modelled",
        "Natural log of the modelled density of the row's observed features, in scaled feature units",
        form=".4f",
    ),
    "outlier": ColumnSpec(
        "outlier",
        "stat.probability",
        "Probability that a draw from the mixture is at most as dense as this row; small means outlier",
        form=".4g",
    ),
    "prob_spread": ColumnSpec(
        "prob_{index}_spread",
        "stat.stdev;stat.probability",
        "Standard deviation of prob_{index} over {number} fits to bootstrap samples",
        form=".4f",
    ),
    "co_assignment": ColumnSpec(
        "co_assignment",
        "stat.probability;stat.mean",
        "Share of {number} bootstrap fits that keep the row and another of its cluster together, mean over "
        "these others",
        form=".4f",
    ),
    "tsne": ColumnSpec("tsne_{index}", "stat.param;meta.modelled", "t-SNE coordinate {index}"),
    "latent": ColumnSpec("latent", "stat.param;meta.modelled", "Latent coordinates by {method}"),
    "pca": ColumnSpec("pca", "stat.param;meta.modelled", "Coordinates along the principal components"),
    "embedding": ColumnSpec("embedding", "stat.param;meta.modelled", "Coordinates by {method}"),
    "reconstruction_error": ColumnSpec(
        "reconstruction_error",
        "stat.fit.residual;meta.modelled",
        "Mean squared error of a pixel of the image as {method} makes it from its latent coordinates",
        form=".4g",
    ),
    "match_separation": ColumnSpec(
        "match_separation",
        "pos.angDistance",
        "Angular separation from the matched object in {reference}",
        "arcsec",
        form=".4f",
    ),
    "match_p_false": ColumnSpec(
        "match_p_false",
        "stat.probability",
        "Probability that the matched object in {reference} is there by chance",
        form=".4g",
    ),
    "match_p": ColumnSpec(
        "match_p",
        "stat.probability",
        "Probability that the matched object in {reference} is the counterpart",
        form=".4g",
    ),
    "match_p_none": ColumnSpec(
        "match_p_none",
        "stat.probability",
        "Probability that no object in {reference} is the counterpart",
        form=".4g",
    ),
    "radius": ColumnSpec("radius", "pos.angDistance;stat.max", "Largest separation", "arcsec", form=".4g"),
    "matched": ColumnSpec("matched", "meta.number", "Rows with a counterpart within the radius"),
    "false_by_shift": ColumnSpec(
        "false_by_shift",
        "meta.number;stat.mean",
        "The same, from moved positions",
        form=".1f",
    ),
    "false_by_density": ColumnSpec(
        "false_by_density", "meta.number;stat.mean", "The same, from the local density alone", form=".1f"
    ),
    "false_spread": ColumnSpec("false_spread", "stat.stdev", "Poisson scatter of the false ones", form=".1f"),
    "false_fraction": ColumnSpec(
        "false_fraction", _RATIO, "Share of the matched rows that is there by chance", form=".4f"
    ),
    "false": ColumnSpec(
        "false", "meta.number;stat.mean", "Rows whose nearest counterpart is there by chance", form=".1f"
    ),
    "true": ColumnSpec("true", "meta.number;stat.mean", "Matched rows less the false ones", form=".1f"),
    "completeness": ColumnSpec("completeness", _RATIO, "true over the most true of any radius", form=".4f"),
    # Summaries of clusters
    "cluster_of": ColumnSpec("cluster", "meta.code.class", "Cluster label of {column}"),
    "type": ColumnSpec("type", "src.class", "Type from the column {column}"),
    "count": ColumnSpec("count", "meta.number", "Number of rows"),
    "fraction": ColumnSpec("fraction", _RATIO, "Share of all rows", form=".4f"),
    "fraction_of_cluster": ColumnSpec(
        "fraction_of_cluster", _RATIO, "Share of the cluster's rows", form=".4f"
    ),
    "fraction_of_type": ColumnSpec("fraction_of_type", _RATIO, "Share of the type's rows", form=".4f"),
    "mean_prob": ColumnSpec(
        "mean_prob_{index}", "stat.probability;stat.mean", "Mean of {column}", form=".6g"
    ),
    "enrichment": ColumnSpec(
        "enrichment", _RATIO, "Share of the cluster over share of the whole sample", form=".3f"
    ),
    "p_value": ColumnSpec(
        "p_value", "stat.probability", "Hypergeometric chance of as many or more", form=".3g"
    ),
    "fdr": ColumnSpec(
        "fdr", "stat.probability", "p_value adjusted for all pairs (Benjamini-Hochberg)", form=".3g"
    ),
    "good": ColumnSpec("good", "meta.number", "Rows without {value} in {column}"),
    "bad": ColumnSpec("bad", "meta.number", "Rows with {value} in {column}"),
    "bad_of_reason": ColumnSpec("bad_{index}", "meta.number", "Bad rows with {value} in {column}"),
    "size": ColumnSpec("size", "meta.number", "Rows with a label"),
    "bad_fraction": ColumnSpec("bad_fraction", _RATIO, "Share of bad rows", form=".4f"),
    "in_region": ColumnSpec("in_region", "meta.code.qual", "Share of bad rows at least {threshold}"),
    "inspected_fraction": ColumnSpec(
        "inspected_fraction", _RATIO, "Share of rows in this cluster and all above", form=".4f"
    ),
    "recall": ColumnSpec("recall", _RATIO, "Share of the bad rows in this cluster and all above", form=".4f"),
    "precision": ColumnSpec(
        "precision", _RATIO, "Share of bad among the rows of this cluster and all above", form=".4f"
    ),
    "lift": ColumnSpec("lift", _RATIO, "Precision over the share of bad rows in the sample", form=".3f"),
    # Artefacts
    "outlier_score": ColumnSpec(
        "outlier_score",
        "stat.param",
        "-log10 of the mean share of ordinary rows that are as unusual; 2 is one in a hundred",
        form=".3f",
    ),
    "inspection_rank": ColumnSpec(
        "inspection_rank", "stat.rank", "Order in which to look at the rows; 1 is the first"
    ),
    "outlier_reason": ColumnSpec(
        "outlier_reason", "meta.note", "In what the row is the most unusual: a column, or the density"
    ),
    "suggestion": ColumnSpec(
        "suggestion",
        "stat.rank",
        "Order in which to look at the {number} most useful rows, {how}; 1 is the first",
    ),
    "prob_label": ColumnSpec(
        "prob_{index}",
        "stat.probability;meta.modelled",
        "Probability of {label}, learnt from {number} labels",
        form=".4f",
    ),
    "inspected": ColumnSpec("inspected", "meta.number", "Rows inspected, in the order of {column}"),
    "found": ColumnSpec("found", "meta.number", "Rows with {value} in {column} among them"),
    "inspected_fraction_of_order": ColumnSpec(
        "inspected_fraction", _RATIO, "Share of rows inspected", form=".4f"
    ),
    "recall_of_order": ColumnSpec("recall", _RATIO, "Share of the bad rows that is found", form=".4f"),
    "precision_of_order": ColumnSpec(
        "precision", _RATIO, "Share of bad among the rows inspected", form=".4f"
    ),
    # Numbers of clusters compared
    "n_tried": ColumnSpec("n", "meta.number", "Number of clusters looked for"),
    "log_likelihood": ColumnSpec(
        "log_likelihood",
        "stat.likelihood;meta.modelled",
        "Natural log of the likelihood of all rows, in scaled feature units",
        form=".3f",
    ),
    "mean_log_likelihood": ColumnSpec(
        "mean_log_likelihood",
        "stat.likelihood;stat.mean",
        "log_likelihood over the rows",
        form=".4f",
    ),
    "n_parameters": ColumnSpec("n_parameters", "meta.number", "Number of free parameters"),
    "bic": ColumnSpec(
        "bic", "stat.fit.goodness", "Bayesian information criterion; lower is better", form=".3f"
    ),
    "icl": ColumnSpec(
        "icl",
        "stat.fit.goodness",
        "bic plus twice the entropy of membership; lower is better",
        form=".3f",
    ),
    "aic": ColumnSpec(
        "aic", "stat.fit.goodness", "Akaike information criterion; lower is better", form=".3f"
    ),
    "silhouette": ColumnSpec(
        "silhouette", "stat.fit.goodness", "Mean silhouette of a sample of rows; higher is better", form=".4f"
    ),
    "held_out_log_likelihood": ColumnSpec(
        "held_out_log_likelihood",
        "stat.likelihood;stat.mean",
        "Mean log-likelihood of a row that was not fitted; higher is better",
        form=".4f",
    ),
    "held_out_error": ColumnSpec(
        "held_out_error",
        "stat.error",
        "Standard error of the difference of held_out_log_likelihood from the best one",
        form=".4f",
    ),
    "jaccard": ColumnSpec(
        "jaccard", _RATIO, "Jaccard similarity of each cluster, mean over bootstrap samples", form=".3f"
    ),
    "jaccard_min": ColumnSpec("jaccard_min", _RATIO, "Least of jaccard", form=".3f"),
    "jaccard_mean": ColumnSpec("jaccard_mean", _RATIO, "Mean of jaccard over the clusters", form=".3f"),
    "n_valid": ColumnSpec("n_valid", "meta.number", "Clusters with a jaccard of 0.75 or more"),
    "n_distrusted": ColumnSpec("n_distrusted", "meta.number", "Clusters with a jaccard below 0.6"),
    "smallest_cluster": ColumnSpec(
        "smallest_cluster", "meta.number;stat.min", "Size of the smallest cluster"
    ),
    "converged": ColumnSpec("converged", "meta.code.qual", "Whether the fit converged"),
    "cluster_size": ColumnSpec("size", "meta.number", "Rows in the cluster"),
    "jaccard_of_cluster": ColumnSpec(
        "jaccard",
        _RATIO,
        "Jaccard similarity of the cluster, mean over bootstrap samples",
        form=".3f",
    ),
    "jaccard_spread": ColumnSpec(
        "spread", "stat.stdev", "Standard deviation of jaccard over bootstrap samples", form=".3f"
    ),
    "verdict": ColumnSpec("verdict", "meta.code.qual", "valid from a jaccard of 0.75, distrusted below 0.6"),
    # Runs compared
    "run_a": ColumnSpec("run_a", "meta.id", "The first run: prefix or column of its labels"),
    "cluster_a": ColumnSpec("cluster_a", "meta.code.class", "Cluster label of run_a; -1 is noise"),
    "run_b": ColumnSpec("run_b", "meta.id", "The second run: prefix or column of its labels"),
    "cluster_b": ColumnSpec("cluster_b", "meta.code.class", "Cluster label of run_b; -1 is noise"),
    "flow": ColumnSpec("count", "meta.number", "Rows that are in both clusters"),
    "fraction_of_a": ColumnSpec("fraction_of_a", _RATIO, "Share of the rows of cluster_a", form=".4f"),
    "fraction_of_b": ColumnSpec("fraction_of_b", _RATIO, "Share of the rows of cluster_b", form=".4f"),
    "jaccard_of_flow": ColumnSpec(
        "jaccard", _RATIO, "Rows in both clusters over rows in either of them", form=".3f"
    ),
    "ari": ColumnSpec("ari", "stat.correlation", "Adjusted Rand index of run_a and run_b", form=".4f"),
    "nmi": ColumnSpec(
        "nmi", "stat.correlation", "Normalized mutual information of run_a and run_b", form=".4f"
    ),
    # Types from memberships
    "type_label": ColumnSpec(
        "type_label", "src.class", "Likeliest type by the memberships, of the types in {column}"
    ),
    "type_prob": ColumnSpec(
        "type_prob",
        "stat.probability;stat.max",
        "Probability of type_label, calibrated ({method}) on the types in {column}",
        form=".4f",
    ),
    "type_prob_each": ColumnSpec(
        "type_prob_{index}", "stat.probability", "Calibrated probability of the type {type}", form=".4g"
    ),
    "bin_lower": ColumnSpec("lower", "stat.probability;stat.min", "Lower edge of the bin", form=".4g"),
    "bin_upper": ColumnSpec(
        "upper", "stat.probability;stat.max", "Upper edge of the bin, which belongs to it", form=".4g"
    ),
    "mean_confidence": ColumnSpec(
        "mean_confidence",
        "stat.probability;stat.mean",
        "Mean probability of the likeliest type, of the rows in the bin",
        form=".4f",
    ),
    "accuracy": ColumnSpec("accuracy", _RATIO, "Share of the rows whose type is the likeliest", form=".4f"),
    "accuracy_lower": ColumnSpec(
        "accuracy_lower", _RATIO, "Lower end of the 95 % interval of accuracy (Wilson)", form=".4f"
    ),
    "accuracy_upper": ColumnSpec(
        "accuracy_upper", _RATIO, "Upper end of the 95 % interval of accuracy (Wilson)", form=".4f"
    ),
    # Types of objects
    "otype": ColumnSpec("otype", "src.class", "Code of the type in SIMBAD"),
    "otype_label": ColumnSpec("label", "src.class", "Name of the type"),
    "otype_candidate": ColumnSpec(
        "candidate", "src.class", "Code for objects that are only suspected to be of the type"
    ),
    "otype_level": ColumnSpec("level", "meta.number", "Level in the hierarchy; 0 is the widest types"),
    "otype_parent": ColumnSpec("parent", "src.class", "Code of the type that holds it"),
    "otype_path": ColumnSpec(
        "path", "meta.note", "Codes of the types that hold it and its own, the widest first"
    ),
    "otype_description": ColumnSpec("description", "meta.note", "The type in words"),
    # Images
    "member": ColumnSpec("member", "meta.id.part;meta.file", "Name of the image in the archive source_file"),
    "image_identifier": ColumnSpec("identifier", "meta.id", "From the names of the files by {pattern}"),
    "image_header": ColumnSpec("header", "meta.note", "Key {word} of the headers of the images"),
    "original_height": ColumnSpec(
        "original_height", "meta.number;instr.pixel", "Height of the image in its file, in pixels"
    ),
    "original_width": ColumnSpec(
        "original_width", "meta.number;instr.pixel", "Width of the image in its file, in pixels"
    ),
    "image_bad": ColumnSpec("image_bad", "meta.code.qual", "Whether the image could not be read"),
    "image": ColumnSpec("image", "phot.flux;instr.pixel", "Pixels of the image, {how}"),
    # Quality of images
    "zero_fraction": ColumnSpec(
        "zero_fraction", _RATIO, "Share of the pixels of the image that are exactly 0", form=".4f"
    ),
    "nan_fraction": ColumnSpec(
        "nan_fraction", _RATIO, "Share of the pixels of the image that are not finite", form=".4f"
    ),
    "saturated_fraction": ColumnSpec(
        "saturated_fraction", _RATIO, "Share of the pixels of the image that are saturated", form=".4f"
    ),
    "edge_asymmetry": ColumnSpec(
        "edge_asymmetry",
        "stat.param",
        "Whether a part of the border is rougher than the part opposite: 1 where an edge cuts the image",
        form=".4f",
    ),
    "peak_offset": ColumnSpec(
        "peak_offset",
        "stat.param",
        "Distance of the brightest place from the middle over half the smaller side",
        form=".4f",
    ),
    "spike_power": ColumnSpec(
        "spike_power",
        "stat.param",
        "Share of the azimuthal power that is 4-, 6- or 8-fold at the same angles at all radii",
        form=".4f",
    ),
    "concentration": ColumnSpec(
        "concentration", "src.morph.param", "5 log10(r80 / r20) around the middle of the image", form=".4f"
    ),
    "flat_fraction": ColumnSpec(
        "flat_fraction", _RATIO, "Share of the pixels that are equal to all eight around them", form=".4f"
    ),
    "image_partial": ColumnSpec(
        "image_partial", "meta.code.qual", "Whether a part of the stamp lies outside of {image}"
    ),
    "image_coverage": ColumnSpec(
        "image_coverage", _RATIO, "Share of the pixels of the stamp that {image} has", form=".4f"
    ),
    "n_sources": ColumnSpec("n_sources", "meta.number;src", "Sources detected in the image"),
    "neighbour_distance": ColumnSpec(
        "neighbour_distance",
        "pos.angDistance;instr.pixel",
        "Distance of the brightest other source from the one in the middle",
        "pix",
        form=".2f",
    ),
    "neighbour_ratio": ColumnSpec(
        "neighbour_ratio",
        _RATIO,
        "Flux of the brightest other source over that of the middle one",
        form=".4g",
    ),
    # A mixture as a table
    "component": ColumnSpec("component", "meta.number", "Number of the cluster"),
    "weight": ColumnSpec("weight", "stat.weight", "Mixing weight"),
    "mean": ColumnSpec("mean", "stat.param;stat.mean", "Mean in scaled features: {features}"),
    "covariance": ColumnSpec("covariance", "stat.covariance", "Covariance in scaled features: {features}"),
}


def column_name(key: str, *, prefix: str = "", index: int | None = None) -> str:
    """Return the name of a registered column.

    Parameters
    ----------
    key : str
        Entry of `REGISTRY`.
    prefix : str, optional
        Put before the name, so that several runs stand side by side in one table.
    index : int, optional
        Running number, for patterns that have one.

    Returns
    -------
    str

    Examples
    --------
    >>> column_name("prob", prefix="gmm6_", index=2)
    'gmm6_prob_2'
    """
    return prefix + REGISTRY[key].pattern.format(index=index)


def require(table: Table, names: str | Iterable[str]) -> list[str]:
    """Return the names as a list, or say which are not columns of the table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table that should have the columns.
    names : str or iterable of str
        Wanted columns.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If a name is not a column; the message gives the nearest names.

    Examples
    --------
    >>> require(QTable({"ra": [1.0], "dec": [2.0]}), ["ra", "dec"])
    ['ra', 'dec']
    """
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name in table.colnames:
            continue
        shown = ", ".join(table.colnames[:40]) + (", …" if len(table.colnames) > 40 else "")
        raise InputError(
            f"there is no column {name!r}{did_you_mean(name, table.colnames)} The columns are: {shown}"
        )
    return names


def check_free(table: Table, names: Sequence[str], *, overwrite: bool = False) -> None:
    """Make sure, before the slow part of a step, that its columns can be added.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table that the columns go to.
    names : sequence of str
        Names of the columns to come.
    overwrite : bool, optional
        Whether columns of the same name may be replaced.

    Raises
    ------
    InputError
        If a name is taken and ``overwrite`` is false.

    Examples
    --------
    >>> check_free(QTable({"ra": [1.0]}), ["cluster"])
    """
    taken = [name for name in names if name in table.colnames]
    if taken and not overwrite:
        raise InputError(
            f"the table already has the column{'s' if len(taken) > 1 else ''} {', '.join(taken)}: "
            "give another prefix (prefix='gmm6_', on the command line --prefix) "
            "or allow their replacement (overwrite=True, --overwrite-columns)"
        )


def add_column(
    table: QTable,
    key: str,
    data: Any,
    *,
    prefix: str = "",
    index: int | None = None,
    mask: np.ndarray | None = None,
    name: str | None = None,
    **words: str,
) -> str:
    """Add one registered column to the end of a table, in place.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows that gets the column; one of the same name is replaced.
    key : str
        Entry of `REGISTRY`.
    data : (n, …) array or `~astropy.units.Quantity`
        Values; a Quantity is converted to the registered unit, a plain array is in it.
    prefix, index : optional
        As in `column_name`.
    mask : (n,) array of bool, optional
        Rows that the step could not use.
    name : str, optional
        Name to use instead of the registered pattern.
    **words : str
        Fill the words in braces of the description.

    Returns
    -------
    str
        Name of the column.

    Examples
    --------
    >>> t = QTable({"ra": [1.0, 2.0]})
    >>> add_column(t, "cluster", [0, 1], mask=np.array([False, True]), method="KMeans")
    'cluster'
    >>> t["cluster"].info.meta["ucd"]
    'meta.code.class'
    """
    spec = REGISTRY[key]
    name = name or column_name(key, prefix=prefix, index=index)
    description = spec.description.format(index=index, **words)
    if mask is None:
        mask = np.array(getattr(data, "mask", False))
    masked = bool(np.any(mask))
    if spec.unit is not None:
        column = u.Quantity(getattr(data, "unmasked", data), spec.unit)
        if masked:
            column = Masked(column, mask=mask)
    else:
        values = np.ma.getdata(np.asarray(getattr(data, "unmasked", data)))
        if masked:
            if mask.ndim == 1:
                mask = np.reshape(mask, (-1, *[1] * (values.ndim - 1)))
            full = np.broadcast_to(mask, values.shape)
            column = MaskedColumn(values, mask=full)
        else:
            column = Column(values)
    if name in table.colnames:
        table.remove_column(name)
    # A stack of images fills the memory: there is no room for it twice.
    table.add_column(column, name=name, copy=column.ndim < 3)
    table[name].info.description = description
    table[name].info.meta = {"ucd": spec.ucd}
    table[name].info.format = spec.form
    return name


def ucd_of(table: Table, name: str) -> str:
    """Return the UCD of a column, in lower case; empty if it has none.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    name : str
        One of its columns.

    Returns
    -------
    str

    Examples
    --------
    >>> ucd_of(QTable({"ra": [1.0]}), "ra")
    ''
    """
    return str((table[name].info.meta or {}).get("ucd", "")).lower()


def with_info(column: Any, like: Any) -> Any:
    """Give a column the description, metadata (UCD) and format of another.

    Parameters
    ----------
    column : `~astropy.table.Column`, `~astropy.units.Quantity` or a mixin
        Column that is changed in place.
    like : the same
        Where they are taken from.

    Returns
    -------
    object
        The changed column.

    Examples
    --------
    >>> with_info(Column([1]), Column([2.0], description="a number")).description
    'a number'
    """
    for attribute in ("description", "meta", "format"):
        setattr(column.info, attribute, getattr(like.info, attribute))
    return column
