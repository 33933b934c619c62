"""What came of a search: a row a trial, the components beside them, and which to take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.columns import add_column
from astro_cluster.embedding.autoencoder import load_model
from astro_cluster.embedding.weighted_pca import WeightedPCA
from astro_cluster.tuning.journal import Journal, quiet
from astro_cluster.tuning.trials import RESULT, Search, error_of_mean, file_of, means_of

__all__ = ["BASELINE", "STATES", "add_verdict", "baseline", "rows_of", "smallest_good", "table_of"]

BASELINE = "weighted-pca"
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}

# Name of the column, of its entry in the registry, and what stands where there is nothing.
_COLUMNS: tuple[tuple[str, str, Any], ...] = (
    ("model", "tuned_model", ""),
    ("n_latent", "tuned_n_latent", 0),
    ("trial", "tuned_trial", 0),
    ("lambda_", "tuned_lambda", math.nan),
    ("alpha", "tuned_alpha", math.nan),
    ("width", "tuned_width", ""),
    ("held_out_loss", "tuned_loss", math.nan),
    ("held_out_mse", "tuned_mse", math.nan),
    ("held_out_chi2", "tuned_chi2", math.nan),
    ("held_out_chi2_error", "tuned_chi2_error", math.nan),
    ("kl", "tuned_kl", math.nan),
    ("mmd", "tuned_mmd", math.nan),
    ("epochs", "tuned_epochs", 0),
    ("seconds", "tuned_seconds", math.nan),
    ("state", "tuned_state", ""),
    ("best_of_size", "tuned_best_of_size", False),
    ("best", "tuned_best", False),
    ("file", "tuned_file", ""),
)


def rows_of(journal: Journal, sizes: Iterable[int]) -> list[dict[str, Any]]:
    """Return a row for each trial that has been run.

    Parameters
    ----------
    journal : Journal
        What has been done.
    sizes : iterable of int
        Numbers of latents.

    Returns
    -------
    list of dict
    """
    found = []
    for n_latent in sizes:
        with quiet():
            trials = journal.study(n_latent).get_trials(deepcopy=False)
        rows = []
        for trial in trials:
            if trial.state.is_finished():
                result = dict(trial.user_attrs.get(RESULT, {}))
                values = result.pop("values", {})
                rows.append(
                    {"model": "infovae", "n_latent": n_latent, "trial": trial.number}
                    | values
                    | result
                    | {"state": STATES.get(trial.state.name, trial.state.name.lower())}
                )
        complete = [row for row in rows if row["state"] == "complete"]
        if complete:
            first = min(complete, key=lambda row: row["held_out_chi2"])
            first |= {"best_of_size": True, "file": file_of(n_latent)}
        found += rows
    return found


def baseline(search: Search, sizes: Iterable[int]) -> list[dict[str, Any]]:
    """Return a row for the principal components of each size, learned from the same spectra.

    Parameters
    ----------
    search : Search
        Has the spectra, those held out and how they are normalised.
    sizes : iterable of int
        Numbers of components.

    Returns
    -------
    list of dict
    """
    model, material = search.model, search.material
    found = []
    for k in sizes:
        row: dict[str, Any] = {"model": BASELINE, "n_latent": k}
        learned = len(material.usable) - len(search.held_out)
        if not k < min(learned, material.flux.shape[1]):
            found.append(row | {"state": "failed"})
            continue
        began = time.perf_counter()
        pca = WeightedPCA(
            k,
            normalize=model.normalize,
            softening=model.softening,
            subtract_mean=model.subtract_mean,
            n_threads=model.n_threads,
            random_state=model.random_state,
        ).fit(material.flux, **material.given(), held_out_rows=search.held_out, progress=False)
        found.append(
            row
            | means_of(material.judged_by(pca, search.held_out))
            | {
                "epochs": pca.n_iter_,
                "seconds": round(time.perf_counter() - began, 3),
                "state": "complete",
                "best_of_size": True,
            }
        )
    return found


def smallest_good(chi2: Mapping[int, np.ndarray]) -> int:
    """Return the smallest size that is as good as the best within one standard error.

    Parameters
    ----------
    chi2 : mapping of int to (n,) array
        χ² of each spectrum held out, by the best model of each size.

    Returns
    -------
    int

    Notes
    -----
    The one-standard-error rule of Breiman et al. (1984, Classification and Regression Trees).  The error is
    that of the mean of the differences between two models, spectrum by spectrum: that spectra differ among
    themselves does not blur which model is better.

    Examples
    --------
    >>> few = np.array([1.2, 1.1, 1.3, 1.15])
    >>> smallest_good({3: few + [0.5, 0.4, 0.6, 0.5], 6: few + [0.1, -0.1, 0.1, -0.08], 9: few})
    6
    """
    means = {size: float(np.nanmean(values)) for size, values in chi2.items()}
    best = min(means, key=lambda size: (means[size], size))
    for size in sorted(chi2):
        differences = chi2[size] - chi2[best]
        differences = differences[np.isfinite(differences)]
        error = error_of_mean(differences)
        if size == best or differences.mean() <= (error if math.isfinite(error) else 0.0):
            return size
    return best


def add_verdict(search: Search, rows: Sequence[dict[str, Any]]) -> int | None:
    """Say in the rows which trial is the best, and make sure that its model is there.

    Parameters
    ----------
    search : Search
        Has the spectra and the folder.
    rows : sequence of dict
        From `rows_of`; changed in place.

    Returns
    -------
    int or None
        Its number of latents; None if no trial has been completed.
    """
    chosen = [row for row in rows if row.get("best_of_size") and row["model"] != BASELINE]
    chi2 = {}
    for row in chosen:
        place = search.folder / row["file"]
        if place.exists():
            model = load_model(place)
        else:  # somebody has taken it away, and the same values give the same model
            model = search.trained(row["n_latent"], {k: row[k] for k in ("lambda_", "alpha", "width")})
            model.save(place)
        chi2[row["n_latent"]] = search.material.judged_by(model, search.held_out)["chi2"]
    if not chi2:
        return None
    size = smallest_good(chi2)
    for row in chosen:
        row["best"] = row["n_latent"] == size
    return size


def table_of(rows: Sequence[Mapping[str, Any]]) -> QTable:
    """Return rows as a table.

    Parameters
    ----------
    rows : sequence of mapping
        From `rows_of` and `baseline`.

    Returns
    -------
    `~astropy.table.QTable`
        Masked where there is nothing.
    """
    out = QTable()
    for name, key, nothing in _COLUMNS:
        values = [row.get(name, nothing) for row in rows]
        hidden = np.array([name not in row for row in rows], dtype=bool)
        if isinstance(nothing, float):
            array = np.array(values, dtype=np.float64)
            hidden |= ~np.isfinite(array)
        elif isinstance(nothing, str):
            array = np.array(values, dtype=str)
        else:
            array = np.array(values, dtype=type(nothing) if isinstance(nothing, bool) else np.int64)
        if isinstance(nothing, bool):
            hidden[:] = False
        add_column(out, key, array, mask=hidden)
    return out
