"""Several runs side by side: how much they agree, and which cluster splits into which.

The function `compare` lives in a module of another name: once imported, a module
``astro_cluster.compare`` would take the place of ``ac.compare``.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from astropy.table import QTable, Table
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from astro_cluster.columns import add_column, require, ucd_of
from astro_cluster.exceptions import InputError, did_you_mean
from astro_cluster.provenance import Step, step
from astro_cluster.summary import cluster_labels
from astro_cluster.tables import PathLike, Source, as_qtable

__all__ = ["Run", "as_flows", "compare", "runs_of", "splits"]

_CLUSTER = "cluster"
_NEEDED = ("run_a", "cluster_a", "run_b", "cluster_b", "count", "fraction_of_a")


@dataclass(frozen=True, slots=True)
class Run:
    """The labels of one clustering.

    Parameters
    ----------
    name : str
        What the caller calls it: its prefix or its column.
    column : str
        Its column of labels.
    labels : (n,) array of int
        Cluster of each row; 0 where there is none.
    has : (n,) array of bool
        Which rows have one.
    """

    name: str
    column: str
    labels: np.ndarray
    has: np.ndarray


def _known_runs(table: Table) -> list[str]:
    """Return by what names the runs of a table can be called."""
    prefixes = [n.removesuffix(_CLUSTER) or n for n in table.colnames if n.endswith(_CLUSTER)]
    columns = [n for n in table.colnames if ucd_of(table, n) == "meta.code.class"]
    return list(dict.fromkeys([*prefixes, *columns]))


def _column_of(table: Table, run: str) -> str:
    """Return the column of labels that a prefix or a name means."""
    if run and run in table.colnames:
        return run
    if f"{run}{_CLUSTER}" in table.colnames:
        return f"{run}{_CLUSTER}"
    known = _known_runs(table)
    shown = f"The runs are: {', '.join(known)}" if known else "The table has no run; cluster it first"
    raise InputError(
        f"there is no run {run!r}, for there is no column {f'{run}{_CLUSTER}'!r}{did_you_mean(run, known)} "
        f"{shown}"
    )


def runs_of(table: QTable, runs: Iterable[str]) -> list[Run]:
    """Return the labels of several runs.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A table that was clustered several times.
    runs : iterable of str
        At least two, by their prefixes or their columns of labels.

    Returns
    -------
    list of Run

    Raises
    ------
    InputError
        If there are fewer than two, one is not there, is named twice or has no label.

    Examples
    --------
    >>> t = QTable({"a_cluster": [0, 1], "b_cluster": [1, 1]})
    >>> [(run.name, run.column) for run in runs_of(t, ["a_", "b_cluster"])]
    [('a_', 'a_cluster'), ('b_cluster', 'b_cluster')]
    """
    names = [runs] if isinstance(runs, str) else list(runs)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise InputError(
            f"{wrong[0]!r} is no run; give prefixes or columns of labels, such as ['gmm6_', 'km4_']"
        )
    columns = [_column_of(table, name) for name in names]
    if len(columns) < 2:
        known = ", ".join(_known_runs(table)) or "none"
        raise InputError(
            f"{', '.join(names) or 'nothing'} alone cannot be compared; give at least 2 runs, such as "
            f"['gmm6_', 'gmm8_']. The runs are: {known}"
        )
    if twice := [column for i, column in enumerate(columns) if column in columns[:i]]:
        raise InputError(f"the run of column {twice[0]!r} is named twice; name each run once")
    # A prefix may be empty, which no reader would take for a name.
    return [
        Run(name or column, column, *cluster_labels(table, column))
        for name, column in zip(names, columns, strict=True)
    ]


def _agreement(a: Run, b: Run) -> tuple[float | None, float | None, int]:
    """Return ARI and NMI over the rows that have both labels, and the number of the others."""
    both = a.has & b.has
    left_out = int((~both).sum())
    if not both.any():
        return None, None, left_out
    with warnings.catch_warnings():
        # About many clusters of few rows, which scikit-learn takes for a regression.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        ari = adjusted_rand_score(a.labels[both], b.labels[both])
        nmi = normalized_mutual_info_score(a.labels[both], b.labels[both])
    return float(ari), float(nmi), left_out


def _matrices(runs: Sequence[Run]) -> dict[str, list[list[Any]]]:
    """Return ARI, NMI and the number of rows left out of each pair of runs."""
    k = len(runs)
    out: dict[str, list[list[Any]]] = {
        key: [[None] * k for _ in range(k)] for key in ("ari", "nmi", "rows_left_out")
    }
    for i, j in itertools.combinations_with_replacement(range(k), 2):
        for key, value in zip(out, _agreement(runs[i], runs[j]), strict=True):
            out[key][i][j] = out[key][j][i] = value
    return out


def _flows(a: Run, b: Run) -> dict[str, np.ndarray]:
    """Return the contingency table of two runs, a row a cell that is not empty."""
    both = a.has & b.has
    if not both.any():
        raise InputError(
            f"no row has a label in both {a.name!r} and {b.name!r}; name runs that clustered the same rows"
        )
    clusters_a, of_a = np.unique(a.labels[both], return_inverse=True)
    clusters_b, of_b = np.unique(b.labels[both], return_inverse=True)
    cells, counts = np.unique(of_a * len(clusters_b) + of_b, return_counts=True)
    i, j = np.divmod(cells, len(clusters_b))
    order = np.lexsort((j, -counts, i))  # by cluster, then by falling count
    i, j, counts = i[order], j[order], counts[order]
    size_a, size_b = np.bincount(of_a)[i], np.bincount(of_b)[j]
    return {
        "cluster_a": clusters_a[i],
        "cluster_b": clusters_b[j],
        "flow": counts,
        "fraction_of_a": counts / size_a,
        "fraction_of_b": counts / size_b,
        "jaccard_of_flow": counts / (size_a + size_b - counts),
    }


@step
def compare(
    table: Source, runs: Iterable[str], *, pairs: Literal["consecutive", "all"] = "consecutive"
) -> Step:
    """Compare clusterings of the same rows: how much they agree, and which cluster goes where.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table that was clustered several times.
    runs : iterable of str
        At least two runs, by the prefixes of their columns (``"gmm6_"``) or by their
        columns of labels (``"gmm6_cluster"``).
    pairs : {"consecutive", "all"}, optional
        Compare each run with the next one, or every two.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each two clusters that share rows, by pair of runs, by cluster of the
        first and then by falling count: ``run_a``, ``cluster_a``, ``run_b``, ``cluster_b``,
        ``count``, ``fraction_of_a``, ``fraction_of_b``, ``jaccard``, and the agreement ``ari``
        and ``nmi`` of the two runs.  Its meta has ``runs`` and, as matrices over them,
        ``ari``, ``nmi`` and ``rows_left_out``.

    Raises
    ------
    InputError
        If there are fewer than two runs, one is not there, or two share no row.

    See Also
    --------
    splits : The same in words.
    plotting.plot_alluvial : The same as a figure.

    Notes
    -----
    The adjusted Rand index (Hubert & Arabie 1985, J. Classification 2, 193) is 1 for the
    same partition and about 0 for two that have nothing to do with each other.  The normalized
    mutual information (Strehl & Ghosh 2002, JMLR 3, 583; here over the arithmetic mean of
    the entropies) is not adjusted for chance: it grows with the number of clusters.  The
    Jaccard index of two clusters is the share of their common rows in their union.

    Rows that have no label in one of the two runs are left out of that pair.  Noise (-1) is
    a cluster of its own.

    Examples
    --------
    >>> t = QTable({"a_cluster": [0, 0, 0, 1, 1], "b_cluster": [2, 2, 0, 1, 1]})
    >>> flows = compare(t, ["a_", "b_"])
    >>> flows["cluster_a", "cluster_b", "count", "jaccard"].pprint()
    cluster_a cluster_b count jaccard
    --------- --------- ----- -------
            0         2     2   0.667
            0         0     1   0.333
            1         1     2   1.000
    """
    if pairs not in ("consecutive", "all"):
        raise InputError(f"pairs={pairs!r} is not known; give 'consecutive' or 'all'")
    table = as_qtable(table)
    found = runs_of(table, runs)
    chosen = list(itertools.pairwise(range(len(found))))
    if pairs == "all":
        chosen = list(itertools.combinations(range(len(found)), 2))
    matrices = _matrices(found)
    parts = [_flows(found[i], found[j]) for i, j in chosen]
    lengths = [len(part["flow"]) for part in parts]
    out = QTable()

    def add(key: str, values: Any) -> None:
        add_column(out, key, values)

    for side, key in ((0, "a"), (1, "b")):
        add(f"run_{key}", np.repeat([found[pair[side]].name for pair in chosen], lengths))
        add(f"cluster_{key}", np.concatenate([part[f"cluster_{key}"] for part in parts]))
    for key in ("flow", "fraction_of_a", "fraction_of_b", "jaccard_of_flow"):
        add(key, np.concatenate([part[key] for part in parts]))
    for key in ("ari", "nmi"):
        add(key, np.repeat(np.array([matrices[key][i][j] for i, j in chosen], dtype=float), lengths))
    out.meta |= {"runs": [run.name for run in found], "rows": len(table), **matrices}
    return Step(
        out,
        table,
        inputs=[run.column for run in found],
        facts={"row_order": "changed"},
        parameters={"runs": [run.name for run in found]},
    )


def as_flows(flows: QTable | Table | PathLike) -> QTable:
    """Return a table of flows, or say that it is none.

    Parameters
    ----------
    flows : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Result of `compare`, or a file of it.

    Returns
    -------
    `~astropy.table.QTable`

    Raises
    ------
    InputError
        If columns of `compare` are missing.

    Examples
    --------
    >>> len(as_flows(compare(QTable({"a_cluster": [0, 1], "b_cluster": [0, 0]}), ["a_", "b_"])))
    2
    """
    flows = as_qtable(flows)
    if missing := [name for name in _NEEDED if name not in flows.colnames]:
        raise InputError(
            f"the table is no comparison, for it has no column {missing[0]!r}: make it with "
            "compare(table, ['gmm6_', 'gmm8_'])"
        )
    return flows


def splits(flows: QTable | Table | PathLike, *, least: float = 0.1) -> list[str]:
    """Say in words what becomes of each cluster in the next run.

    Parameters
    ----------
    flows : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Result of `compare`, or a file of it in any format.
    least : float, optional
        Parts smaller than this share of the cluster are not named.

    Returns
    -------
    list of str
        A sentence for each cluster of the first run of each pair.

    Raises
    ------
    InputError
        If the table is no comparison, or ``least`` is no share.

    Notes
    -----
    To hear what is merged, compare the runs in the other order.

    Examples
    --------
    >>> t = QTable({"a_cluster": [0, 0, 0, 1, 1], "b_cluster": [2, 2, 0, 1, 1]})
    >>> splits(compare(t, ["a_", "b_"]))
    ['cluster 0 of a_ splits into 2 (67 %) and 0 (33 %) of b_', 'cluster 1 of a_ goes into 1 of b_ (100 %)']
    """
    if not 0 <= least <= 1:
        raise InputError(f"least={least} is no share; give a number within 0 and 1, such as 0.1")
    flows = as_flows(flows)
    require(flows, _NEEDED)
    return [_sentence(*origin, parts, least) for origin, parts in _by_origin(flows)]


def _by_origin(flows: QTable) -> Iterator[tuple[tuple[str, int, str], list[tuple[int, float]]]]:
    """Yield each cluster with where its rows go, the largest part first."""
    found: dict[tuple[str, int, str], list[tuple[int, float]]] = {}
    names = ("run_a", "cluster_a", "run_b", "cluster_b", "fraction_of_a")
    for run_a, a, run_b, b, share in zip(*(flows[name] for name in names), strict=True):
        found.setdefault((str(run_a), int(a), str(run_b)), []).append((int(b), float(share)))
    for origin, parts in found.items():
        yield origin, sorted(parts, key=lambda part: -part[1])


def _sentence(run_a: str, a: int, run_b: str, parts: list[tuple[int, float]], least: float) -> str:
    who = f"{'noise' if a < 0 else f'cluster {a}'} of {run_a}"
    named = [("noise" if b < 0 else str(b), f"({100 * share:.0f} %)") for b, share in parts if share >= least]
    if not named:
        return f"{who} scatters over {len(parts)} clusters of {run_b}, none with {100 * least:g} % of it"
    if len(named) == 1:
        return f"{who} goes into {named[0][0]} of {run_b} {named[0][1]}"
    words = [" ".join(pair) for pair in named]
    return f"{who} splits into {', '.join(words[:-1])} and {words[-1]} of {run_b}"
