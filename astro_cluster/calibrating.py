"""How honest memberships are where the truth is known, and honest probabilities of the types.

The function `calibration` lives in a module of another name: once imported, a module
``astro_cluster.calibration`` would take the place of ``ac.calibration``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import sklearn
from astropy.stats import binom_conf_interval
from astropy.table import QTable
from astropy.utils import minversion
from scipy.stats import chi2
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold

from astro_cluster.cells import cell_texts
from astro_cluster.columns import add_column, check_free, column_name, require
from astro_cluster.exceptions import InputError
from astro_cluster.provenance import Step, step
from astro_cluster.resampling import checked_seed
from astro_cluster.scoring import Bins, binned, scores_of
from astro_cluster.summary import probability_columns
from astro_cluster.tables import Source, as_qtable, derive, float_values

__all__ = [
    "METHODS",
    "OTHER_TYPES",
    "TypeShares",
    "calibrate",
    "calibration",
]

METHODS = ("isotonic", "temperature")
OTHER_TYPES = "other types"
FOLDS = 5
LEAST = 2 * FOLDS
"""Labelled rows that a type needs: folds are made within folds."""

_T_ROWS = 4000
_LOG_T = np.linspace(-1.5, 4.5, 61)
_TINY = 1e-300
Method = Literal["isotonic", "temperature"]


# ---------------------------------------------------------------- from memberships to types


def _softened(memberships: np.ndarray, temperature: float) -> np.ndarray:
    """Return the memberships to the power of 1/T, the sum of each row 1."""
    logs = np.log(np.maximum(memberships, _TINY)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _shares(memberships: np.ndarray, types: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Return the likeliest share of each type in each component, by EM.

    Each component gets one row more, with the types of the whole sample: a component
    without labelled rows has shares too, and no share is 0.
    """
    indicator = np.eye(types.max() + 1)[types]
    prior = indicator.mean(axis=0)
    responsibility, shares = memberships, start
    for _ in range(500):
        if shares is not None:
            responsibility = memberships * shares.T[types]
            responsibility = responsibility / np.maximum(responsibility.sum(axis=1, keepdims=True), _TINY)
        counted = responsibility.T @ indicator + prior
        new = counted / counted.sum(axis=1, keepdims=True)
        if shares is not None and np.abs(new - shares).max() < 1e-4:
            return new
        shares = new
    return shares


def _profile(memberships: np.ndarray, types: np.ndarray, log_ts: np.ndarray) -> np.ndarray:
    """Return minus the log-likelihood at each temperature, the shares being the likeliest there."""
    some = slice(None, None, -(-len(types) // _T_ROWS))  # one number needs no more rows
    memberships, types = memberships[some], np.unique(types[some], return_inverse=True)[1]
    shares: np.ndarray | None = None
    losses = []
    for log_t in log_ts:
        softened = _softened(memberships, np.exp(log_t))
        shares = _shares(softened, types, shares)
        found = (softened * shares.T[types]).sum(axis=1)
        # The last term keeps T at 1 where the data say nothing about it, as with hard memberships.
        losses.append(-np.log(np.maximum(found, _TINY)).sum() + (log_t / 3) ** 2 / 2)
    return np.array(losses)


def _best_temperature(memberships: np.ndarray, types: np.ndarray) -> float:
    """Return the likeliest temperature, to five per cent."""
    # The likelihood may have several maxima: first all over, then close to the best.
    coarse = _LOG_T[::5]
    near = coarse[_profile(memberships, types, coarse).argmin()] + 0.1 * np.arange(-4, 5)
    return float(np.exp(near[_profile(memberships, types, near).argmin()]))


def _temperature_interval(memberships: np.ndarray, types: np.ndarray) -> dict[str, Any]:
    """Return the likeliest temperature and its 95 % interval, by the ratio of likelihoods."""
    losses = _profile(memberships, types, _LOG_T)
    inside = _LOG_T[losses <= losses.min() + chi2.ppf(0.95, 1) / 2]
    return {
        "temperature": float(np.exp(_LOG_T[losses.argmin()])),
        "temperature_interval": [float(np.exp(inside.min())), float(np.exp(inside.max()))],
    }


class TypeShares(ClassifierMixin, BaseEstimator):
    """Types from memberships: the share of each type in each component.

    The probability of type c is the sum over the components k of the membership in k times
    the share of c in k.  The shares are those of greatest likelihood (Miller & Uyar 1997, NIPS
    9, 571), since merely counting types, weighted by the memberships, would blur them twice.

    Parameters
    ----------
    soften : bool, optional
        Fit a temperature too: memberships to the power of 1/T, for mixtures are often too
        sure of themselves.
    pure : bool, optional
        Take every component to hold its commonest type alone.

    Attributes
    ----------
    classes_ : (C,) array
        Types.
    shares_ : (K, C) array
        Share of each type in each component.
    temperature_ : float
        T; 1 without ``soften``.

    Examples
    --------
    >>> model = TypeShares().fit(np.eye(2)[[0, 0, 0, 1]], ["QSO", "QSO", "Star", "Star"])
    >>> model.shares_.round(2)
    array([[0.62, 0.38],
           [0.25, 0.75]])
    """

    def __init__(self, *, soften: bool = False, pure: bool = False) -> None:
        self.soften = soften
        self.pure = pure

    def fit(self, X: np.ndarray, y: Any) -> TypeShares:
        """Estimate the shares.

        Parameters
        ----------
        X : (n, K) array
            Memberships.
        y : (n,) array
            Type of each row.

        Returns
        -------
        TypeShares
        """
        self.classes_, types = np.unique(y, return_inverse=True)
        self.temperature_ = _best_temperature(X, types) if self.soften else 1.0
        self.shares_ = _shares(_softened(X, self.temperature_), types)
        if self.pure:
            self.shares_ = np.eye(len(self.classes_))[self.shares_.argmax(axis=1)]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probability of each type.

        Parameters
        ----------
        X : (n, K) array
            Memberships.

        Returns
        -------
        (n, C) array
        """
        found = _softened(X, self.temperature_) @ self.shares_
        return found / found.sum(axis=1, keepdims=True)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the likeliest type.

        Parameters
        ----------
        X : (n, K) array
            Memberships.

        Returns
        -------
        (n,) array
        """
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


# ---------------------------------------------------------------- what the table says


@dataclass(frozen=True, slots=True)
class _Known:
    """The memberships of a table and the types that are known."""

    columns: list[str]
    memberships: np.ndarray  # (n, K), of all rows
    usable: np.ndarray  # (n,), which rows have them
    types: list[str]
    of: np.ndarray  # (n,), number of the type, or -1
    rows_of_rare_types: int

    @property
    def labelled(self) -> np.ndarray:
        return self.of >= 0


def _memberships(table: QTable, prefix: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the columns, the values and which rows have all of them."""
    columns = probability_columns(table, f"{prefix}cluster")
    if not columns:
        # The columns of `calibrate` look like memberships too.
        others = sorted({m[1] for n in table.colnames if (m := re.fullmatch(r"(.*(?<!type_))prob_0", n))})
        hint = "cluster the table first, with a method that gives probabilities, such as 'gmm'"
        if others:
            hint = f"give prefix={' or '.join(map(repr, others))}"
        raise InputError(f"there are no memberships {prefix}prob_0, {prefix}prob_1 …; {hint}")
    values = np.column_stack([float_values(table[name]) for name in columns])
    usable = ~np.isnan(values).any(axis=1)
    sums = values.sum(axis=1)
    if (wrong := usable & ((values < 0).any(axis=1) | (np.abs(sums - 1) > 0.01))).any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"the columns {columns[0]} … {columns[-1]} are no probabilities: in row {row} the least is "
            f"{values[row].min():.4g} and their sum {sums[row]:.4g}; all of {prefix}prob_0 … must be there, "
            "none below 0, with the sum 1"
        )
    values[usable] /= sums[usable, np.newaxis]
    return columns, values, usable


def _known(table: QTable, labels: str, prefix: str, least: int) -> _Known:
    """Return the memberships of the rows and their types."""
    require(table, labels)
    if isinstance(least, bool) or not isinstance(least, (int, np.integer)) or least < LEAST:
        raise InputError(
            f"least={least!r} is too small; {FOLDS} folds within {FOLDS} folds need {LEAST} or more"
        )
    if getattr(table[labels], "shape", (0,))[1:]:
        raise InputError(f"column {labels!r} has several values a row; types are one a row")
    columns, values, usable = _memberships(table, prefix)
    texts, nothing = cell_texts(table[labels], len(table))
    known = usable & ~nothing
    names, number, counts = np.unique(texts[known].astype(str), return_inverse=True, return_counts=True)
    if len(names) == 1:
        raise InputError(
            f"column {labels!r} has one type only, {str(names[0])!r}, in the rows with memberships; to judge "
            "probabilities takes at least 2"
        )
    types, of_name = _types(names, counts, least)
    if len(types) < 2:
        common = int((counts >= least).sum())
        raise InputError(
            f"{int(known.sum())} rows have both memberships and a type in column {labels!r}, and "
            f"{common or 'none'} of the {len(names)} types has {least} rows; at least 2 such types are "
            "needed (match with a larger catalogue, or put types together)"
        )
    of = np.full(len(table), -1)
    of[known] = of_name[number]
    return _Known(columns, values, usable, types, of, int(counts[of_name < 0].sum()))


def _types(names: np.ndarray, counts: np.ndarray, least: int) -> tuple[list[str], np.ndarray]:
    """Return the types to tell apart, and the number of each name's type.

    Rare ones are put together; the number is -1 if they are too few even so.
    """
    rare = counts < least
    types = [str(name) for name in names[~rare]]
    of_name = np.full(len(names), -1)
    of_name[~rare] = np.arange(len(types))
    if counts[rare].sum() >= least:
        if OTHER_TYPES not in types:
            types.append(OTHER_TYPES)
        of_name[rare] = types.index(OTHER_TYPES)
    return types, of_name


# ---------------------------------------------------------------- folds


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise InputError(f"method={method!r} is not known; give {' or '.join(map(repr, METHODS))}")
    if method == "temperature" and not minversion(sklearn, "1.8"):
        raise InputError(
            f"method='temperature' needs scikit-learn 1.8 or newer, and {sklearn.__version__} is installed: "
            "update it (pip install -U scikit-learn) or give method='isotonic'"
        )


def _model(method: str | None, seed: int, *, pure: bool = False) -> BaseEstimator:
    if method is None:
        return TypeShares(pure=pure)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    # One calibrator on all out-of-fold rows: of rare types, a fifth of the rows would be too few.
    return CalibratedClassifierCV(TypeShares(soften=True), method=method, cv=folds, ensemble=False)


def _by_folds(known: _Known, model: BaseEstimator, seed: int) -> np.ndarray:
    """Return the probability of each type, from models that did not see the row's type.

    A row without a type gets the mean over the models.  NaN where there are no memberships.
    """
    rows = np.flatnonzero(known.labelled)
    X, y = known.memberships[rows], known.of[rows]
    others = np.flatnonzero(known.usable & ~known.labelled)
    found = np.full((len(known.of), len(known.types)), np.nan)
    found[others] = 0.0
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(X, y):
        model.fit(X[train], y[train])
        found[rows[test]] = model.predict_proba(X[test])
        if len(others):
            found[others] += model.predict_proba(known.memberships[others]) / FOLDS
    return found


@step
def calibration(
    table: Source,
    labels: str,
    *,
    prefix: str = "",
    bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
    method: Method | None = None,
    pure: bool = False,
    least: int = LEAST,
    random_state: int | None = None,
) -> Step:
    """Judge memberships by the types that are known: how honest are they.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A clustered table with membership probabilities.
    labels : str
        Column of true types (``main_type``, a class …); rows without one are left out.
    prefix : str, optional
        Prefix of the clustering: its memberships are ``<prefix>prob_0`` …
    bins : int, optional
        Number of bins of probability.
    strategy : {"uniform", "quantile"}, optional
        Bins of the same width, or with the same number of rows; equal probabilities share a
        bin, so that there may be fewer.
    method : {"isotonic", "temperature"}, optional
        Judge what `calibrate` makes of the memberships, not the memberships as they are.
    pure : bool, optional
        Judge as if every component held its commonest type alone, as one does who calls
        cluster 3 the quasars and reads ``prob_3`` as the probability of a quasar.
    least : int, optional
        Types of fewer labelled rows are put together as "other types".
    random_state : int, optional
        Seed of the folds.  Without one it is drawn and recorded.

    Returns
    -------
    `~astropy.table.QTable`
        A row a bin: ``lower``, ``upper``, ``count``, ``mean_confidence``, ``accuracy`` and the
        95 % interval of that, ``accuracy_lower`` and ``accuracy_upper``; masked where a bin has
        no row.  Its meta has the ``ece``, ``ece_if_honest``, ``brier``, ``log_loss``, ``temperature``
        and so on.

    Raises
    ------
    InputError
        If there are no memberships, or fewer than two types with enough rows.

    See Also
    --------
    calibrate : Make them honest.
    plotting.plot_reliability : The bins as a figure.

    Notes
    -----
    The probability of type c in a row is the sum over the components k of ``prob_k`` times the
    share of type c in component k.  The shares are those of greatest likelihood (Miller & Uyar
    1997, NIPS 9, 571) and come from four fifths of the labelled rows at a time; the last fifth is
    judged, so that no row judges itself.

    Confidence is the probability of the likeliest type, accuracy the share of rows that are
    of it.  ``ece`` is the expected calibration error, the mean distance of the two over the rows
    (Guo et al. 2017, arXiv:1706.04599), and ``ece_if_honest`` what it would be by the chance of
    so few rows alone (after Bröcker & Smith 2007, Weather and Forecasting 22, 651).  ``brier`` is
    the sum over the types of the squared error, from 0 to 2 (Brier 1950), ``log_loss`` is in
    nats.  ``accuracy_blind`` and ``log_loss_blind`` are of one who knows only how common each type
    is: honest probabilities that are no better than these say nothing.  The intervals are those
    of Wilson (1927, JASA 22, 209).

    ``temperature`` is what the shares alone cannot mend: the types would be likeliest if the
    memberships were taken to the power of 1/T.  1 is honest, 3 is far too sure;
    ``temperature_interval`` holds it in 95 of 100 cases.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> p = rng.uniform(size=2000)
    >>> truth = np.where(rng.uniform(size=2000) < p, "QSO", "Star")
    >>> t = QTable({"prob_0": p, "prob_1": 1 - p, "main_type": truth})
    >>> found = calibration(t, "main_type", random_state=1)
    >>> found.meta["ece"] < 0.03
    True
    """
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 1:
        raise InputError(f"bins={bins!r} is no number of bins; give a whole number from 1, such as 10")
    if strategy not in ("uniform", "quantile"):
        raise InputError(f"strategy={strategy!r} is not known; give 'uniform' or 'quantile'")
    if method is not None:
        _check_method(method)
        if pure:
            raise InputError("pure=True judges the memberships as they are; leave method= out")
    table, seed = as_qtable(table), checked_seed(random_state)
    known = _known(table, labels, prefix, least)
    found, types = (
        _by_folds(known, _model(method, seed, pure=pure), seed)[known.labelled],
        known.of[known.labelled],
    )
    sums = binned(found, types, int(bins), strategy)
    out = _bin_table(sums)
    out.meta |= scores_of(found, types, sums)
    out.meta |= _temperature_interval(known.memberships[known.labelled], types)
    out.meta |= {
        "rows": len(types),
        "rows_left_out": len(table) - len(types),
        "rows_of_rare_types": known.rows_of_rare_types,
        "types": known.types,
    }
    return Step(
        out,
        table,
        inputs=[labels, *known.columns],
        seed=seed,
        facts={"row_order": "changed"},
        parameters={"random_state": seed},
    )


def _bin_table(sums: Bins) -> QTable:
    empty = sums.count == 0
    n = np.maximum(sums.count, 1)
    low, high = binom_conf_interval(sums.right, n, confidence_level=0.95, interval="wilson")
    out = QTable()
    add_column(out, "bin_lower", sums.edges[:-1])
    add_column(out, "bin_upper", sums.edges[1:])
    add_column(out, "count", sums.count)
    add_column(out, "mean_confidence", sums.confidence / n, mask=empty)
    add_column(out, "accuracy", sums.right / n, mask=empty)
    add_column(out, "accuracy_lower", low, mask=empty)
    add_column(out, "accuracy_upper", high, mask=empty)
    return out


@step
def calibrate(
    table: Source,
    labels: str,
    *,
    method: Method = "isotonic",
    prefix: str = "",
    each: bool = False,
    least: int = LEAST,
    random_state: int | None = None,
    overwrite: bool = False,
) -> Step:
    """Turn memberships into honest probabilities of the types.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A clustered table with membership probabilities.
    labels : str
        Column of true types; rows without one get a type all the same.
    method : {"isotonic", "temperature"}, optional
        How scikit-learn's `~sklearn.calibration.CalibratedClassifierCV` makes them honest.
        Isotonic regression follows any shape and needs a thousand labelled rows or so;
        temperature scaling has one number to fit (scikit-learn 1.8 or newer).
    prefix : str, optional
        Prefix of the clustering: its memberships are ``<prefix>prob_0`` …; put before the new
        columns too.
    each : bool, optional
        Add a column for each type, ``type_prob_0`` …, in alphabetical order.
    least : int, optional
        Types of fewer labelled rows are put together as "other types".
    random_state : int, optional
        Seed of the folds.  Without one it is drawn and recorded.
    overwrite : bool, optional
        Replace columns of the same names.

    Returns
    -------
    `~astropy.table.QTable`
        The same rows with the new columns ``type_label``, the likeliest type by the memberships,
        and ``type_prob``, its probability; masked in rows without memberships.

    Raises
    ------
    InputError
        If there are no memberships, fewer than two types with enough rows, or a new column's
        name is taken.

    See Also
    --------
    calibration : How honest they are, before and after.

    Notes
    -----
    The memberships are softened by a temperature and mixed by the share of each type in
    each component, as described for `calibration`, and then calibrated.  All of this is fitted on
    four fifths of the labelled rows at a time.  A labelled row gets the probabilities of
    the one model that did not see its type, so that they can be compared with the type; a
    row without a type gets the mean over the models.

    The probabilities are those of a row like the labelled ones.  Where bright sources alone have
    a type, say, those of faint ones are guesses.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> p = rng.uniform(size=500)
    >>> truth = np.where(rng.uniform(size=500) < p, "QSO", "Star")
    >>> t = QTable({"prob_0": p, "prob_1": 1 - p, "main_type": truth})
    >>> out = calibrate(t, "main_type", random_state=1)
    >>> out.colnames[-2:], out["type_label"][p > 0.9].tolist().count("Star")
    (['type_label', 'type_prob'], 0)
    """
    _check_method(method)
    table, seed = as_qtable(table), checked_seed(random_state)
    known = _known(table, labels, prefix, least)
    new = [column_name(key, prefix=prefix) for key in ("type_label", "type_prob")]
    new += [column_name("type_prob_each", prefix=prefix, index=i) for i in range(len(known.types)) if each]
    check_free(table, new, overwrite=overwrite)
    found = _by_folds(known, _model(method, seed), seed)
    out = derive(table)
    if overwrite:  # all of the old columns, which may have been of more types
        old = re.compile(re.escape(prefix) + r"type_(label|prob|prob_\d+)")
        out.remove_columns([name for name in out.colnames if old.fullmatch(name)])
    none = ~known.usable
    filled = np.where(none[:, np.newaxis], 0.0, found)
    words = {"prefix": prefix, "mask": none, "column": labels, "method": method}
    add_column(out, "type_label", np.array(known.types)[filled.argmax(axis=1)], **words)
    add_column(out, "type_prob", np.minimum(filled.max(axis=1), 1.0), **words)
    for i, name in enumerate(known.types if each else []):
        add_column(out, "type_prob_each", filled[:, i], index=i, prefix=prefix, mask=none, type=name)
    return Step(
        out,
        table,
        inputs=[labels, *known.columns],
        seed=seed,
        facts={"types": known.types, **_before_and_after(known, found, seed)},
        parameters={"random_state": seed},
    )


def _before_and_after(known: _Known, after: np.ndarray, seed: int) -> dict[str, Any]:
    """Return the scores of the labelled rows, as `calibration` gives them."""
    rows, types = known.labelled, known.of[known.labelled]
    both = {"before": _by_folds(known, _model(None, seed), seed)[rows], "after": after[rows]}
    return {name: scores_of(p, types, binned(p, types, 10, "uniform")) for name, p in both.items()}
