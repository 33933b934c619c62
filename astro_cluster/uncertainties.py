"""Measurement errors of features: which columns hold them, and how catalogues name them.

`find_errors` turns what the user said (a mapping, or ``"auto"``) into `ErrorColumns`, which the
recipe of the features keeps.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.columns import require, ucd_of
from astro_cluster.exceptions import AstroClusterWarning, InputError, did_you_mean
from astro_cluster.noise import Noise, difference_unit, read_noise
from astro_cluster.scaling import Scaling

__all__ = ["AUTO", "EXACT", "ErrorColumns", "checked_errors", "find_errors", "like_error_of"]

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class ErrorColumns:
    """Which columns hold the errors of which features: a part of the fitted recipe.

    Parameters
    ----------
    errors : tuple of (str, str)
        A column of features, and the column of its standard errors.
    correlations : tuple of (str, str, str)
        Two features, and the column of the correlation coefficients of their errors.
    """

    errors: tuple[tuple[str, str], ...] = ()
    correlations: tuple[tuple[str, str, str], ...] = ()

    def __bool__(self) -> bool:
        """Tell whether any feature has errors."""
        return bool(self.errors)

    @property
    def columns(self) -> list[str]:
        """Columns of the table that are used, each once."""
        return list(dict.fromkeys([column for *_, column in (*self.errors, *self.correlations)]))

    def read(
        self, table: QTable, scalings: Sequence[Scaling], values: np.ndarray
    ) -> tuple[np.ndarray, Noise]:
        """Take the errors from a table.

        Parameters
        ----------
        table : `~astropy.table.QTable`
            Table of n rows.
        scalings : sequence of Scaling
            The d features.
        values : (n, d) array
            Their values in their units; NaN where missing.

        Returns
        -------
        values : (n, d) array
            The same, NaN also where the error is not known: an unknown error is an infinite
            variance, which leaves nothing of the value.
        noise : Noise
            Errors in the features' units.

        Raises
        ------
        InputError
            If a column is missing, not numeric, of the wrong shape or unit, or holds what
            cannot be an error.
        """
        require(table, self.columns)
        return read_noise(table, scalings, values, errors=dict(self.errors), correlations=self.correlations)

    def to_plain(self) -> dict[str, Any]:
        """Return plain JSON values that `from_plain` takes.

        Returns
        -------
        dict
        """
        return {
            "columns": [list(item) for item in self.errors],
            "correlations": [list(item) for item in self.correlations],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], scalings: Sequence[Scaling]) -> ErrorColumns:
        """Rebuild from plain values, which may come from a file.

        Parameters
        ----------
        plain : mapping
            What `to_plain` gave.
        scalings : sequence of Scaling
            The features that they are for.

        Returns
        -------
        ErrorColumns

        Raises
        ------
        ValueError
            If the values are no such columns.
        """
        wanted = from_plain(plain)
        if not isinstance(wanted, Mapping):
            raise ValueError("the columns of errors are not understood")
        keys = {scaling.column for scaling in scalings}, {scaling.name for scaling in scalings}
        errors = {k: v for k, v in wanted.items() if isinstance(k, str)}
        pairs = {k: v for k, v in wanted.items() if not isinstance(k, str)}
        if not set(errors) <= keys[0] or not {name for pair in pairs for name in pair} <= keys[1]:
            raise ValueError("errors are given for what is no feature")
        return cls(tuple(errors.items()), tuple((*pair, column) for pair, column in pairs.items()))


EXACT = ErrorColumns()
"""No feature has errors."""

# ---------------------------------------------------------------- what the user says


def checked_errors(errors: Any) -> str | dict[str | tuple[str, str], str] | None:
    """Return what was said about errors, known to be of the right kind.

    Parameters
    ----------
    errors : object
        None, ``"auto"``, or a mapping of columns to columns of their errors and of pairs of features
        to columns of correlations.

    Returns
    -------
    None, "auto" or dict

    Raises
    ------
    InputError
        If it is something else.

    Examples
    --------
    >>> checked_errors({"ra": "ra_error", "dec": "dec_error", ("ra", "dec"): "ra_dec_corr"})[("ra", "dec")]
    'ra_dec_corr'
    """
    if errors is None or (isinstance(errors, str) and errors == AUTO):
        return errors
    if not isinstance(errors, Mapping):
        raise InputError(
            f"errors={errors!r} is not understood; give 'auto', or a mapping of features to the columns of "
            "their errors: errors={'parallax': 'parallax_error'}"
        )
    checked: dict[str | tuple[str, str], str] = {}
    for key, column in errors.items():
        pair = isinstance(key, (tuple, list)) and len(key) == 2 and all(isinstance(k, str) for k in key)
        if not (isinstance(key, str) or pair) or not isinstance(column, str):
            raise InputError(
                f"errors={{{key!r}: {column!r}}} is not understood; a feature goes with the name of a column "
                "of errors, a pair of features with one of correlations: ('ra', 'dec'): 'ra_dec_corr'"
            )
        known = key if isinstance(key, str) else tuple(key)
        if pair and (key[0] == key[1] or (key[1], key[0]) in checked):
            raise InputError(f"the correlation of {key[0]!r} and {key[1]!r} cannot be given; leave it out")
        checked[known] = column
    return checked


def to_plain(errors: str | Mapping[Any, str] | None) -> Any:
    """Return plain JSON values for what `checked_errors` gave.

    Parameters
    ----------
    errors : None, "auto" or mapping
        What the user said.

    Returns
    -------
    None, str or dict

    Examples
    --------
    >>> to_plain({"a": "a_error", ("a", "b"): "a_b_corr"})
    {'columns': [['a', 'a_error']], 'correlations': [['a', 'b', 'a_b_corr']]}
    """
    if not isinstance(errors, Mapping):
        return errors
    return {
        "columns": [[key, column] for key, column in errors.items() if isinstance(key, str)],
        "correlations": [[*key, column] for key, column in errors.items() if not isinstance(key, str)],
    }


def from_plain(plain: Any) -> Any:
    """Return what `to_plain` was given; values may come from a file.

    Parameters
    ----------
    plain : object
        What `to_plain` gave.

    Returns
    -------
    None, "auto" or dict

    Raises
    ------
    ValueError
        If it is something else.

    Examples
    --------
    >>> from_plain({"columns": [["a", "a_error"]], "correlations": [["a", "b", "a_b_corr"]]})
    {'a': 'a_error', ('a', 'b'): 'a_b_corr'}
    """
    if plain is None or isinstance(plain, str):
        return checked_errors(plain)
    if not isinstance(plain, Mapping) or set(plain) != {"columns", "correlations"}:
        raise ValueError("the columns of errors are not understood")
    pairs = {(first, second): column for first, second, column in plain["correlations"]}
    return checked_errors(dict(plain["columns"]) | pairs)


# ---------------------------------------------------------------- which columns


def find_errors(
    table: QTable, scalings: Sequence[Scaling], wanted: str | Mapping[Any, str] | None
) -> ErrorColumns:
    """Return the columns that hold the errors of features.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table that has them.
    scalings : sequence of Scaling
        The features.
    wanted : None, "auto" or mapping
        As `checked_errors` gives it.

    Returns
    -------
    ErrorColumns

    Raises
    ------
    InputError
        If a name is not a column or not a feature, a column of errors is itself a feature, or
        ``"auto"`` finds nothing or more than one column that could be meant.

    Examples
    --------
    >>> table = QTable({"pmRA": [1.0], "e_pmRA": [0.1]})
    >>> find_errors(table, [Scaling("pmRA", "pmRA", None, "", "none")], "auto").columns
    ['e_pmRA']
    """
    if not wanted:
        return EXACT
    return _search(table, scalings) if isinstance(wanted, str) else _named(table, scalings, wanted)


def _named(table: QTable, scalings: Sequence[Scaling], wanted: Mapping[Any, str]) -> ErrorColumns:
    columns = list(dict.fromkeys(scaling.column for scaling in scalings))
    errors = {key: column for key, column in wanted.items() if isinstance(key, str)}
    pairs = {key: column for key, column in wanted.items() if not isinstance(key, str)}
    _check_keys(errors, columns, "errors are")
    with_errors = [scaling.name for scaling in scalings if scaling.column in errors]
    _check_keys((name for pair in pairs for name in pair), [s.name for s in scalings], "a correlation is")
    for first, second in pairs:
        for name in (first, second):
            if name not in with_errors:
                raise InputError(
                    f"a correlation is given for {first!r} and {second!r}, but no errors of {name!r}; "
                    "give both"
                )
    require(table, wanted.values())
    for key, column in wanted.items():
        if column in columns:
            of = repr(key) if isinstance(key, str) else " and ".join(map(repr, key))
            raise InputError(
                f"column {column!r} is given as the errors of {of} and is a feature itself; take it out of "
                "one of the two (a pattern such as 'parallax*' may have picked it)"
            )
    return ErrorColumns(tuple(errors.items()), tuple((*pair, column) for pair, column in pairs.items()))


def _check_keys(keys: Iterable[str], known: Sequence[str], what: str) -> None:
    for key in keys:
        if key not in known:
            hint = did_you_mean(key, known)
            raise InputError(
                f"{what} given for {key!r}, which is no feature{hint} The features are: {', '.join(known)}"
            )


_CONVENTIONS = "<name>_error, <name>_err, <name>_unc, e_<name>, err_<name>, sigma_<name>, magErr_… for mag_…"


def like_error_of(name: str) -> re.Pattern[str]:
    """Return what a column of errors of this one would be called; the name itself to the letter.

    Gaia and many others have ``x_error`` or ``x_err``, VizieR has ``e_x`` (``E_x`` is an upper
    error and means something else), SDSS and SExtractor ``psfMagErr_g``, ``MAGERR_AUTO``.

    Parameters
    ----------
    name : str
        A column.

    Returns
    -------
    pattern
        For `re.Pattern.fullmatch`.

    Examples
    --------
    >>> [name for name in ("ra_error", "e_ra", "radius") if like_error_of("ra").fullmatch(name)]
    ['ra_error', 'e_ra']
    """
    whole = re.escape(name)
    forms = [rf"{whole}(?i:_error|_err|err|_unc|_uncertainty)", rf"e_{whole}", rf"(?i:err_|sigma_){whole}"]
    for quantity in re.finditer(r"(?i:mag|flux)(?=_)", name):
        front, back = name[: quantity.end()], name[quantity.end() :]
        forms.append(rf"{re.escape(front)}(?i:err){re.escape(back)}")
    return re.compile("|".join(forms))


def _main_ucd(ucd: str) -> str:
    """Return a UCD without the word that tells the best of several columns of a kind."""
    return ";".join(word for word in ucd.replace(" ", "").split(";") if word != "meta.main")


def _by_ucd(table: QTable, column: str, ucds: Mapping[str, str], features: Sequence[str]) -> str | None:
    """Return the one column whose UCD says that it holds the errors of this one.

    Several columns often share a UCD, and so do quantities derived from them: what is not one to
    one, or differs in its kind of unit, is not taken.
    """
    own = ucds[column]
    fitting = [name for name, ucd in ucds.items() if ucd == f"stat.error;{own}" and name not in features]
    if not own or len(fitting) != 1 or sum(ucd == own for ucd in ucds.values()) != 1:
        return None
    try:
        unit, of = table[fitting[0]].unit, table[column].unit
        same_kind = unit is None or difference_unit(unit).is_equivalent(difference_unit(of))
    except (AttributeError, TypeError, ValueError):  # no column of numbers, or a strange unit
        same_kind = False
    return fitting[0] if same_kind else None


def _only(found: list[str], what: str, how: str) -> str | None:
    if len(found) > 1:
        raise InputError(
            f"errors='auto' finds several columns for {what}: {', '.join(found)}; name the one "
            f"that is meant: errors={{{how}: {found[0]!r}}}"
        )
    return found[0] if found else None


def _search(table: QTable, scalings: Sequence[Scaling]) -> ErrorColumns:
    columns = list(dict.fromkeys(scaling.column for scaling in scalings))
    ucds = {name: _main_ucd(ucd_of(table, name)) for name in table.colnames}
    errors: dict[str, str] = {}
    features_too: list[str] = []
    for column in columns:
        found = [name for name in table.colnames if like_error_of(column).fullmatch(name)]
        features_too += [name for name in found if name in columns]
        found = [name for name in found if name not in columns]
        _check_symmetric(table, column, found)
        error = _only(found, f"the errors of {column!r}", repr(column))
        if error := error or _by_ucd(table, column, ucds, columns):
            errors[column] = error
    if not errors:
        _complain_of_nothing(columns, features_too)
    if exact := [column for column in columns if column not in errors]:
        warnings.warn(
            f"errors='auto' finds no errors of {', '.join(exact)}: taken as exact. To say which column has "
            "them, or that there are none, give a mapping: "
            f"errors={{{', '.join(f'{k!r}: {v!r}' for k, v in list(errors.items())[:2])}, …}}",
            AstroClusterWarning,
            stacklevel=7,
        )
    single = [s.name for s in scalings if s.index is None and s.column in errors]
    return ErrorColumns(tuple(errors.items()), tuple(_search_correlations(table, single)))


def _search_correlations(table: QTable, features: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    """Yield the correlations as the Gaia archive (``a_b_corr``) and VizieR's Gaia (``abcor``) name them."""
    names = set(table.colnames)
    for first, second in combinations(features, 2):
        forms = [f"{a}{form}" for a, form in ((first, f"_{second}_corr"), (second, f"_{first}_corr"))]
        forms += [f"{first}{second}cor", f"{second}{first}cor"]
        found = [form for form in forms if form in names and form not in features]
        pair = f"({first!r}, {second!r})"
        if column := _only(found, f"the correlation of {first!r} and {second!r}", pair):
            yield first, second, column


def _check_symmetric(table: QTable, column: str, found: list[str]) -> None:
    """Refuse VizieR's pairs of lower (``e_``) and upper (``E_``) errors: a Gaussian has one."""
    if f"e_{column}" in found and f"E_{column}" in table.colnames:
        raise InputError(
            f"the errors of {column!r} are asymmetric (e_{column} below, E_{column} above), and the mixture "
            "knows symmetric ones; make one column of them, their mean say, and name it: "
            f"errors={{{column!r}: …}}"
        )


def _complain_of_nothing(columns: Sequence[str], features_too: Sequence[str]) -> None:
    if features_too:
        raise InputError(
            f"errors='auto' finds {', '.join(features_too)}, but these are features themselves; name the "
            "features so that they leave the errors out"
        )
    raise InputError(
        f"errors='auto' finds no errors of {', '.join(columns)}: it looks for columns named {_CONVENTIONS} "
        "and for the UCD 'stat.error;…' of the feature. Name them: "
        f"errors={{{columns[0]!r}: 'its column of errors'}}"
    )
