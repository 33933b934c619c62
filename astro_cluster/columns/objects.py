"""Columns of a table of objects: groups, coordinates, counterparts, types."""

from __future__ import annotations

from astro_cluster.columns.spec import RATIO, ColumnSpec

__all__ = ["OBJECTS"]

OBJECTS: dict[str, ColumnSpec] = {
    # Rows: groups, coordinates, counterparts
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
    "spectrum_error": ColumnSpec(
        "reconstruction_error",
        "stat.fit.residual;meta.modelled",
        "Mean squared error of a pixel of the normalised spectrum as {method} makes it",
        form=".4g",
    ),
    "reconstruction_chi2": ColumnSpec(
        "reconstruction_chi2",
        "stat.fit.chi2;meta.modelled",
        "Chi squared, for each pixel that counts, of the spectrum as {method} makes it",
        form=".4g",
    ),
    "reconstruction": ColumnSpec(
        "reconstruction", "phot.flux.density;meta.modelled", "Spectrum as {method} makes it"
    ),
    "image_reconstruction": ColumnSpec(
        "reconstruction", "phot.flux;instr.pixel", "Image as {method} makes it"
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
        "false_fraction", RATIO, "Share of the matched rows that is there by chance", form=".4f"
    ),
    "false": ColumnSpec(
        "false", "meta.number;stat.mean", "Rows whose nearest counterpart is there by chance", form=".1f"
    ),
    "true": ColumnSpec("true", "meta.number;stat.mean", "Matched rows less the false ones", form=".1f"),
    "completeness": ColumnSpec("completeness", RATIO, "true over the most true of any radius", form=".4f"),
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
        "inspected_fraction", RATIO, "Share of rows inspected", form=".4f"
    ),
    "recall_of_order": ColumnSpec("recall", RATIO, "Share of the bad rows that is found", form=".4f"),
    "precision_of_order": ColumnSpec("precision", RATIO, "Share of bad among the rows inspected", form=".4f"),
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
    # A mixture as a table
    "component": ColumnSpec("component", "meta.number", "Number of the cluster"),
    "weight": ColumnSpec("weight", "stat.weight", "Mixing weight"),
    "mean": ColumnSpec("mean", "stat.param;stat.mean", "Mean in scaled features: {features}"),
    "covariance": ColumnSpec("covariance", "stat.covariance", "Covariance in scaled features: {features}"),
}
