"""How many clusters: criteria side by side, and where they disagree."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from astropy.table import QTable
from sklearn.base import BaseEstimator

from astro_cluster.columns import add_column
from astro_cluster.criteria import Work, all_criteria, held_back
from astro_cluster.estimators import default_missing, known_estimators, make_estimator, number_parameter
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import Features, Missing, as_features
from astro_cluster.mixture import GaussianMixture
from astro_cluster.provenance import OMIT, Step, step
from astro_cluster.refitting import Sample, quick_numbers
from astro_cluster.resampling import DISTRUSTED, VALID, checked_seed
from astro_cluster.tables import Source, as_qtable

__all__ = ["CRITERIA", "choose"]


@step
def choose(
    table: Source,
    n: int | Iterable[int] = range(2, 21),
    *,
    estimator: BaseEstimator | str = "gmm",
    features: Features | str | Iterable[str],
    missing: Missing | None = None,
    errors: str | Mapping[Any, str] | None = None,
    held_out: float | None = 0.2,
    bootstrap: int = 20,
    silhouette_sample: int = 2000,
    random_state: int | None = None,
    **parameters: Any,
) -> Step:
    """Compare numbers of clusters by all the usual criteria at once.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Rows to cluster.
    n : int or iterable of int, optional
        Numbers of clusters to try.
    estimator : estimator or str, optional
        As in `cluster`: our mixture, or a method of scikit-learn that is told the number of
        clusters.
    features : `Features`, str or iterable of str
        As in `cluster`.
    missing : {"marginalize", "drop", "median"}, optional
        As in `cluster`.
    errors : "auto" or mapping, optional
        As in `cluster`.
    held_out : float, optional
        Share of the rows that is kept back from a fit and judges it; None for no such test.
    bootstrap : int, optional
        Bootstrap samples for the stability; 0 for no such test.
    silhouette_sample : int, optional
        Rows that the silhouette is taken of, at most; 0 for none.
    random_state : int, optional
        Seed of everything; overrides the estimator's own.  Without any seed one is drawn and
        recorded.
    **parameters
        Parameters of an estimator given by name, but for the number.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each ``n``: ``log_likelihood``, ``mean_log_likelihood`` (per row),
        ``n_parameters``, ``bic``, ``icl``, ``aic`` (all: lower is better), ``silhouette``,
        ``held_out_log_likelihood`` (per row; higher is better), ``held_out_error``, ``jaccard`` of
        each cluster, ``jaccard_min``, ``jaccard_mean``, ``n_valid``, ``n_distrusted``,
        ``smallest_cluster`` and ``converged``.  Masked is what the method does not know.  The
        number that each criterion prefers is in ``meta["preferred"]``, and in words, with the
        disagreements, in ``meta["verdict"]``.

    Raises
    ------
    InputError
        If a number is no whole one, less than 1 or more than there are rows, the method finds
        the number itself, or a share or count is not possible.

    Warns
    -----
    AstroClusterWarning
        If fits did not converge.

    Notes
    -----
    BIC is Schwarz's (1978, Ann. Statist. 6, 461), AIC Akaike's (1974, IEEE Trans. Autom.
    Control 19, 716), both as scikit-learn gives them.  ICL is that of Biernacki, Celeux &
    Govaert (2000, IEEE Trans. Pattern Anal. Mach. Intell. 22, 719) in the form of McLachlan &
    Peel (2000, Finite Mixture Models, ch. 6): BIC plus twice the entropy of the memberships.
    The silhouette is Rousseeuw's (1987, J. Comput. Appl. Math. 20, 53), between two rows in
    the features that both have (Dixon 1979, IEEE Trans. Syst. Man Cybern. 9, 617).

    Held-out: the smallest n whose log-likelihood is within one standard error of the best
    counts as preferred (the one-standard-error rule of Breiman et al. 1984, Classification
    and Regression Trees); the error is that of the rows' paired differences.

    Stability: as in `stability`, by Hennig (2007, Comput. Stat. Data Anal. 52, 258); preferred
    is the largest n of 2 or more with a mean Jaccard similarity of at least 0.75 for every
    cluster.  Where a fit of our mixture takes long (many rows, features and clusters), samples are
    fitted from fewer short runs; the verdict says for which n.
    That may find clusters again less often than `stability`, which takes no short cut.

    The row of an n describes the very clustering that `cluster` finds with the same
    parameters and ``random_state``.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.simulate.chandra(300, random_state=1)
    >>> choice = ac.choose(cat, [2, 3, 4], features="hard_*", bootstrap=5, random_state=42)
    >>> choice["n"].tolist()
    [2, 3, 4]
    >>> sorted(choice.meta["preferred"])
    ['aic', 'bic', 'held_out', 'icl', 'silhouette', 'stability']
    """
    table = as_qtable(table)
    numbers = _checked_numbers(n)
    _check_options(held_out, bootstrap, silhouette_sample)
    template = _template(estimator, parameters, random_state)
    seed = checked_seed(template.get_params().get("random_state", random_state))
    wanted = as_features(features)
    if missing is not None and wanted.missing != missing:
        wanted = dataclasses.replace(wanted, missing=missing)
    if errors is not None:
        wanted = dataclasses.replace(wanted, errors=errors)
    _check_able(template, wanted)
    recipe, matrix = wanted.fit_transform(table, missing=default_missing(template))
    work = Work(template, numbers, Sample(*matrix.used()), seed)
    _check_rows(numbers, len(work.sample), held_out)
    scores = all_criteria(
        work, held_out=held_out, bootstrap=int(bootstrap), silhouette_sample=int(silhouette_sample)
    )
    out = _as_table(numbers, scores)
    out.meta["rows"] = len(work.sample)
    _add_verdict(out, scores)
    if bootstrap and (few := quick_numbers(template, numbers, work.sample)):
        out.meta["verdict"] += (
            f" To save time, samples with n = {_listed(np.array(few))} were clustered from fewer starts."
        )
    return Step(
        out,
        table,
        inputs=recipe.inputs,
        seed=seed,
        facts={
            "recipe": recipe.to_plain(),
            "rows_used": len(work.sample),
            "row_order": "changed",
            "preferred": out.meta["preferred"],
        },
        parameters={
            **dict.fromkeys([*parameters, "errors"], OMIT),  # they stand in the estimator and the features
            "n": numbers,
            "estimator": template,
            "features": wanted,
            "random_state": seed,
        },
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def _checked_numbers(n: Any) -> list[int]:
    """Return the numbers of clusters, each once and in order."""
    if isinstance(n, str) or not (_is_whole(n) or isinstance(n, Iterable)):
        raise InputError(f"n={n!r} gives no numbers of clusters; give some, such as range(2, 21)")
    given = [n] if _is_whole(n) else list(n)
    if not given:
        raise InputError("n is empty: give the numbers of clusters to try, such as range(2, 21)")
    for number in given:
        if not _is_whole(number):
            raise InputError(f"n holds {number!r}, which is no whole number; give some such as range(2, 21)")
        if number < 1:
            raise InputError(f"n holds {number}; a number of clusters is at least 1")
    return sorted({int(number) for number in given})


def _check_options(held_out: float | None, bootstrap: int, silhouette_sample: int) -> None:
    number = isinstance(held_out, (float, int, np.floating)) and not isinstance(held_out, bool)
    if held_out is not None and not (number and 0 < held_out < 1):
        raise InputError(
            f"held_out={held_out!r} is no share of the rows between 0 and 1; give 0.2, say, or None"
        )
    for name, value in (("bootstrap", bootstrap), ("silhouette_sample", silhouette_sample)):
        if not _is_whole(value) or value < 0:
            raise InputError(f"{name}={value!r} is no count; give a whole number, or 0 for no such test")


def _template(
    estimator: BaseEstimator | str, parameters: dict[str, Any], random_state: int | None
) -> BaseEstimator:
    """Return the method; what it holds as its number of clusters is never used."""
    if random_state is not None:
        checked_seed(random_state)
    if isinstance(estimator, str) and (cls := known_estimators().get(estimator.lower())):
        name = number_parameter(cls())
        if name in parameters:
            raise InputError(f"{name} is what is to be chosen: give the numbers to try as n")
        parameters = {**parameters, **({name: 2} if name else {})}
    made = make_estimator(estimator, random_state=random_state, **parameters)
    if number_parameter(made) is None:
        raise InputError(
            f"{type(made).__name__} finds the number of clusters itself, so there is none to choose; cluster "
            "with it and ask for the stability of what it found (ac.stability)"
        )
    return made


def _check_able(template: BaseEstimator, features: Features) -> None:
    if isinstance(template, GaussianMixture):
        return
    if features.missing == "marginalize" or features.errors:
        what = "take measurement errors into account" if features.errors else "integrate missing values out"
        instead = "leave errors out" if features.errors else "use missing='drop' or 'median'"
        raise InputError(
            f"{type(template).__name__} cannot {what}; {instead}, or use our mixture (estimator='gmm')"
        )


def _check_rows(numbers: list[int], rows: int, held_out: float | None) -> None:
    if rows < 2:
        raise InputError(
            f"{rows} row{' is' if rows == 1 else 's are'} usable; clustering needs at least 2. Look at the "
            "features' missing values, or use missing='median'"
        )
    fitted = rows - (held_back(rows, held_out) if held_out is not None else 0)
    needed = max(numbers[-1], 2)
    if needed > fitted:
        kept = f", {rows - fitted} of the {rows} being held out" if fitted < rows else ""
        raise InputError(
            f"n={numbers[-1]} takes {needed} rows, and a fit has {fitted}{kept}; ask for fewer clusters"
            + (" or hold out less" if needed <= rows else "")
        )


# ---------------------------------------------------------------- the answer

_COUNTS = ("n_parameters", "n_valid", "n_distrusted", "smallest_cluster")

CRITERIA = {
    "bic": "BIC",
    "icl": "ICL",
    "aic": "AIC",
    "silhouette": "silhouette",
    "held_out": "held-out",
    "stability": "stability",
}
"""What each entry of ``meta["preferred"]`` is called."""


def _as_table(numbers: list[int], scores: dict[str, np.ndarray]) -> QTable:
    out = QTable()
    add_column(out, "n_tried", np.array(numbers))
    for name, values in scores.items():
        unknown = np.isnan(values)
        if name in _COUNTS:
            values = np.where(unknown, 0, values).astype(np.int64)
        elif name == "converged":
            values = values == 1
        add_column(out, name, values, mask=unknown)
    return out


def _add_verdict(out: QTable, scores: dict[str, np.ndarray]) -> None:
    """Say which n each criterion prefers, and where they disagree."""
    numbers = np.asarray(out["n"])
    found = _preferences(numbers, scores)
    out.meta["preferred"] = {key: n for key, (n, _) in found.items()}
    slow = numbers[scores["converged"] == 0]
    said = [_said(numbers, found), _agreement(numbers, found, scores)]
    if slow.size:
        complaint = f"{_listed(slow)} did not converge: raise max_iter (on the command line --max-iter)"
        said.append(f"n = {complaint}.")
        warnings.warn(f"the fits with n = {complaint}", AstroClusterWarning, stacklevel=4)
    out.meta["verdict"] = " ".join(part for part in said if part)


def _preferences(numbers: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, tuple[int | None, str]]:
    """Return the number that each criterion prefers, with a remark."""
    found: dict[str, tuple[int | None, str]] = {}
    for key, sign in (("bic", 1), ("icl", 1), ("aic", 1), ("silhouette", -1)):
        if not np.isnan(scores[key]).all():
            found[key] = int(numbers[np.nanargmin(sign * scores[key])]), ""
    held_out = scores["held_out_log_likelihood"]
    if not np.isnan(held_out).all():
        best = int(held_out.argmax())
        near = held_out >= held_out[best] - np.nan_to_num(scores["held_out_error"])
        first = int(near.argmax())
        note = f"{numbers[best]} is better by less than one standard error" if first != best else ""
        found["held_out"] = int(numbers[first]), note
    if not np.isnan(scores["jaccard_min"]).all():
        found["stability"] = _stable(numbers, scores)
    return found


def _stable(numbers: np.ndarray, scores: dict[str, np.ndarray]) -> tuple[int | None, str]:
    # One cluster is always found again, which tells nothing; an empty one is not found again.
    stable = numbers[(scores["n_valid"] == numbers) & (numbers > 1)]
    if not stable.size:
        return None, f"at no n do all clusters reach {VALID:g}"
    others = f"; so do they at {_listed(stable[:-1])}" if stable.size > 1 else ""
    return int(stable[-1]), f"all clusters reach {VALID:g}{others}"


def _listed(numbers: np.ndarray) -> str:
    """Return numbers in words: 2–5, 8 and 9."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    parts: list[str] = []
    for run in runs:
        parts += [f"{run[0]}–{run[-1]}"] if len(run) > 2 else [str(number) for number in run]
    return _joined(parts)


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _said(numbers: np.ndarray, found: dict[str, tuple[int | None, str]]) -> str:
    parts = []
    for key, (n, note) in found.items():
        # The stability falls with n anyway; of the others, the best may lie beyond the end.
        beyond = key not in ("stability",) and len(numbers) > 1 and n == numbers[-1]
        notes = [*(["the largest tried"] if beyond else []), *([note] if note else [])]
        shown = "none" if n is None else str(n)
        parts.append(f"{CRITERIA[key]} {shown}" + (f" ({'; '.join(notes)})" if notes else ""))
    return f"{', '.join(parts)}." if parts else "No criterion could be computed."


def _agreement(
    numbers: np.ndarray, found: dict[str, tuple[int | None, str]], scores: dict[str, np.ndarray]
) -> str:
    if len(numbers) == 1:
        return f"Only n = {numbers[0]} was tried, so there was nothing to choose."
    if len(found) < 2:
        return ""
    by_number: dict[int | None, list[str]] = {}
    for key, (n, _) in found.items():
        by_number.setdefault(n, []).append(CRITERIA[key])
    if len(by_number) == 1:
        n = next(iter(by_number))
        return f"They agree on {n}." if n is not None else ""
    parts = []
    for n in sorted(by_number, key=lambda n: (n is None, n)):
        names = _joined(by_number[n])
        poor = 0 if n is None else scores["n_distrusted"][np.searchsorted(numbers, n)]
        note = f" ({poor:.0f} of its {n} clusters below {DISTRUSTED:g})" if poor > 0 else ""
        parts.append(f"{'none' if n is None else n} by {names}{note}")
    return f"The criteria disagree: {'; '.join(parts)}."
