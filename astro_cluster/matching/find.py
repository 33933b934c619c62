"""The find modes: which of the pairs within the radius are kept.

Pure functions on arrays.  They see candidate pairs and return numbers of pairs; where the
pairs come from, and what the joined table looks like, is other rooms' business.
The words are those of STILTS and TOPCAT.
"""

from __future__ import annotations

import numpy as np

from astro_cluster.exceptions import InputError, did_you_mean

__all__ = ["FIND_MODES", "check_mode", "keeps_rows", "nearest_pair", "select_pairs"]

FIND_MODES = ("all", "best", "best-remote", "each", "each-dist", "best-symmetric")


def check_mode(find: str) -> str:
    """Return the find mode, or say which ones there are.

    Parameters
    ----------
    find : str
        One of `FIND_MODES`.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If it is none of them.

    Examples
    --------
    >>> check_mode("each")
    'each'
    """
    if find not in FIND_MODES:
        hint = did_you_mean(find, FIND_MODES, n=1)
        raise InputError(f"there is no find mode {find!r}{hint} The modes are: {', '.join(FIND_MODES)}")
    return find


def keeps_rows(find: str) -> bool:
    """Tell whether a find mode gives the local rows back, all and in their order.

    Parameters
    ----------
    find : str
        One of `FIND_MODES`.

    Returns
    -------
    bool

    Examples
    --------
    >>> keeps_rows("each"), keeps_rows("best")
    (True, False)
    """
    return find in ("each", "each-dist")


def nearest_pair(row: np.ndarray, other: np.ndarray, separation: np.ndarray, n_rows: int) -> np.ndarray:
    """Return for each row the number of its closest pair.

    Parameters
    ----------
    row : (m,) array of int
        The row of each pair, in the table that is asked for.
    other : (m,) array of int
        The row of each pair in the other table; of equally close ones the lowest is taken.
    separation : (m,) array of float
        Separation of each pair, in any one unit.
    n_rows : int
        Number of rows in the table that is asked for.

    Returns
    -------
    (n_rows,) array of int
        Numbers of pairs; -1 where a row is in none.

    Examples
    --------
    >>> nearest_pair(np.array([0, 0, 2]), np.array([5, 6, 5]), np.array([0.3, 0.1, 0.2]), 3)
    array([ 1, -1,  2])
    """
    order = np.lexsort((other, separation, row))
    sorted_rows = row[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = sorted_rows[1:] != sorted_rows[:-1]
    pair = np.full(n_rows, -1, dtype=np.int64)
    pair[sorted_rows[first]] = order[first]
    return pair


def _in_local_order(
    pairs: np.ndarray, local: np.ndarray, remote: np.ndarray, separation: np.ndarray
) -> np.ndarray:
    return pairs[np.lexsort((remote[pairs], separation[pairs], local[pairs]))]


def _best(row: np.ndarray, other: np.ndarray, separation: np.ndarray) -> np.ndarray:
    pair = nearest_pair(row, other, separation, int(row.max(initial=-1)) + 1)
    return pair[pair >= 0]


def select_pairs(
    find: str,
    local: np.ndarray,
    remote: np.ndarray,
    separation: np.ndarray,
    *,
    n_local: int,
    n_remote: float,
) -> np.ndarray:
    """Return the numbers of the pairs that a find mode keeps.

    Parameters
    ----------
    find : {"all", "best", "best-remote", "each", "each-dist", "best-symmetric"}
        The find mode.
    local, remote : (m,) array of int
        Row numbers of all pairs within the radius.  They must be complete: ``best-remote``
        and ``best-symmetric`` are wrong when applied to blocks of local rows one by one.
    separation : (m,) array of float
        Separation of each pair, in any one unit.
    n_local : int
        Rows of the local table.
    n_remote : float
        Rows of the remote table; infinity if all that is known is that there are many.

    Returns
    -------
    array of int
        For ``each`` and ``each-dist``: (n_local,), -1 where a row has no counterpart.  For
        the others: the kept pairs, ordered by local row, separation and remote row.

    Notes
    -----
    ``best-symmetric`` is the mode ``best`` of ``tskymatch2`` in STILTS: the nearest for each
    row of the larger table (the local one if they are equal), then of those pairs the
    nearest for each row of the other.

    Examples
    --------
    >>> local, remote = np.array([0, 0, 2]), np.array([0, 1, 1])
    >>> arcsec = np.array([0.5, 0.2, 0.1])
    >>> select_pairs("each", local, remote, arcsec, n_local=3, n_remote=2)
    array([ 1, -1,  2])
    >>> select_pairs("best-remote", local, remote, arcsec, n_local=3, n_remote=2)
    array([0, 2])
    """
    check_mode(find)
    if keeps_rows(find):
        return nearest_pair(local, remote, separation, n_local)
    if find == "all":
        pairs = np.arange(len(local))
    elif find == "best":
        pairs = _best(local, remote, separation)
    elif find == "best-remote":
        pairs = _best(remote, local, separation)
    else:
        local_is_larger = n_local >= n_remote
        first, second = (local, remote) if local_is_larger else (remote, local)
        pairs = _best(first, second, separation)
        pairs = pairs[_best(second[pairs], first[pairs], separation[pairs])]
    return _in_local_order(pairs, local, remote, separation)
