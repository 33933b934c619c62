"""Which columns rise or fall with which coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from astropy.table import QTable
from scipy.stats import false_discovery_control

from astro_cluster.artefacts.material import latent_columns
from astro_cluster.columns import add_column
from astro_cluster.exceptions import InputError
from astro_cluster.provenance import Step, step
from astro_cluster.relating.catalogue import Value, names_in, numbers_in, values_of, warn_of_nulls
from astro_cluster.relating.objects import distinct_rows, objects_in
from astro_cluster.relating.ranks import bootstrap_spread, fisher_spread, interval_of, p_values, spearman
from astro_cluster.resampling import checked_seed
from astro_cluster.tables import Source, as_qtable

__all__ = ["INTERVALS", "rank_correlations"]

INTERVALS = ("bootstrap", "fisher")
Interval = Literal["bootstrap", "fisher"]

_FEWEST = 4  # rows that have a correlation with an uncertainty


@dataclass
class _Block:
    """Pairs that are known in the very same rows, so that their ranks are found together."""

    rows: np.ndarray
    pairs: list[tuple[int, int]] = field(default_factory=list)


def _against(table: QTable, against: str | Iterable[str]) -> tuple[list[str], list[str], np.ndarray]:
    """Return the names of components, the column of each, and their values, (n, d)."""
    if isinstance(against, str) and against == "auto":
        found = latent_columns(table)
        if not found:
            raise InputError(
                "the table has no coordinates of an embedding to correlate with: embed it first (embed), or "
                "name columns with against= (--against), such as 'reconstruction_error'"
            )
        against = found
    names: list[str] = []
    columns: list[str] = []
    parts: list[np.ndarray] = []
    for column in names_in(table, against, "column to correlate with"):
        numbers = numbers_in(table, column)
        vector = numbers.ndim == 2
        parts.append(numbers if vector else numbers[:, np.newaxis])
        names += [f"{column}[{i}]" for i in range(numbers.shape[1])] if vector else [column]
        columns += [column] * parts[-1].shape[1]
    return names, columns, np.column_stack(parts)


def _blocks(values: list[Value], x: np.ndarray, objects: np.ndarray) -> list[_Block]:
    """Return the pairs by the rows that they are known in; repeats of an object are left out."""
    found: dict[bytes, _Block] = {}
    known_x = ~np.isnan(x)
    patterns = np.unique(known_x, axis=1, return_inverse=True)[1].ravel()
    repeated = len(np.unique(objects)) < len(objects)
    for v, value in enumerate(values):
        has = ~np.isnan(value.values)
        for pattern in np.unique(patterns):
            components = np.flatnonzero(patterns == pattern)
            rows = np.flatnonzero(has & known_x[:, components[0]])
            if repeated and len(rows):
                rows = rows[distinct_rows(objects[rows], x[rows][:, components], value.values[rows])]
            block = found.setdefault(rows.tobytes(), _Block(rows))
            block.pairs += [(v, int(component)) for component in components]
    return list(found.values())


def _fill(
    out: dict[str, np.ndarray],
    block: _Block,
    values: list[Value],
    x: np.ndarray,
    objects: np.ndarray,
    how: dict[str, Any],
) -> None:
    """Put the correlations of one block where they belong."""
    rows = block.rows
    columns = sorted({v for v, _ in block.pairs})
    components = sorted({c for _, c in block.pairs})
    at_v, at_c = {v: i for i, v in enumerate(columns)}, {c: i for i, c in enumerate(components)}
    n = len(np.unique(objects[rows]))
    for pair in block.pairs:
        out["count"][pair] = n
        out["left_out"][pair] = np.count_nonzero(np.isnan(values[pair[0]].values) | np.isnan(x[:, pair[1]]))
    if n < _FEWEST:
        return
    first, second = x[np.ix_(rows, components)], np.column_stack([values[v].values[rows] for v in columns])
    rho = spearman(first, second)
    if how["interval"] == "fisher":
        spread = fisher_spread(rho, n)
    else:
        spread = bootstrap_spread(first, second, objects[rows], how["samples"], how["seed"])
    low, high = interval_of(rho, spread)
    p = p_values(rho, n)
    for v, c in block.pairs:
        here = at_c[c], at_v[v]
        for key, found in (("rho", rho), ("rho_lower", low), ("rho_upper", high), ("p_value", p)):
            out[key][v, c] = found[here]


@step
def rank_correlations(
    table: Source,
    columns: str | Iterable[str],
    *,
    against: str | Iterable[str] = "auto",
    missing: Mapping[str, float] | None = None,
    interval: Interval = "bootstrap",
    samples: int = 500,
    objects: str | None = None,
    random_state: int | None = None,
) -> Step:
    """Correlate the ranks of columns with those of latent coordinates, or of other columns.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows with coordinates from `embed` and columns of a catalogue (`crossmatch`).
    columns : str or iterable of str
        Numeric columns: names and patterns, ``"Z,M_I,BI_*"``.  One with several values a row counts as so
        many.
    against : "auto", str or iterable of str, optional
        Columns to correlate them with, component by component: those of the latest embedding, or
        ``"latent"``, ``"reconstruction_error"`` and so on.
    missing : mapping of str to float, optional
        Numbers that mean that there is no value, ``{"BAL_PROB": -1}``.
    interval : {"bootstrap", "fisher"}, optional
        How the uncertainty is found: by bootstrap samples of the objects, or by the formula of Bonett &
        Wright, which takes the two for normal but for a monotonic change.
    samples : int, optional
        How many bootstrap samples.
    objects : str, optional
        Column of identifiers: rows with the same one are of one object.  If not given, the main
        identifier (UCD ``meta.id;meta.main``) or ``source_id``.  Rows with the same latent coordinates
        are of one object in any case.
    random_state : int, optional
        Seed of the samples.  Without one it is drawn and recorded.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each pair: ``column``, ``against``, ``count`` (objects), ``left_out`` (rows without one
        of the two), ``rho``, the 95 % interval of that (``rho_lower``, ``rho_upper``), ``p_value`` and
        ``fdr``.  Masked are pairs of fewer than four objects, and of which one is the same in all rows.

    Raises
    ------
    InputError
        If a column is missing or not numeric, there is nothing to correlate with, or an option is not known.

    Warns
    -----
    AstroClusterWarning
        Columns in which a number such as -1 looks as if it meant that there is none.

    See Also
    --------
    predictability : What all coordinates together know of a column, whatever the form of the relation.

    Notes
    -----
    Spearman's rho is the correlation of the mid-ranks: 1 if one rises wherever the other does.  The
    interval is tanh(z ± 1.96 s) with z = artanh(rho); s is the standard deviation of z over samples of the
    objects, drawn with replacement, or sqrt((1 + rho²/2) / (N - 3)) (Bonett & Wright 2000, Psychometrika 65,
    23).  ``p_value`` is that of Student's t, of both sides; ``fdr`` adjusts it for all pairs of the table
    (Benjamini & Hochberg 1995, JRSS B 57, 289).

    Rows of an object that repeat all values of a pair are counted once.  Rows of one object that differ are
    all used, are drawn together, and count as one in ``p_value`` and in the formula.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> latent = rng.normal(size=(400, 2))
    >>> t = QTable({"latent": latent, "Z": 2.3 + 0.2 * np.tanh(latent[:, 1])})
    >>> found = rank_correlations(t, "Z", random_state=1)
    >>> found["column", "against", "count", "rho", "rho_lower", "rho_upper", "fdr"].pprint()
    column  against  count   rho   rho_lower rho_upper  fdr
    ------ --------- ----- ------- --------- --------- -----
         Z latent[0]   400 -0.0280   -0.1235    0.0680 0.577
         Z latent[1]   400  1.0000    1.0000    1.0000     0
    """
    table, seed = as_qtable(table), checked_seed(random_state)
    if interval not in INTERVALS:
        raise InputError(f"interval={interval!r} is not known; give one of {', '.join(INTERVALS)}")
    if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples < 20:
        raise InputError(f"samples={samples!r} are too few; give 20 bootstrap samples or more, such as 500")
    names, origins, x = _against(table, against)
    kinds: dict[str, Any] = dict.fromkeys(names_in(table, columns), "number")
    values = values_of(table, columns, missing=missing, kinds=kinds)
    warn_of_nulls(values, missing, stacklevel=4)
    pairs = [(v, c) for v in range(len(values)) for c in range(len(names)) if values[v].name != names[c]]
    if not pairs:
        raise InputError(f"{values[0].name} is to be correlated with itself alone; name others")
    of, told_by = objects_in(table, dict.fromkeys(origins), objects)
    shape = len(values), len(names)
    found: dict[str, np.ndarray] = {key: np.zeros(shape, dtype=np.int64) for key in ("count", "left_out")}
    found |= {key: np.full(shape, np.nan) for key in ("rho", "rho_lower", "rho_upper", "p_value")}
    how = {"interval": interval, "samples": int(samples), "seed": seed}
    for block in _blocks(values, x, of):
        _fill(found, block, values, x, of, how)
    out = _as_table(found, pairs, [value.name for value in values], names)
    used = dict.fromkeys([*(value.column for value in values), *origins, *told_by])
    facts = {"row_order": "changed", "objects": len(np.unique(of))}
    return Step(out, table, inputs=list(used), seed=seed, facts=facts, parameters={"random_state": seed})


def _as_table(
    found: dict[str, np.ndarray], pairs: list[tuple[int, int]], columns: list[str], names: list[str]
) -> QTable:
    at = tuple(np.array(pairs).T)
    out = QTable()
    add_column(out, "related_column", np.array(columns)[at[0]])
    add_column(out, "related_against", np.array(names)[at[1]])
    add_column(out, "related_objects", found["count"][at])
    add_column(out, "related_left_out", found["left_out"][at])
    for key in ("rho", "rho_lower", "rho_upper"):
        add_column(out, key, np.nan_to_num(found[key][at]), mask=np.isnan(found[key][at]))
    p = found["p_value"][at]
    known = ~np.isnan(p)
    fdr = np.zeros(len(p))
    if known.any():
        fdr[known] = false_discovery_control(p[known])
    add_column(out, "rho_p_value", np.nan_to_num(p), mask=~known)
    add_column(out, "rho_fdr", fdr, mask=~known)
    return out
