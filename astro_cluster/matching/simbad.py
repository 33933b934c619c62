"""SIMBAD's columns under one set of names, whichever of its services they come from.

The names are those of the table ``basic`` of its TAP service.  The CDS X-Match service and the
older clients have others for the same columns; this table is the one place that knows them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from astropy.table import QTable

from astro_cluster.exceptions import AstroClusterWarning

__all__ = ["DEFAULT_COLUMNS", "TABLE", "asked_of_tap", "asked_of_xmatch", "one_name", "one_schema"]

TABLE = "basic"
DEFAULT_COLUMNS = (
    "main_id",
    "ra",
    "dec",
    "coo_err_maj",
    "coo_err_min",
    "coo_err_angle",
    "nbref",
    "main_type",
    "otype",
    "rvz_radvel",
    "rvz_redshift",
    "sp_type",
    "morph_type",
    "plx_value",
    "pmra",
    "pmdec",
    "galdim_majaxis",
    "galdim_minaxis",
    "galdim_angle",
)

# What the X-Match service calls columns of ``basic``.
_XMATCH = {
    "radvel": "rvz_radvel",
    "radvel_err": "rvz_err",
    "redshift": "rvz_redshift",
    "plx": "plx_value",
    "pm_err_pa": "pm_err_angle",
    "size_maj": "galdim_majaxis",
    "size_min": "galdim_minaxis",
    "size_angle": "galdim_angle",
}
# What the script interface of SIMBAD, and astroquery until 0.4.7 with it, calls them (in capitals).
_SCRIPTS = {
    "ra_d": "ra",
    "dec_d": "dec",
    "coo_err_maja": "coo_err_maj",
    "coo_err_mina": "coo_err_min",
    "coo_err_maja_d": "coo_err_maj",
    "coo_err_mina_d": "coo_err_min",
    "coo_err_angle_d": "coo_err_angle",
    "pm_err_maja": "pm_err_maj",
    "pm_err_mina": "pm_err_min",
    "rv_value": "rvz_radvel",
    "z_value": "rvz_redshift",
    "otype_s": "otype",
    "otype_v": "main_type",
    "nb_ref": "nbref",
}
_OLD = {**_XMATCH, **_SCRIPTS}
_TO_XMATCH = {new: old for old, new in _XMATCH.items()}
_KNOWN = {*DEFAULT_COLUMNS, *_OLD.values()}


def one_name(name: str) -> str:
    """Return what a column of SIMBAD is called here.

    Parameters
    ----------
    name : str
        Any of its names.

    Returns
    -------
    str
        The name in ``basic``; the name itself if it is none that is known.

    Examples
    --------
    >>> one_name("redshift"), one_name("Z_VALUE"), one_name("rvz_redshift"), one_name("V")
    ('rvz_redshift', 'rvz_redshift', 'rvz_redshift', 'V')
    """
    lower = name.lower()
    return _OLD.get(lower, lower if lower in _KNOWN else name)


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def asked_of_xmatch(columns: Sequence[str]) -> list[str]:
    """Return which columns to ask the X-Match service for.

    Parameters
    ----------
    columns : sequence of str
        By any of their names.

    Returns
    -------
    list of str
        By its names; the type's code comes from its name.

    Examples
    --------
    >>> asked_of_xmatch(["main_id", "otype", "rvz_redshift"])
    ['main_id', 'main_type', 'redshift']
    """
    names = ["main_type" if one_name(name) == "otype" else one_name(name) for name in columns]
    return _unique([_TO_XMATCH.get(name, name) for name in names])


def asked_of_tap(columns: Sequence[str]) -> list[str]:
    """Return which columns to ask the TAP service for.

    Parameters
    ----------
    columns : sequence of str
        By any of their names.

    Returns
    -------
    list of str
        By its names; the type's name comes from its code.

    Examples
    --------
    >>> asked_of_tap(["MAIN_ID", "main_type", "redshift"])
    ['main_id', 'otype', 'rvz_redshift']
    """
    return _unique(["otype" if one_name(name) == "main_type" else one_name(name) for name in columns])


def one_schema(table: QTable) -> QTable:
    """Return columns of SIMBAD under the one set of names, with both the type's name and its code.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        As a service of SIMBAD gave it; it is changed in place.

    Returns
    -------
    `~astropy.table.QTable`
        The same table.  A column ``otype`` (the code of today) is made from ``main_type`` (a name,
        as old as the service likes) where it is missing, and the other way round.

    Examples
    --------
    >>> table = one_schema(QTable({"main_type": ["Seyfert_1"], "redshift": [0.1]}))
    >>> table.colnames, table["otype"].tolist()
    (['main_type', 'otype', 'rvz_redshift'], ['Sy1'])
    """
    from astro_cluster.otypes import code_of, label_of

    for name in table.colnames:
        new = one_name(name)
        if new != name and new not in table.colnames:
            table.rename_column(name, new)
    for have, miss, translate, move in (
        ("main_type", "otype", code_of, 1),
        ("otype", "main_type", label_of, 0),
    ):
        if have in table.colnames and miss not in table.colnames:
            with warnings.catch_warnings():
                # A type that is newer or older than the list of types: masked.
                warnings.simplefilter("ignore", AstroClusterWarning)
                column = translate(table[have])
            column.meta["ucd"] = "src.class"
            table.add_column(column, index=table.colnames.index(have) + move, name=miss)
    return table
