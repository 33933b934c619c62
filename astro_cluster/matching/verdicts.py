"""What decides between pairs: their separations, or the errors of their positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astro_cluster.config import conf
from astro_cluster.exceptions import InputError, did_you_mean
from astro_cluster.matching.associating import Association, check_axes, check_completeness, read_errors
from astro_cluster.matching.candidates import Pairs, Sky
from astro_cluster.matching.judging import judge_by_chance
from astro_cluster.matching.position_errors import PositionErrors
from astro_cluster.matching.reference import LocalReference
from astro_cluster.positions import find_position, sky_coord

__all__ = ["METHODS", "ByErrors", "Judged", "check_method", "judged_by_chance", "judged_by_errors"]

METHODS = ("nearest", "bayes")

Wanted = str | Sequence[str] | u.Quantity | None


@dataclass(frozen=True, slots=True)
class ByErrors:
    """What the caller said about a match by the errors of positions.

    Parameters
    ----------
    position_error, reference_position_error : str, sequence of str or Quantity, optional
        As in `~astro_cluster.matching.crossmatch`.
    completeness : float, optional
        Share of the rows that have a counterpart.
    max_p_none : float
        A row that has none with more than this probability gets none.
    """

    position_error: Wanted
    reference_position_error: Wanted
    completeness: float | None
    max_p_none: float

    def read(
        self, sky: Sky, target: Any, reference_position: Any
    ) -> tuple[PositionErrors, PositionErrors | None]:
        """Return the errors of the local positions, and those of a reference at hand.

        Parameters
        ----------
        sky : Sky
            The local table.
        target : LocalReference, RemoteReference or TapReference
            The other one.
        reference_position : (str, str) or str, optional
            Its columns of position.

        Returns
        -------
        tuple of PositionErrors and PositionErrors or None
        """
        errors = read_errors(sky.table, sky.names, self.position_error, "position_error")
        if not isinstance(target, LocalReference) or not isinstance(target.table, QTable):
            return errors, None  # a service, or a file that does not fit in memory
        try:
            names = find_position(target.table, reference_position)
        except InputError as error:
            raise InputError(f"in the reference ({target.name}): {error}") from error
        option = "reference_position_error"
        other = read_errors(target.table, names, self.reference_position_error, option)
        if not other.is_circular:
            check_axes(other, sky_coord(target.table, names)[0], option)
        return errors, other

    def of_answer(self, pairs: Pairs) -> PositionErrors:
        """Return the errors of the remote positions that a service sent, a row a pair.

        Parameters
        ----------
        pairs : Pairs
            What it sent.

        Returns
        -------
        PositionErrors
        """
        if not len(pairs.local):
            return PositionErrors(np.empty((0, 3)), [])
        try:
            names = find_position(pairs.table)
        except InputError:
            names = ("ra", "dec")  # what errors are named after
        return read_errors(pairs.table, names, self.reference_position_error, "reference_position_error")


def check_method(
    method: str,
    *,
    false_matches: bool | None,
    position_error: Wanted,
    reference_position_error: Wanted,
    completeness: float | None,
    max_p_none: float | None,
) -> ByErrors | None:
    """Return what the errors of positions have to decide; None if the separation decides.

    Parameters
    ----------
    method, false_matches, position_error, reference_position_error, completeness, max_p_none
        As in `~astro_cluster.matching.crossmatch`.

    Returns
    -------
    ByErrors or None

    Raises
    ------
    InputError
        If there is no such method, or a parameter has no meaning for it.

    Examples
    --------
    >>> nothing = dict.fromkeys(["position_error", "reference_position_error", "completeness", "max_p_none"])
    >>> check_method("bayes", false_matches=None, **nothing).max_p_none
    0.5
    """
    if method not in METHODS:
        hint = did_you_mean(str(method), METHODS, n=1)
        raise InputError(f"there is no method {method!r}{hint} The methods are: {', '.join(METHODS)}")
    if method != "bayes":
        options = {
            "position_error": position_error,
            "reference_position_error": reference_position_error,
            "completeness": completeness,
            "max_p_none": max_p_none,
        }
        for name, value in options.items():
            if value is not None:
                raise InputError(f"{name}= is for method='bayes': give that too, or leave {name} out")
        return None
    if false_matches:
        raise InputError(
            "method='bayes' tells how probable each pair is: leave false_matches out, or match with "
            "method='nearest' to have match_p_false"
        )
    share = 0.5 if max_p_none is None else max_p_none
    if not isinstance(share, (int, float, np.number)) or isinstance(share, bool) or not 0 <= share <= 1:
        raise InputError(f"max_p_none={max_p_none!r} is not a probability: give a number from 0 to 1")
    return ByErrors(position_error, reference_position_error, check_completeness(completeness), float(share))


@dataclass(slots=True)
class Judged:
    """What the find mode goes by, and the columns that stand beside the separation.

    Parameters
    ----------
    score : (m,) array of float
        Of each pair; the least is the best.
    of_pair : dict of str to (m,) array of float
        Columns by their entries in the registry.
    of_row : dict of str to (n,) array of float
        The same for columns that tell of a row, whether it has a counterpart or not.
    kept : (n,) array of bool, optional
        Local rows that have a counterpart at all.
    facts : dict
        For the record.
    """

    score: np.ndarray
    of_pair: dict[str, np.ndarray] = field(default_factory=dict)
    of_row: dict[str, np.ndarray] = field(default_factory=dict)
    kept: np.ndarray | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def facts_of(self, pairs: np.ndarray) -> dict[str, Any]:
        """Return the facts, with what they say about the pairs that were kept.

        Parameters
        ----------
        pairs : (k,) array of int
            Their numbers.

        Returns
        -------
        dict
        """
        if "bayes" in self.facts:
            false = float(np.sum(1 - self.of_pair["match_p"][pairs]))
            self.facts["bayes"] |= {"pairs": len(pairs), "expected_false": false}
        return self.facts


def judged_by_chance(
    pairs: Pairs, valid: np.ndarray, radius: u.Quantity, find: str, *, wanted: bool | None
) -> Judged:
    """Let the separation decide, and tell how probable it is that each pair is there by chance.

    Parameters
    ----------
    pairs : Pairs
        All pairs, or the nearest of each row.
    valid : (n,) array of bool
        Local rows that have a position.
    radius : `~astropy.units.Quantity` [angle]
        That of the match.
    find : str
        The find mode.
    wanted : bool, optional
        Whether to tell it; by default where it can be told.

    Returns
    -------
    Judged
    """
    judged = Judged(pairs.separation)
    if wanted is False:
        return judged
    chance = judge_by_chance(pairs, valid, radius)
    if chance is not None:
        judged.of_pair["match_p_false"] = chance.of_pairs(pairs, find)
        judged.facts["false_matches"] = chance.facts
    elif wanted or (pairs.probe is not None and conf.false_match_rows > 0):
        judged.of_pair["match_p_false"] = np.full(len(pairs.local), np.nan)
    return judged


def judged_by_errors(found: Association, find: str, max_p_none: float) -> Judged:
    """Let the probabilities decide.

    Parameters
    ----------
    found : Association
        Candidates and their probabilities.
    find : str
        The find mode.
    max_p_none : float
        A row that has no counterpart with more than this probability gets none.

    Returns
    -------
    Judged
    """
    posterior = found.posterior
    judged = Judged(-posterior.log_odds)
    judged.of_pair["match_p"], judged.of_row["match_p_none"] = posterior.pair, posterior.none
    if find != "all":
        judged.kept = posterior.none <= max_p_none
    judged.facts["bayes"] = found.facts
    return judged
