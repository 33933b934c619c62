"""The order in which to look at images when nobody has looked at any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_cluster.artefacts.density import Method, emptiness
from astro_cluster.artefacts.material import Material, material_of
from astro_cluster.artefacts.tails import evidence_of
from astro_cluster.columns import add_column, check_free, column_name
from astro_cluster.exceptions import InputError
from astro_cluster.features import Features
from astro_cluster.provenance import Step, step
from astro_cluster.resampling import checked_seed
from astro_cluster.tables import Source, as_qtable, derive

__all__ = ["Suspicion", "order_of", "rank", "suspicion_of"]

_POWER = -0.5  # of the mean of the shares
_FEWEST = 2  # rows that have no density


@dataclass(frozen=True, slots=True)
class Suspicion:
    """How strongly each ingredient speaks against each row.

    Parameters
    ----------
    names : list of str
        Of the m ingredients.
    evidence : (n, m) array of float
        About minus the decimal logarithm of the share of ordinary rows that are as suspicious.
    weights : (m,) array of float
        Their sum is 1.
    usable : (n,) array of bool
        Rows that have any of the ingredients.
    """

    names: list[str]
    evidence: np.ndarray
    weights: np.ndarray
    usable: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """Mean evidence, (n,) array; NaN in rows that have no ingredient."""
        means = (10 ** (-_POWER * self.evidence)) @ self.weights  # of shares to that power
        return np.where(self.usable, -np.log10(means) / _POWER, np.nan)

    @property
    def reasons(self) -> np.ndarray:
        """Ingredient with the strongest evidence, (n,) array of str."""
        return np.array(self.names)[self.evidence.argmax(axis=1)]


def suspicion_of(
    material: Material, method: Method = "neighbours", seed: int = 0, weight: float = 0.5
) -> Suspicion:
    """Return what speaks against each row.

    Parameters
    ----------
    material : Material
        n rows.
    method : {"neighbours", "mixture", "forest"}, optional
        How to measure the density of the features.
    seed : int, optional
        Random seed.
    weight : float, optional
        Weight of the density, if there are quality columns too, which share the rest.

    Returns
    -------
    Suspicion

    Examples
    --------
    >>> from astropy.table import QTable
    >>> material = material_of(QTable({"zero_fraction": [0.0, 0.0, 0.4, 0.0]}))
    >>> suspicion_of(material).score.round(3)
    array([0.  , 0.  , 1.36, 0.  ])
    """
    names: list[str] = []
    columns: list[np.ndarray] = []
    for measure in material.measures:
        strength = evidence_of(measure.values, measure.direction)
        if np.nanmax(strength) > 0:  # a column that is the same everywhere says nothing
            names.append(measure.name)
            columns.append(strength)
    weights = np.full(len(names), 1 / max(len(names), 1))
    seen = material.has_latent
    if material.latent is not None and np.count_nonzero(seen) > _FEWEST:
        lonely = np.full(len(seen), np.nan)
        lonely[seen] = emptiness(material.latent[seen], method, seed)
        names.insert(0, f"{material.latent_name} density")
        columns.insert(0, evidence_of(lonely))
        weights = np.concatenate([[weight], (1 - weight) * weights]) if len(names) > 1 else np.ones(1)
    if not names:
        raise InputError(
            f"the quality columns {', '.join(m.name for m in material.measures)} are the same in all rows: "
            "they "
            "tell no image from another. Embed the images (embed) to rank them by their density"
        )
    evidence = np.column_stack(columns)
    # A value that is missing speaks neither for nor against a row.
    evidence = np.where(np.isnan(evidence), np.nanmean(evidence, axis=0), evidence)
    return Suspicion(names, evidence, weights, material.usable)


def order_of(score: np.ndarray, seed: int) -> np.ndarray:
    """Return the rank of each row, the largest score first.

    Parameters
    ----------
    score : (n,) array of float
        NaN where there is none.
    seed : int
        Of the order of equal scores, which must not be that of the table.

    Returns
    -------
    (n,) array of int
        From 1; 0 where there is no score.

    Examples
    --------
    >>> order_of(np.array([0.1, 0.9, np.nan]), 0)
    array([2, 1, 0])
    """
    rows = np.flatnonzero(~np.isnan(score))
    chance = np.random.default_rng(seed).permutation(len(score))[rows]
    ranks = np.zeros(len(score), dtype=np.int64)
    ranks[rows[np.lexsort((chance, -score[rows]))]] = np.arange(1, len(rows) + 1)
    return ranks


@step
def rank(
    table: Source,
    *,
    features: Features | str | Iterable[str] | None = "auto",
    quality: bool | str | Iterable[str] | Mapping[str, str] = True,
    method: Method = "neighbours",
    weight: float = 0.5,
    prefix: str = "",
    random_state: int | None = None,
    overwrite: bool = False,
) -> Step:
    """Rank images by how unlike the others they are, so that artefacts are looked at first.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows with coordinates from `embed`, quality columns from `image_quality`, or both.
    features : "auto", `Features`, str, iterable of str or None, optional
        Columns whose density tells how lonely a row is.  "auto" takes the column of the latest
        embedding that has several coordinates a row (``power``, ``latent``, ``pca``), never a map
        such as t-SNE; None takes none.
    quality : bool, str, iterable of str or mapping, optional
        Quality columns: True for all that `image_quality` and autoencoders add, False for none;
        names; or names with the values that are suspicious, ``{"zero_fraction": "high", "snr":
        "low", "concentration": "both"}``.  Of names alone that are not known, both ends are.
    method : {"neighbours", "mixture", "forest"}, optional
        How to measure loneliness: the mean distance to ten neighbours, the density of our
        mixture, or an isolation forest.
    weight : float, optional
        Weight of the density in the score, from 0 to 1; the quality columns share the rest.
    prefix : str, optional
        Put before the new columns.
    random_state : int, optional
        Seed of the method, and of the order of rows with equal scores.  Without one it is
        drawn and recorded.
    overwrite : bool, optional
        Replace columns of the same names.

    Returns
    -------
    `~astropy.table.QTable`
        The same rows with the new columns ``outlier_score``, ``inspection_rank`` (1 is to be looked
        at first) and ``outlier_reason``, the ingredient in which the row is the most unusual:
        a quality column, or "latent density".  All three are masked in rows that have neither
        features nor quality columns, such as images that could not be read: there is
        nothing to look at.

    Raises
    ------
    InputError
        If there is nothing to rank by, fewer than three rows have anything, a column or an
        option cannot be used, or a new column's name is taken.

    See Also
    --------
    recall_curve : How many artefacts are found, against how many images are looked at.
    suggest : Which images to look at in order to learn from them.
    learn : What a few labels teach.

    Notes
    -----
    Of each ingredient, the evidence e against a row is about -log10 of the share p of ordinary
    rows that are as far out: the share of all rows up to their 90 % quantile, beyond it that of an
    exponential tail, down to one in a thousand.  Neither a factor nor an offset of a column matters.
    The score is -log10 of the weighted power mean (sum of w p^-1/2)^-2: a mean of p-values as in
    Vovk & Wang (2020, Biometrika 107, 791), with an exponent between that of Fisher's product (0),
    in which one gap drowns among columns that look ordinary, and that of the harmonic mean (-1),
    in which chance extremes of many columns win.  A score of 2 means: as suspicious as one
    ordinary row in a hundred.  It orders rows; it is no probability of an artefact, which `learn`
    gives.  A missing value counts as an ordinary one; columns that are the same in all rows do not
    count.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> rng = np.random.default_rng(1)
    >>> t = QTable({"latent": rng.normal(size=(200, 4)), "zero_fraction": np.zeros(200)})
    >>> t["latent"][7] += 9
    >>> t["zero_fraction"][3] = 0.2
    >>> out = rank(t, random_state=1)
    >>> out["outlier_reason"][[3, 7]].tolist(), sorted(out["inspection_rank"][[3, 7]].tolist())[0]
    (['zero_fraction', 'latent density'], 1)
    """
    table, seed = as_qtable(table), checked_seed(random_state)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
        raise InputError(f"weight={weight!r} is no weight; give a number from 0 to 1, such as 0.5")
    keys = ("outlier_score", "inspection_rank", "outlier_reason")
    check_free(table, [column_name(key, prefix=prefix) for key in keys], overwrite=overwrite)
    material = material_of(table, features, quality)
    found = suspicion_of(material, method, seed, weight)
    nothing = ~found.usable
    out = derive(table)
    words: dict[str, Any] = {"prefix": prefix, "mask": nothing}
    add_column(out, "outlier_score", np.where(nothing, 0.0, found.score), **words)
    add_column(out, "inspection_rank", order_of(found.score, seed), **words)
    add_column(out, "outlier_reason", np.where(nothing, "", found.reasons), **words)
    weights = dict(zip(found.names, found.weights.tolist(), strict=True))
    facts = {"ingredients": weights, "rows_used": int(found.usable.sum())}
    return Step(out, table, inputs=material.inputs, seed=seed, facts=facts, parameters={"random_state": seed})
