"""What the record says of an embedding, and how faithful it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.exceptions import InputError
from astro_cluster.provenance import decode, records
from astro_cluster.tables import Source, as_qtable

__all__ = ["embedding_facts", "embedding_records", "judged"]

_NEIGHBOURS = 15
_WORK = 2e10  # differences of two numbers that judging may cost
_ROWS = (100, 2000)  # rows that are looked at, at least and at most


def embedding_records(table: QTable, stem: str | None = None) -> list[dict[str, Any]]:
    """Return the records of the embeddings whose columns are still there, the oldest first.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    stem : str, optional
        Only those of this kind: ``"tsne"``, ``"latent"`` …

    Returns
    -------
    list of dict
    """
    found = []
    for record in records(table):
        facts = record.get("embedding")
        if record["function"] != "embed" or not isinstance(facts, dict):
            continue
        columns = facts.get("columns")
        if not isinstance(columns, list) or not columns or not set(columns) <= set(table.colnames):
            continue
        if stem in (None, facts.get("stem")):
            found.append(record)
    return found


def embedding_facts(table: Source, prefix: str | None = None, *, stem: str | None = None) -> dict[str, Any]:
    """Return what is on record of an embedding: how it went, and how faithful it is.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Result of `embed`.
    prefix : str, optional
        Which of several; the latest if not given.
    stem : str, optional
        Only of this kind: ``"tsne"``, ``"latent"``, ``"pca"``.

    Returns
    -------
    dict
        ``model``, ``stem``, ``columns``, ``dimensions``, ``seconds``; ``trustworthiness`` and
        ``continuity``; and what the model says of its fit: ``kl_divergence``, ``n_iter``,
        ``explained_variance``, ``held_out_loss``, ``history`` …

    Raises
    ------
    InputError
        If there is no such embedding on record.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.embed(ac.simulate.chandra(200, random_state=1), "pca", features="hard_*", missing="median",
    ...                n_components=2)
    >>> round(embedding_facts(cat)["explained_variance"], 2)
    0.99
    """
    found = embedding_records(as_qtable(table), stem)
    if prefix is not None:
        found = [record for record in found if record.get("prefix") == prefix]
    if not found:
        which = " ".join([*([stem] if stem else []), "embedding"])
        behind = "" if prefix is None else f" with the prefix {prefix!r}"
        raise InputError(f"no {which}{behind} is on record in the table; make one with ac.embed")
    return dict(decode(found[-1]["embedding"]))


def judged(X: np.ndarray, Y: np.ndarray, complete: np.ndarray | None = None) -> dict[str, Any]:
    """Return how faithful coordinates are to what they were made from.

    Parameters
    ----------
    X : (m, d) array
        What they were made from.
    Y : (m, k) array
        Coordinates.
    complete : (m,) array of bool, optional
        Rows of X without NaN, if others have some.

    Returns
    -------
    dict
        ``trustworthiness``, ``continuity``, ``n_neighbors`` and ``rows_judged``; empty if there are
        too few rows.
    """
    from astro_cluster.embedding.faithfulness import most_neighbours, trustworthiness_and_continuity

    kept = np.isfinite(Y).all(axis=1)
    if complete is not None:
        kept &= complete
    if not kept.all():
        X, Y = X[kept], Y[kept]
    k = min(_NEIGHBOURS, most_neighbours(len(X)))
    if not k:
        return {}
    n, d = X.shape
    sample = int(np.clip(_WORK // (n * d), *_ROWS))
    trust, kept_near = trustworthiness_and_continuity(X, Y, n_neighbors=k, sample=sample)
    return {
        "trustworthiness": trust,
        "continuity": kept_near,
        "n_neighbors": k,
        "rows_judged": min(sample, n),
    }
