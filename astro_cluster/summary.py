"""What the groups hold: types per cluster, and which clusters are rubbish."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from astropy.table import QTable
from scipy.stats import false_discovery_control, hypergeom

from astro_cluster import provenance
from astro_cluster.cells import cell_texts, truths_of
from astro_cluster.columns import add_column, require, ucd_of
from astro_cluster.exceptions import InputError
from astro_cluster.otypes.names import warn_unknown
from astro_cluster.otypes.queries import checked_level, folded_texts
from astro_cluster.otypes.snapshots import snapshot
from astro_cluster.provenance import Step, step
from astro_cluster.tables import Source, as_qtable, float_values

__all__ = [
    "UNMATCHED",
    "cluster_column",
    "cluster_labels",
    "inspect",
    "is_bad",
    "probability_columns",
    "summarize",
]

UNMATCHED = "unmatched"


def cluster_column(table: QTable, name: str | None = None) -> str:
    """Return the name of the column of cluster labels.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A clustered table.
    name : str, optional
        The column, if it is known.

    Returns
    -------
    str
        That of the latest clustering on record; else ``cluster``, else the one column with
        the UCD ``meta.code.class``.

    Raises
    ------
    InputError
        If there is no such column, or more than one could be meant.

    Examples
    --------
    >>> cluster_column(QTable({"cluster": [0, 1]}))
    'cluster'
    """
    if name is not None:
        return require(table, name)[0]
    for record in reversed(provenance.records(table)):
        if record["function"] in ("cluster", "assign"):
            found = f"{record.get('prefix', '')}cluster"
            if found in table.colnames:
                return found
    if "cluster" in table.colnames:
        return "cluster"
    found_by_ucd = [n for n in table.colnames if ucd_of(table, n) == "meta.code.class"]
    if len(found_by_ucd) != 1:
        what = f"several could be meant: {', '.join(found_by_ucd)}" if found_by_ucd else "there is none"
        raise InputError(f"cannot tell the column of cluster labels ({what}); name it (--cluster)")
    return found_by_ucd[0]


def probability_columns(table: QTable, cluster: str) -> list[str]:
    """Return the membership probabilities that go with a column of labels, by number.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A clustered table.
    cluster : str
        Its column of labels; ``gmm6_cluster`` goes with ``gmm6_prob_0`` …

    Returns
    -------
    list of str
        Empty if the method gave none.

    Examples
    --------
    >>> probability_columns(QTable({"cluster": [0], "prob_1": [0.2], "prob_0": [0.8]}), "cluster")
    ['prob_0', 'prob_1']
    """
    prefix = re.escape(cluster.removesuffix("cluster"))
    found = [(m, n) for n in table.colnames if (m := re.fullmatch(rf"{prefix}prob_(\d+)", n))]
    return [name for _, name in sorted(found, key=lambda pair: int(pair[0][1]))]


def cluster_labels(table: QTable, cluster: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of a clustering as whole numbers, and which rows have one.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    cluster : str
        Its column of labels.

    Returns
    -------
    tuple of (n,) array of int and (n,) array of bool
        The labels, 0 where there is none, and where there is one.

    Raises
    ------
    InputError
        If the column holds no cluster numbers, or none at all.

    Examples
    --------
    >>> labels, has = cluster_labels(QTable({"cluster": [2, -1]}), "cluster")
    >>> labels.tolist(), has.tolist()
    ([2, -1], [True, True])
    """
    column = table[cluster]
    numeric = getattr(column, "dtype", np.dtype(object)).kind in "fiub" and len(column.shape) == 1
    values = float_values(column) if numeric else np.full(1, 0.5)
    if np.any(values[~np.isnan(values)] % 1):
        raise InputError(f"column {cluster!r} holds no cluster numbers, which are whole and one a row")
    has = ~np.isnan(values)
    if not has.any():
        raise InputError(
            f"column {cluster!r} has no label in any of {len(table)} rows; cluster the table first"
        )
    return np.where(has, values, 0).astype(int), has


def _types(table: QTable, by: str) -> np.ndarray:
    """Return the type of each row as text; `UNMATCHED` where there is none."""
    column = table[by]
    if getattr(column, "shape", (0,))[1:]:
        raise InputError(f"column {by!r} has several values a row; types are one a row")
    text, mask = cell_texts(column, len(table))
    return np.where(mask, UNMATCHED, text).astype(str)


def _type_column(by: str) -> str:
    """Return the name of the column of types: that of its origin, unless a result has it."""
    taken = by in ("cluster", "count", "enrichment", "p_value", "fdr") or by.startswith(
        ("fraction", "mean_prob_")
    )
    return f"{by}_type" if taken else by


def _folded(types: np.ndarray, by: str, level: int) -> np.ndarray:
    """Return the labels of the types that hold them at a level; unknown names stay, with a warning."""
    folded, unknown = folded_texts(types, level, keep=UNMATCHED)
    warn_unknown(unknown, f"of column {by!r} keep their names", stacklevel=5)
    return folded


@step
def summarize(
    table: Source, cluster: str | None = None, *, by: str | None = None, level: int | None = None
) -> Step:
    """Count the types in every cluster, and test which are there more than by chance.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A clustered table.
    cluster : str, optional
        Column of labels; that of the latest clustering if not given.
    by : str, optional
        Column of types (``main_type``, a class …); rows without one count as the type
        "unmatched".  If not given, the clusters alone are counted.
    level : int, optional
        Level of SIMBAD's hierarchy that types are folded to before they are counted: 0 for the
        widest (Star, Galaxy, X …), 1 for those below them (YSO, AGN …), and so on, as
        `otypes.fold` does it.  Types are then called by the labels of today, whatever the
        column calls them; candidates stay candidates.  Names that are no types of SIMBAD stay
        as they are.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each type in each cluster, by cluster and then by falling count:
        ``cluster``, the type (in a column of the name ``by``), ``count``,
        ``fraction_of_cluster``, ``fraction_of_type``, the mean of every membership
        probability (``mean_prob_0`` …), ``enrichment``, ``p_value`` and ``fdr``.

    Raises
    ------
    InputError
        If a column is missing, no row has a label, or ``level`` is none or is given without ``by``.

    Warns
    -----
    AstroClusterWarning
        Names that could not be folded, and how many rows have them.

    Notes
    -----
    The enrichment is the type's share of the cluster over its share of the whole sample.
    Its p-value is the hypergeometric chance of as many or more, and ``fdr`` is the p-value
    adjusted for all cluster–type pairs by Benjamini & Hochberg (1995, JRSS B 57, 289).
    Rows without a label are left out of all counts; their number is in
    ``meta["rows_without_cluster"]``.

    Examples
    --------
    >>> t = QTable({"cluster": [0, 0, 0, 1, 1], "main_type": ["QSO", "QSO", "Star", "Star", "Star"]})
    >>> summarize(t, by="main_type")["count"].tolist()
    [2, 1, 2]
    >>> summarize(t, by="main_type", level=1)["main_type"].tolist()
    ['AGN', 'Star', 'Star']
    """
    if level is not None:
        if by is None:
            raise InputError(f"level={level!r} folds types: say which column has them with by= (--by)")
        level = checked_level(level)
    table = as_qtable(table)
    cluster = cluster_column(table, cluster)
    names = [require(table, by)[0]] if by is not None else []
    labels, has = cluster_labels(table, cluster)
    types = _types(table, by)[has] if by is not None else np.full(int(has.sum()), "all")
    facts: dict[str, Any] = {"row_order": "changed"}
    if by is not None and level is not None:
        types = _folded(types, by, level)
        facts["otypes"] = snapshot().facts()
    labels = labels[has]
    clusters, cluster_of = np.unique(labels, return_inverse=True)
    kinds, kind_of = np.unique(types, return_inverse=True)
    counts = np.zeros((len(clusters), len(kinds)), dtype=np.int64)
    np.add.at(counts, (cluster_of, kind_of), 1)
    # Within a cluster by falling count, ties by name.
    order = [
        (i, j) for i in range(len(clusters)) for j in np.argsort(-counts[i], kind="stable") if counts[i, j]
    ]
    at = tuple(np.array(order).T)
    sizes, totals = counts.sum(axis=1), counts.sum(axis=0)
    out = QTable()
    add_column(out, "cluster_of", clusters[at[0]], column=cluster)
    if by is None:
        add_column(out, "count", counts[at])
        add_column(out, "fraction", sizes[at[0]] / sizes.sum())
    else:
        origin = by if level is None else f"{by}, folded to level {level} of SIMBAD's types"
        add_column(out, "type", kinds[at[1]], name=_type_column(by), column=origin)
        add_column(out, "count", counts[at])
        add_column(out, "fraction_of_cluster", counts[at] / sizes[at[0]])
        add_column(out, "fraction_of_type", counts[at] / totals[at[1]])
    probabilities = probability_columns(table, cluster)
    for name in probabilities:
        k = int(name.rpartition("_")[2])
        means = _group_means(float_values(table[name])[has], cluster_of, kind_of, counts.shape)
        add_column(out, "mean_prob", means[at], index=k, column=name)
    if by is not None:
        _add_enrichment(out, counts, at)
    out.meta["rows_without_cluster"] = int((~has).sum())
    out.meta["rows"] = int(has.sum())
    return Step(
        out, table, inputs=[cluster, *names, *probabilities], facts=facts, parameters={"level": level}
    )


def _group_means(
    values: np.ndarray, cluster_of: np.ndarray, kind_of: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Return the mean by cluster and type over the rows that have a value."""
    seen = ~np.isnan(values)
    sums, numbers = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (cluster_of[seen], kind_of[seen]), values[seen])
    np.add.at(numbers, (cluster_of[seen], kind_of[seen]), 1)
    with np.errstate(invalid="ignore"):
        return sums / numbers


def _add_enrichment(out: QTable, counts: np.ndarray, at: tuple[np.ndarray, ...]) -> None:
    sizes, totals, n = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    ratio = (counts / sizes[:, np.newaxis]) / (totals / n)
    p = hypergeom.sf(counts - 1, n, totals[np.newaxis, :], sizes[:, np.newaxis])
    p = np.clip(p, 0.0, 1.0)
    # All pairs were looked at, also those that do not occur: they are part of the family of tests.
    fdr = false_discovery_control(p.ravel()).reshape(p.shape)
    add_column(out, "enrichment", ratio[at])
    add_column(out, "p_value", p[at])
    add_column(out, "fdr", fdr[at])


@step
def inspect(
    table: Source,
    cluster: str | None = None,
    *,
    label: str,
    value: str | int | float | bool = True,
    reason: str | None = None,
    threshold: float = 0.05,
) -> Step:
    """Find the clusters in which a label gathers, and what looking at them alone would find.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A clustered table.
    cluster : str, optional
        Column of cluster labels; that of the latest clustering if not given.
    label : str
        Column that tells which rows are bad (spurious, say).
    value : str, number or bool, optional
        What stands in ``label`` for a bad row; 0 where good ones are 1.
    reason : str, optional
        Column that tells why a row is bad: the bad rows of each cluster are counted by it.
    threshold : float, optional
        Clusters with at least this share of bad rows form the region.

    Returns
    -------
    `~astropy.table.QTable`
        A row a cluster, the worst first: ``cluster``, ``good``, ``bad``, ``size``, ``bad_fraction``,
        ``in_region``, and if this cluster and all above it are inspected: ``inspected_fraction``,
        ``recall``, ``precision`` and ``lift``.  With ``reason`` a column for each reason, the commonest
        first, such as ``bad_diffraction_spike``; together they are ``bad``, since each bad row has one
        reason or counts in ``bad_no_reason``.  The numbers of the region are in ``meta["region"]``.

    Raises
    ------
    InputError
        If a column is missing, no row has the label's value, or the threshold is not
        within 0 and 1.

    Notes
    -----
    Recall is the share of all bad rows that is inside, precision the share of bad rows
    among those inside, lift the precision over the share of bad rows in the whole sample.
    Rows without a cluster or without a label are left out.

    Examples
    --------
    >>> t = QTable({"cluster": [0, 0, 0, 1, 1], "spurious": [True, True, False, False, False]})
    >>> found = inspect(t, label="spurious")
    >>> found.meta["region"]["recall"], found.meta["region"]["size"]
    (1.0, 3)
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold={threshold} is no share; give a number within 0 and 1, such as 0.05")
    table = as_qtable(table)
    cluster = cluster_column(table, cluster)
    require(table, [label, *([] if reason is None else [reason])])
    labels, has = cluster_labels(table, cluster)
    bad, labelled = is_bad(table, label, value)
    use = has & labelled
    if not bad[use].any():
        seen = ", ".join(dict.fromkeys(str(item) for item in np.asarray(table[label])[use][:200]))[:200]
        raise InputError(
            f"no row with a cluster has {value!r} in column {label!r}; say what marks a bad row with value= "
            f"(--value). The column holds: {seen or 'nothing'}"
        )
    clusters, cluster_of = np.unique(labels[use], return_inverse=True)
    sizes = np.bincount(cluster_of)
    bads = np.bincount(cluster_of, weights=bad[use]).astype(np.int64)
    order = np.lexsort((clusters, -bads / sizes))
    sizes, bads, clusters = sizes[order], bads[order], clusters[order]
    in_region = bads / sizes >= threshold
    inspected, found = np.cumsum(sizes), np.cumsum(bads)
    share = bads.sum() / sizes.sum()
    out = QTable()
    add_column(out, "cluster_of", clusters, column=cluster)
    add_column(out, "good", sizes - bads, value=repr(value), column=label)
    add_column(out, "bad", bads, value=repr(value), column=label)
    add_column(out, "size", sizes)
    add_column(out, "bad_fraction", bads / sizes)
    add_column(out, "in_region", in_region, threshold=f"{threshold:g}")
    add_column(out, "inspected_fraction", inspected / sizes.sum())
    add_column(out, "recall", found / bads.sum())
    add_column(out, "precision", found / inspected)
    add_column(out, "lift", found / inspected / share)
    out.meta["region"] = _region(in_region, sizes, bads, clusters, threshold)
    if reason is not None:
        place = np.argsort(order)[cluster_of]
        out.meta["region"]["reasons"] = _add_reasons(out, table, reason, bad & use, place[bad[use]])
    out.meta["rows_left_out"] = int((~use).sum())
    inputs = [cluster, label, *([] if reason is None else [reason])]
    return Step(out, table, inputs=inputs, facts={"row_order": "changed"})


def _add_reasons(
    out: QTable, table: QTable, reason: str, rows: np.ndarray, place: np.ndarray
) -> dict[str, list[int]]:
    """Count the bad rows of each cluster by reason; return how many the region and the sample have."""
    if getattr(table[reason], "shape", (0,))[1:]:
        raise InputError(f"column {reason!r} has several values a row; reasons are one a row")
    texts, nothing = cell_texts(table[reason], len(table))
    given = np.where(nothing, "", texts).astype(str)[rows]
    reasons, counts = np.unique(given, return_counts=True)
    # The commonest first; those without a reason last.
    order = np.lexsort((reasons, -counts, reasons == ""))
    inside = np.asarray(out["in_region"])[place]
    found, taken = {}, set(out.colnames)
    for text in reasons[order].tolist():
        own = given == text
        name = stem = "bad_" + (re.sub(r"\W+", "_", text).strip("_") or "no_reason")
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        per_cluster = np.bincount(place[own], minlength=len(out))
        add_column(out, "bad_of_reason", per_cluster, name=name, value=repr(text), column=reason)
        found[text or "no reason"] = [int(np.count_nonzero(own & inside)), int(np.count_nonzero(own))]
    return found


def _region(
    inside: np.ndarray, sizes: np.ndarray, bads: np.ndarray, clusters: np.ndarray, threshold: float
) -> dict[str, Any]:
    size, found = int(sizes[inside].sum()), int(bads[inside].sum())
    precision = found / size if size else 0.0
    return {
        "clusters": clusters[inside].tolist(),
        "threshold": threshold,
        "size": size,
        "bad": found,
        "recall": found / int(bads.sum()),
        "precision": precision,
        "lift": float(precision / (bads.sum() / sizes.sum())),
    }


def is_bad(table: QTable, label: str, value: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows are bad, and which have a label at all.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    label : str
        Column that tells which rows are bad.
    value : str, number or bool
        What stands there for a bad row.

    Returns
    -------
    tuple of (n,) array of bool and (n,) array of bool
        Which rows are bad, and which have a label.

    Raises
    ------
    InputError
        If the column has several values a row, or holds numbers and the value is none.

    Examples
    --------
    >>> bad, labelled = is_bad(QTable({"class": ["good", "artefact", ""]}), "class", "artefact")
    >>> bad.tolist(), labelled.tolist()
    ([False, True, False], [True, True, False])

    Truth values that a CSV file left as words are understood:

    >>> is_bad(QTable({"spurious": ["True", "False"]}), "spurious", True)[0].tolist()
    [True, False]
    """
    column = table[label]
    if getattr(column, "shape", (0,))[1:]:
        raise InputError(f"column {label!r} has several values a row; labels are one a row")
    data = np.ma.getdata(np.asarray(getattr(column, "unmasked", column)))
    text, nothing = cell_texts(column, len(table))
    asked = truths_of(np.array([str(value)]))
    if data.dtype.kind in "USO":
        words = None if asked is None else truths_of(text[~nothing])
        if words is None:
            return text == str(value), ~nothing
        bad = np.zeros(len(table), dtype=bool)
        bad[~nothing] = words == asked[0]
        return bad, ~nothing
    if isinstance(value, str):
        try:
            value = float(value) if asked is None else bool(asked[0])
        except ValueError as error:
            raise InputError(
                f"column {label!r} holds numbers, and {value!r} is none; give a number"
            ) from error
    return data == value, ~nothing
