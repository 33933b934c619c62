"""Rows that stand apart: badly reconstructed, or alone among the latent coordinates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.artefacts.material import latent_columns, material_of
from astro_cluster.artefacts.ranking import order_of
from astro_cluster.columns import add_column, check_free, column_name, require
from astro_cluster.exceptions import InputError
from astro_cluster.features import Features
from astro_cluster.provenance import Step, step
from astro_cluster.relating.catalogue import names_in, without_infinite
from astro_cluster.relating.objects import same_rows
from astro_cluster.relating.strangeness import (
    FEWEST,
    METHODS,
    Method,
    against_alike,
    log_densities,
    suspicion_by,
)
from astro_cluster.resampling import checked_seed
from astro_cluster.tables import Source, as_qtable, derive, float_values

__all__ = ["outliers"]

_CHI2 = ("reconstruction_chi2", "reconstruction_error")
_KEYS = ("outlier_score", "inspection_rank", "outlier_reason")
_WORDS = {
    "neighbours": "the mean distance to 10 neighbours",
    "mixture": "a mixture of Gaussians fitted to the less lonely nine tenths",
}


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What there is to find outliers by."""

    X: np.ndarray | None  # (n, d) features, NaN in rows without
    told_by: np.ndarray | None  # (n, l) coordinates that no two spectra share
    features: list[str]
    called: str
    chi2: np.ndarray | None  # (n,)
    given: np.ndarray | None  # (n,)
    inputs: list[str]

    def once(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that do not repeat another one, and the number of each row among them."""
        n = len(next(part for part in (self.X, self.chi2) if part is not None))
        if self.told_by is None:  # equal numbers are no sign of one object
            return np.arange(n), np.arange(n)
        parts = [self.told_by, self.X, self.chi2, self.given]
        number = same_rows(np.column_stack([part for part in parts if part is not None]))
        alone = np.isnan(self.told_by).any(axis=1)
        number[alone] = n + np.flatnonzero(alone)
        number = np.unique(number, return_inverse=True)[1].ravel()
        return np.unique(number, return_index=True)[1], number

    def badness(self, rows: np.ndarray) -> np.ndarray | None:
        """Return how bad reconstructions are, on a scale on which the tail is not too long."""
        if self.chi2 is None:
            return None
        values = self.chi2[rows]
        if self.given is not None:
            return against_alike(values, self.given[rows])
        above = values[values > 0]
        if not len(above) or np.nanmin(values) < 0:
            return values
        return np.log(np.where(values == 0, above.min(), values))  # one 0 must not change the scale of all


def _chi2_column(table: QTable, chi2: str | None) -> str | None:
    if chi2 is None:
        return None
    if chi2 != "auto":
        return require(table, chi2)[0]
    # With the prefix of the latest embedding, too.
    for wanted in _CHI2:
        found = [name for name in table.colnames if name == wanted or name.endswith(f"_{wanted}")]
        if found:
            return wanted if wanted in found else found[-1]
    return None


def _recipe(table: QTable, features: Features | str | Iterable[str] | None) -> Any:
    """Return the features; plain columns of several units are put on one scale that outliers do not move."""
    if features is None or isinstance(features, Features):
        return features
    if isinstance(features, str) and features == "auto":
        return latent_columns(table) or None
    names = names_in(table, features, "feature")
    vector = len(names) == 1 and len(table[names[0]].shape) == 2
    return Features(names, scale="none" if vector else "robust")


def _one_a_row(table: QTable, name: str, what: str) -> np.ndarray:
    values = float_values(table[name])
    if values.ndim != 1:
        raise InputError(f"column {name!r} has several values a row; {what}= takes one a row")
    if np.isnan(values).all():
        raise InputError(
            f"column {name!r} has no value in any row; give another with {what}=, or {what}=None"
        )
    largest = np.finfo(float).max  # what is infinite is the worst of all
    return np.clip(values, -largest, largest)


def _evidence(
    table: QTable, features: Features | str | Iterable[str] | None, chi2: str | None, given: str | None
) -> _Evidence:
    name, recipe = _chi2_column(table, chi2), _recipe(table, features)
    if name is None and recipe is None:
        raise InputError(
            "there is nothing to find outliers by: embed the table first (embed, which makes latent and "
            "reconstruction_chi2), or name columns with features= (--features) or chi2= (--chi2)"
        )
    if given is not None and name is None:
        raise InputError(
            f"given={given!r}: there are no reconstructions to compare there; name them with chi2="
        )
    numbers = None if name is None else _one_a_row(table, name, "chi2")
    alike = None if given is None else _one_a_row(table, require(table, given)[0], "given")
    inputs = [column for column in (name, given) if column is not None]
    own, called, X = [], "", None
    if recipe is not None:
        material = material_of(without_infinite(table, recipe), recipe, quality=False)
        X, own, called = material.latent, material.latent_columns, material.latent_name
        inputs = [*material.inputs, *inputs]
    vectors = [column for column in own or latent_columns(table) if len(table[column].shape) == 2]
    told_by = np.column_stack([float_values(table[column]) for column in vectors]) if vectors else None
    return _Evidence(X, told_by, own, called, numbers, alike, list(dict.fromkeys([*inputs, *vectors])))


@step
def outliers(
    table: Source,
    *,
    features: Features | str | Iterable[str] | None = "auto",
    chi2: str | None = "auto",
    given: str | None = None,
    method: Method = "neighbours",
    weight: float = 0.5,
    prefix: str = "",
    random_state: int | None = None,
    overwrite: bool = False,
) -> Step:
    """Find outliers: rows that a model reconstructs badly, or that are alone in its latent coordinates.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows, from `embed`.
    features : "auto", `Features`, str, iterable of str or None, optional
        Columns whose density tells how lonely a row is: those of the latest embedding, or others; None
        for none.  Plain columns are put on a scale by their median and quartiles, coordinates of an
        embedding are taken as they are.
    chi2 : "auto", str or None, optional
        Column that is large where the reconstruction is bad: ``reconstruction_chi2``, else
        ``reconstruction_error``, or another; None for none.
    given : str, optional
        Column such as ``snr_median``: the reconstruction of a row is then compared with that of the fifty
        rows with the nearest value there.  Without it, bright objects are outliers, for what a model does
        not know shows the more the less noise there is.
    method : {"neighbours", "mixture"}, optional
        How to measure the density: by the mean distance to ten neighbours, or by a mixture of one to five
        Gaussians.
    weight : float, optional
        Weight of the density in the score, from 0 to 1; the reconstruction has the rest.
    prefix : str, optional
        Put before the new columns.
    random_state : int, optional
        Seed of the method.  Without one it is drawn and recorded.
    overwrite : bool, optional
        Replace columns of the same names.

    Returns
    -------
    `~astropy.table.QTable`
        The same rows with the new columns ``latent_log_density`` (named after the column of features, or
        ``features_log_density`` if there are several), ``outlier_score``, ``inspection_rank`` (1 is the
        strangest) and ``outlier_reason``: "reconstruction" or "density", whichever is the more unusual.
        Masked in rows that have neither.  Rows that repeat another one share its rank.

    Raises
    ------
    InputError
        If there is neither density nor reconstruction to go by, a column or an option cannot be used, or a
        new column's name is taken.

    See Also
    --------
    rank : The same for artefacts among images, by many columns.

    Notes
    -----
    Density and reconstruction are put together as in `rank`: for each, the share of ordinary rows that are
    as far out, beyond the 90 % quantile that of an exponential tail of -log density and log chi-square, down
    to one in a million; the score is -log10 of their weighted power mean, about the chance of a row that is
    as strange, 2 for one in a hundred.  It orders rows; it is no test.  A handful of outliers changes
    neither: shares, medians and neighbours do not mind, and the mixture is fitted to the nine tenths of
    the rows with the nearest neighbours.

    Rows with the same coordinates and chi-square are one: a spectrum that a match repeats has no
    neighbours in its own copies.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> t = QTable({"latent": rng.normal(size=(300, 3))})
    >>> t["reconstruction_chi2"] = rng.chisquare(900, 300) / 900
    >>> t["latent"][7] += 9
    >>> t["reconstruction_chi2"][3] = 4
    >>> out = outliers(t, random_state=1)
    >>> out["inspection_rank"][[3, 7]].tolist(), out["outlier_reason"][[3, 7]].tolist()
    ([1, 2], ['reconstruction', 'density'])
    """
    table, seed = as_qtable(table), checked_seed(random_state)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
        raise InputError(f"weight={weight!r} is no weight; give a number from 0 to 1, such as 0.5")
    if method not in METHODS:
        raise InputError(f"method={method!r} is not known; give one of {', '.join(METHODS)}")
    check_free(table, [column_name(key, prefix=prefix) for key in _KEYS], overwrite=overwrite)
    known = _evidence(table, features, chi2, given)
    density = f"{prefix}{known.called}_log_density"
    check_free(table, [density] if known.called else [], overwrite=overwrite)
    once, number = known.once()
    logs = None if known.X is None else log_densities(known.X[once], method, seed)
    found = suspicion_by(logs, known.badness(once), weight)
    if (usable := int(found.usable.sum())) < FEWEST:
        raise InputError(
            f"{usable} rows of {len(table)} have coordinates or a chi-square and differ; {FEWEST} are needed"
        )
    if not found.evidence[found.usable].any():
        raise InputError("the reconstruction is equally good in all rows: it tells no row from another")
    out, nothing = derive(table), ~found.usable[number]
    if logs is not None:
        told = {"columns": ", ".join(known.features), "method": _WORDS[method]}
        absent = np.isnan(logs[number])
        values = np.nan_to_num(logs[number])
        add_column(out, "feature_log_density", values, mask=absent, name=density, **told)
    words: dict[str, Any] = {"prefix": prefix, "mask": nothing}
    add_column(out, "outlier_score", np.where(nothing, 0.0, found.score[number]), **words)
    add_column(out, "inspection_rank", order_of(found.score, seed)[number], **words)
    add_column(out, "outlier_reason", np.where(nothing, "", found.reasons[number]), **words)
    weights = dict(zip(found.names, found.weights.tolist(), strict=True))
    facts = {"ingredients": weights, "rows_used": int((~nothing).sum())}
    return Step(out, table, inputs=known.inputs, seed=seed, facts=facts, parameters={"random_state": seed})
