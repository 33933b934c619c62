"""Whether clusters are found again in other samples: bootstrap and Jaccard similarity.

The function `stability` lives in a module of another name: once imported, a module
``astro_cluster.stability`` would take the place of ``ac.stability``.
"""

from __future__ import annotations

import dataclasses
import secrets
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable
from sklearn.base import BaseEstimator

from astro_cluster import provenance
from astro_cluster.columns import add_column, column_name, require
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import FittedFeatures
from astro_cluster.provenance import Step, step
from astro_cluster.refitting import Sample, fit_each
from astro_cluster.tables import Source, as_qtable, float_values

__all__ = [
    "DISTRUSTED",
    "VALID",
    "Resample",
    "checked_seed",
    "jaccard_maxima",
    "resamples",
    "stability",
    "verdict_of",
]

VALID = 0.75
"""A cluster with a mean Jaccard similarity of at least this is valid (Hennig 2007)."""

DISTRUSTED = 0.6
"""One below this should not be trusted."""

_MOST_DRAWS = 100


@dataclass(frozen=True, slots=True)
class Resample:
    """A bootstrap sample: as many rows as there are, drawn with replacement.

    Parameters
    ----------
    rows : (m,) array of int
        The rows that were drawn, each once, in their order.
    counts : (m,) array of int
        How often each was drawn.
    seed : int
        Seed for the method that is fitted to them.
    """

    rows: np.ndarray
    counts: np.ndarray
    seed: int


def checked_seed(random_state: int | None) -> int:
    """Return the seed that was given, or a new one.

    Parameters
    ----------
    random_state : int, optional
        Seed.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If it is no whole number from 0 to 2³² − 1.

    Examples
    --------
    >>> checked_seed(42)
    42
    """
    if random_state is None:
        return secrets.randbelow(2**31)
    whole = isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool)
    if not whole or not 0 <= random_state < 2**32:
        raise InputError(f"random_state={random_state!r} is no seed; give a whole number from 0, such as 42")
    return int(random_state)


def resamples(
    sample: Sample, number: int, seeds: np.random.SeedSequence, *, distinct: int = 2
) -> Iterator[Resample]:
    """Draw bootstrap samples.

    Parameters
    ----------
    sample : Sample
        n rows.
    number : int
        How many samples.
    seeds : `~numpy.random.SeedSequence`
        Source of randomness; each sample has a stream of its own, so that the first ones are
        the same however many are drawn.
    distinct : int, optional
        How many different rows a sample has at least.

    Yields
    ------
    Resample

    Raises
    ------
    InputError
        If samples that can be fitted are rare: of fewer rows, or without a value of a feature.

    Examples
    --------
    >>> drawn = next(resamples(Sample(np.zeros((5, 1))), 1, np.random.SeedSequence(0)))
    >>> int(drawn.counts.sum())
    5
    """
    n, seen = len(sample), sample.observed
    for stream in seeds.spawn(number):
        rng = np.random.default_rng(stream)
        for _ in range(_MOST_DRAWS):
            counts = np.bincount(rng.integers(n, size=n), minlength=n)
            rows = np.flatnonzero(counts)
            if len(rows) >= distinct and seen[rows].any(axis=0).all():
                break
        else:
            raise _rare(seen, distinct)
        yield Resample(rows, counts[rows], int(rng.integers(2**31)))


def _rare(seen: np.ndarray, distinct: int) -> InputError:
    values = seen.sum(axis=0)
    if values.min() < 2:
        return InputError(
            f"feature number {values.argmin()} has a value in only {values.min()} of {len(seen)} rows, and "
            "bootstrap samples without any cannot be fitted; leave it out"
        )
    return InputError(
        f"bootstrap samples of {len(seen)} rows seldom hold {distinct} different ones, as many as "
        "there are clusters; ask for fewer"
    )


def jaccard_maxima(clusters: np.ndarray, labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return for each cluster how well the best of the clusters found elsewhere agrees with it.

    Parameters
    ----------
    clusters : (k,) array of int
        Numbers of the clusters.
    labels : (m,) array of int
        Which of them each row is in; negative is noise.
    found : (m,) array of int
        Cluster of the same rows by another clustering.

    Returns
    -------
    (k,) array
        Rows in both over rows in either, the largest over the clusters found; NaN for a
        cluster without a row.

    Examples
    --------
    >>> jaccard_maxima(np.arange(2), np.array([0, 0, 0, 1, 1]), np.array([1, 1, 0, 0, 0]))
    array([0.66666667, 0.66666667])
    """
    others = np.unique(found[found >= 0])
    mine = labels[:, np.newaxis] == clusters
    theirs = found[:, np.newaxis] == others
    common = mine.T.astype(float) @ theirs
    sizes = mine.sum(axis=0)
    either = sizes[:, np.newaxis] + theirs.sum(axis=0) - common
    best = (common / np.maximum(either, 1)).max(axis=1, initial=0.0)
    return np.where(sizes > 0, best, np.nan)


def verdict_of(jaccard: float) -> str:
    """Return what to think of a cluster with this mean Jaccard similarity.

    Parameters
    ----------
    jaccard : float
        Mean over the bootstrap samples.

    Returns
    -------
    {"valid", "doubtful", "distrusted"}

    Examples
    --------
    >>> verdict_of(0.7)
    'doubtful'
    """
    if jaccard >= VALID:
        return "valid"
    return "distrusted" if jaccard < DISTRUSTED else "doubtful"


# ---------------------------------------------------------------- the step


@step
def stability(
    table: Source, prefix: str | None = None, *, bootstrap: int = 50, random_state: int | None = None
) -> Step:
    """Tell which clusters of a clustered table would be found again in another sample.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Result of `cluster`, by any method; its record says how to do it again.
    prefix : str, optional
        Which clustering, if there are several; the latest if not given.
    bootstrap : int, optional
        How many bootstrap samples are clustered.
    random_state : int, optional
        Seed of the samples; drawn and recorded if not given.

    Returns
    -------
    `~astropy.table.QTable`
        A row a cluster: ``cluster``, ``size``, ``jaccard`` (mean over the samples), ``spread``
        (standard deviation) and ``verdict``: valid, doubtful or distrusted.  Their counts in
        words are in ``meta["verdict"]``.

    Raises
    ------
    InputError
        If the table has no clustering on record that can be done again, or ``bootstrap`` is
        less than 1.

    Warns
    -----
    AstroClusterWarning
        If the columns have changed since they were clustered.

    Notes
    -----
    As many rows as there are, drawn with replacement, are clustered by the recorded method
    with the recorded scales.  For every cluster the most similar one of that clustering is
    looked for among the rows drawn, each counted once; similarity is Jaccard's, rows in both
    over rows in either.  Hennig (2007, Comput. Stat. Data Anal. 52, 258) calls a cluster with
    a mean of 0.75 or more valid and stable, and advises not to trust one below 0.6.  A sample
    without a row of a cluster says nothing about it and does not count for it; noise is no
    cluster.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.cluster(ac.simulate.chandra(300, random_state=1), features="hard_*",
    ...                  n_components=2, random_state=42)
    >>> found = ac.stability(cat, bootstrap=10, random_state=0)
    >>> found.colnames
    ['cluster', 'size', 'jaccard', 'spread', 'verdict']
    """
    table = as_qtable(table)
    if isinstance(bootstrap, bool) or not isinstance(bootstrap, (int, np.integer)) or bootstrap < 1:
        raise InputError(
            f"bootstrap={bootstrap!r} samples tell nothing; give a whole number from 1, such as 50"
        )
    record = _clustering(table, prefix)
    estimator = _estimator(record)
    name = column_name("cluster", prefix=record.get("prefix", ""))
    labels = float_values(table[require(table, name)[0]])
    weights = record["parameters"].get("weights")
    require(table, [*record["inputs"], *([] if weights is None else [weights])])
    if provenance.content_hash(table, record["inputs"]) != record["input_hash"]:
        warnings.warn(
            f"the columns that {name!r} was made from, or their rows, have changed since; its clusters are "
            "compared with those of the table as it is now",
            AstroClusterWarning,
            stacklevel=3,
        )
    matrix = FittedFeatures.from_plain(record.get("recipe", {})).transform(table)
    # Rows without a weight have no label.
    matrix = dataclasses.replace(matrix, usable=matrix.usable & ~np.isnan(labels))
    labels = labels[matrix.usable].astype(int)
    sample = Sample(*matrix.used(), None if weights is None else float_values(table[weights])[matrix.usable])
    clusters, sizes = np.unique(labels[labels >= 0], return_counts=True)
    if not clusters.size:
        raise InputError(f"column {name!r} has no row in a cluster, so there is none to judge")
    seed = checked_seed(random_state)
    similar = _bootstrapped(estimator, sample, labels, clusters, int(bootstrap), seed)
    out = _report(name, clusters, sizes, similar)
    out.meta["bootstrap"] = int(bootstrap)
    return Step(
        out,
        table,
        inputs=list(dict.fromkeys([*record["inputs"], name])),
        seed=seed,
        facts={"row_order": "changed"},
        parameters={"random_state": seed, "prefix": record.get("prefix", "")},
    )


def _clustering(table: QTable, prefix: str | None) -> dict[str, Any]:
    """Return the record of a clustering, or say why none can be done again."""
    found = [r for r in provenance.records(table) if r["function"] in ("cluster", "assign")]
    fitting = [r for r in found if prefix is None or r.get("prefix", "") == prefix]
    if not fitting:
        known = ", ".join(dict.fromkeys(repr(r.get("prefix", "")) for r in found))
        what = f" with the prefix {prefix!r}; there are: {known}" if found else ""
        raise InputError(f"the table has no clustering on record{what or '; cluster it first (ac.cluster)'}")
    if fitting[-1]["function"] == "assign":
        raise InputError(
            "these rows were assigned to the clusters of a model, not clustered; ask for the stability of "
            "the table that the model was fitted on"
        )
    return fitting[-1]


def _estimator(record: dict[str, Any]) -> BaseEstimator:
    """Return the method of a clustering, as it was before its fit."""
    recorded = record["parameters"].get("estimator")
    if isinstance(recorded, dict) and "unrecorded" in recorded:
        raise InputError(
            f"the record could not keep the method of this clustering, a {recorded['unrecorded']}, so it "
            "cannot be done again; the stability can be had of our mixture and of scikit-learn's methods"
        )
    estimator = provenance.decode(recorded)
    if not isinstance(estimator, BaseEstimator):
        raise InputError("the record of the clustering is damaged: it holds no method")
    return estimator


def _bootstrapped(
    estimator: BaseEstimator, sample: Sample, labels: np.ndarray, clusters: np.ndarray, number: int, seed: int
) -> np.ndarray:
    """Return the similarities, (number of samples, number of clusters)."""
    return np.array(
        [
            jaccard_maxima(clusters, labels[drawn.rows], fit.labels)
            for drawn in resamples(sample, number, np.random.SeedSequence(seed))
            for fit in fit_each(
                estimator, [None], sample.take(drawn.rows), counts=drawn.counts, seed=drawn.seed
            )
        ]
    )


def _report(name: str, clusters: np.ndarray, sizes: np.ndarray, similar: np.ndarray) -> QTable:
    seen = ~np.isnan(similar)
    times = seen.sum(axis=0)
    values = np.where(seen, similar, 0.0)
    means = values.sum(axis=0) / np.maximum(times, 1)
    spread = np.sqrt(np.where(seen, (values - means) ** 2, 0.0).sum(axis=0) / np.maximum(times - 1, 1))
    verdicts = [verdict_of(mean) for mean in means]
    out = QTable()
    add_column(out, "cluster_of", clusters, column=name)
    add_column(out, "cluster_size", sizes)
    add_column(out, "jaccard_of_cluster", means, mask=times == 0)
    add_column(out, "jaccard_spread", spread, mask=times < 2)
    add_column(out, "verdict", verdicts, mask=times == 0)
    parts = []
    for word in ("valid", "doubtful", "distrusted"):
        members = [str(c) for c, v, t in zip(clusters, verdicts, times, strict=True) if v == word and t]
        if members:
            parts.append(f"{len(members)} {word} ({', '.join(members)})")
    out.meta["verdict"] = f"of {len(clusters)} clusters, {', '.join(parts)}"
    return out
