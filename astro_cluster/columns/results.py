"""Columns of the tables that tell results: counts, criteria, comparisons, trials."""

from __future__ import annotations

from astro_cluster.columns.spec import RATIO, ColumnSpec

__all__ = ["RESULTS"]

RESULTS: dict[str, ColumnSpec] = {
    # Summaries of clusters
    "cluster_of": ColumnSpec("cluster", "meta.code.class", "Cluster label of {column}"),
    "type": ColumnSpec("type", "src.class", "Type from the column {column}"),
    "count": ColumnSpec("count", "meta.number", "Number of rows"),
    "fraction": ColumnSpec("fraction", RATIO, "Share of all rows", form=".4f"),
    "fraction_of_cluster": ColumnSpec(
        "fraction_of_cluster", RATIO, "Share of the cluster's rows", form=".4f"
    ),
    "fraction_of_type": ColumnSpec("fraction_of_type", RATIO, "Share of the type's rows", form=".4f"),
    "mean_prob": ColumnSpec(
        "mean_prob_{index}", "stat.probability;stat.mean", "Mean of {column}", form=".6g"
    ),
    "enrichment": ColumnSpec(
        "enrichment", RATIO, "Share of the cluster over share of the whole sample", form=".3f"
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
    "bad_fraction": ColumnSpec("bad_fraction", RATIO, "Share of bad rows", form=".4f"),
    "in_region": ColumnSpec("in_region", "meta.code.qual", "Share of bad rows at least {threshold}"),
    "inspected_fraction": ColumnSpec(
        "inspected_fraction", RATIO, "Share of rows in this cluster and all above", form=".4f"
    ),
    "recall": ColumnSpec("recall", RATIO, "Share of the bad rows in this cluster and all above", form=".4f"),
    "precision": ColumnSpec(
        "precision", RATIO, "Share of bad among the rows of this cluster and all above", form=".4f"
    ),
    "lift": ColumnSpec("lift", RATIO, "Precision over the share of bad rows in the sample", form=".3f"),
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
        "jaccard", RATIO, "Jaccard similarity of each cluster, mean over bootstrap samples", form=".3f"
    ),
    "jaccard_min": ColumnSpec("jaccard_min", RATIO, "Least of jaccard", form=".3f"),
    "jaccard_mean": ColumnSpec("jaccard_mean", RATIO, "Mean of jaccard over the clusters", form=".3f"),
    "n_valid": ColumnSpec("n_valid", "meta.number", "Clusters with a jaccard of 0.75 or more"),
    "n_distrusted": ColumnSpec("n_distrusted", "meta.number", "Clusters with a jaccard below 0.6"),
    "smallest_cluster": ColumnSpec(
        "smallest_cluster", "meta.number;stat.min", "Size of the smallest cluster"
    ),
    "converged": ColumnSpec("converged", "meta.code.qual", "Whether the fit converged"),
    "cluster_size": ColumnSpec("size", "meta.number", "Rows in the cluster"),
    "jaccard_of_cluster": ColumnSpec(
        "jaccard",
        RATIO,
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
    "fraction_of_a": ColumnSpec("fraction_of_a", RATIO, "Share of the rows of cluster_a", form=".4f"),
    "fraction_of_b": ColumnSpec("fraction_of_b", RATIO, "Share of the rows of cluster_b", form=".4f"),
    "jaccard_of_flow": ColumnSpec(
        "jaccard", RATIO, "Rows in both clusters over rows in either of them", form=".3f"
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
    "accuracy": ColumnSpec("accuracy", RATIO, "Share of the rows whose type is the likeliest", form=".4f"),
    "accuracy_lower": ColumnSpec(
        "accuracy_lower", RATIO, "Lower end of the 95 % interval of accuracy (Wilson)", form=".4f"
    ),
    "accuracy_upper": ColumnSpec(
        "accuracy_upper", RATIO, "Upper end of the 95 % interval of accuracy (Wilson)", form=".4f"
    ),
    # Coordinates against the columns of a catalogue
    "related_column": ColumnSpec("column", "meta.id", "Column of the catalogue"),
    "related_kind": ColumnSpec("kind", "meta.note", "Whether it is taken as a number or as a class"),
    "related_count": ColumnSpec("count", "meta.number", "Rows used, without repeats of an object"),
    "related_objects": ColumnSpec("count", "meta.number", "Objects used"),
    "related_left_out": ColumnSpec("left_out", "meta.number", "Rows without a value or without features"),
    "n_neighbors": ColumnSpec("n_neighbors", "meta.number", "Number of neighbours, median over the folds"),
    "r2": ColumnSpec(
        "r2",
        "stat.fit.goodness",
        "Share of the variance that is predicted for rows not learnt from; 0 for their mean",
        form=".3f",
    ),
    "r2_error": ColumnSpec("r2_error", "stat.error", "Standard error of r2", form=".3f"),
    "mean_absolute_error": ColumnSpec(
        "mean_absolute_error",
        "stat.fit.residual;stat.mean",
        "Mean absolute error of the prediction, in unit",
        form=".4g",
    ),
    "median_absolute_error": ColumnSpec(
        "baseline_error",
        "stat.fit.residual;stat.mean",
        "Mean absolute error of one who always predicts the median, in unit",
        form=".4g",
    ),
    "related_unit": ColumnSpec("unit", "meta.unit", "Unit of the column and of its errors"),
    "nmad": ColumnSpec(
        "nmad",
        "stat.fit.residual;stat.median",
        "Of a redshift: 1.4826 times the median of |dz - median dz| / (1 + z)",
        form=".4g",
    ),
    "balanced_accuracy": ColumnSpec(
        "balanced_accuracy", RATIO, "Share of each class that is recognised, mean over classes", form=".3f"
    ),
    "balanced_accuracy_error": ColumnSpec(
        "balanced_accuracy_error", "stat.error", "Standard error of balanced_accuracy", form=".3f"
    ),
    "baseline_accuracy": ColumnSpec(
        "baseline_accuracy", RATIO, "balanced_accuracy of one who guesses: one over the classes", form=".3f"
    ),
    "roc_auc": ColumnSpec(
        "roc_auc",
        "stat.fit.goodness",
        "Area under the ROC curve, mean over classes; 0.5 for one who guesses",
        form=".3f",
    ),
    "roc_auc_error": ColumnSpec("roc_auc_error", "stat.error", "Standard error of roc_auc", form=".3f"),
    "related_against": ColumnSpec(
        "against", "meta.id", "Column that it is correlated with, or its component"
    ),
    "rho": ColumnSpec("rho", "stat.correlation", "Spearman's rank correlation", form=".4f"),
    "rho_lower": ColumnSpec(
        "rho_lower", "stat.correlation;stat.min", "Lower end of the 95 % interval of rho", form=".4f"
    ),
    "rho_upper": ColumnSpec(
        "rho_upper", "stat.correlation;stat.max", "Upper end of the 95 % interval of rho", form=".4f"
    ),
    "rho_p_value": ColumnSpec(
        "p_value", "stat.probability", "Chance of a rho as far from 0 if there is no relation", form=".3g"
    ),
    "rho_fdr": ColumnSpec(
        "fdr", "stat.probability", "p_value adjusted for all pairs (Benjamini-Hochberg)", form=".3g"
    ),
    "feature_log_density": ColumnSpec(
        "{index}_log_density",
        "stat.likelihood;meta.modelled",
        "Natural log of the density of {columns} around the row, by {method}",
        form=".3f",
    ),
    # Trials of a search
    "tuned_model": ColumnSpec("model", "meta.id", "Kind of model"),
    "tuned_n_latent": ColumnSpec("n_latent", "meta.number", "Number of latents or components"),
    "tuned_trial": ColumnSpec("trial", "meta.number", "Number of the trial of this size, from 0"),
    "tuned_lambda": ColumnSpec("lambda_", "stat.param", "Strength of the MMD, with alpha", form=".4g"),
    "tuned_alpha": ColumnSpec("alpha", "stat.param", "How much less the divergence counts", form=".3f"),
    "tuned_width": ColumnSpec("width", "stat.param", "Widths of the hidden layers of the encoder"),
    "tuned_loss": ColumnSpec(
        "held_out_loss", "stat.fit.residual", "Loss of the rows held out, with lambda and alpha", form=".5g"
    ),
    "tuned_mse": ColumnSpec(
        "held_out_mse",
        "stat.fit.residual;stat.mean",
        "Mean squared error of the normalised flux of the rows held out",
        form=".4g",
    ),
    "tuned_chi2": ColumnSpec(
        "held_out_chi2",
        "stat.fit.chi2;stat.mean",
        "Mean over the rows held out of chi squared for each pixel that counts",
        form=".5f",
    ),
    "tuned_chi2_error": ColumnSpec(
        "held_out_chi2_error", "stat.error", "Standard error of held_out_chi2", form=".5f"
    ),
    "tuned_kl": ColumnSpec(
        "kl", "stat.fit.param", "Divergence of the latents of single rows held out from the prior", form=".4g"
    ),
    "tuned_mmd": ColumnSpec(
        "mmd",
        "stat.fit.param",
        "Squared discrepancy of the latents of all rows held out from the prior",
        form=".3g",
    ),
    "tuned_epochs": ColumnSpec("epochs", "meta.number", "Epochs of the training, or iterations"),
    "tuned_seconds": ColumnSpec("seconds", "time.duration", "Time that the fit took", "s", form=".1f"),
    "tuned_state": ColumnSpec("state", "meta.code.status", "complete, pruned (ended early) or failed"),
    "tuned_best_of_size": ColumnSpec(
        "best_of_size", "meta.code", "Whether its chi squared is the lowest of this model and size"
    ),
    "tuned_best": ColumnSpec(
        "best",
        "meta.code",
        "Whether it is the one to take: of the smallest size within one standard error of the lowest",
    ),
    "tuned_file": ColumnSpec("file", "meta.id;meta.file", "File of the model"),
}
