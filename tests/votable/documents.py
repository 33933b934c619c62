"""VOTables for the tests, in every serialisation."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.io import votable as astropy_votable
from astropy.io.votable.exceptions import VOWarning
from astropy.table import Column, MaskedColumn, QTable, Table

from astro_cluster.votable import write_votable

SERIALISATIONS = ("tabledata", "binary", "binary2")
_START = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<VOTABLE version="{version}" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>'
)


def written(table: QTable, **options: object) -> bytes:
    """Return a table as we write it."""
    file = io.BytesIO()
    write_votable(table, file, **options)
    return file.getvalue()


def by_astropy(document: bytes, serialisation: str) -> bytes:
    """Return a document as astropy writes it anew."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VOWarning)
        warnings.simplefilter("ignore", u.UnitsWarning)
        tree = astropy_votable.parse(io.BytesIO(document), verify="ignore")
        file = io.BytesIO()
        tree.to_xml(file, tabledata_format=serialisation)
    return file.getvalue()


def tabledata(
    fields: Sequence[str], rows: Sequence[Sequence[str]], *, version: str = "1.4", attributes: str = ""
) -> bytes:
    """Return a document of TABLEDATA; a field is what stands between ``<FIELD`` and its end."""
    named = "".join(f'<FIELD name="c{i}" {field}' for i, field in enumerate(fields))
    body = "".join(f"<TR>{''.join(f'<TD>{cell}</TD>' for cell in row)}</TR>\n" for row in rows)
    return (
        f"{_START.format(version=version)}<TABLE{attributes}>{named}<DATA><TABLEDATA>\n{body}</TABLEDATA></DATA>"
        "</TABLE></RESOURCE></VOTABLE>"
    ).encode()


def objects(items: Sequence[object]) -> Column:
    """Return a column of objects."""
    out = np.empty(len(items), object)
    for i, item in enumerate(items):
        out[i] = item
    return Column(out)


def varying(rows: int = 6, seed: int = 1) -> QTable:
    """Return a table with cells of varying length."""
    rng = np.random.default_rng(seed)
    table = QTable({"id": np.arange(rows)})
    table["spectrum"] = objects([rng.normal(size=k) for k in rng.integers(0, 5, rows)])
    table["spectrum"].unit = u.Jy
    table["counts"] = objects([rng.integers(-9, 9, k).astype("i2") for k in rng.integers(0, 4, rows)])
    table["between"] = rng.normal(size=(rows, 2)).astype("f4")
    table["flags"] = objects([rng.random(k) > 0.5 for k in rng.integers(0, 3, rows)])
    table["words"] = np.array([["ab", "é"]] * rows)
    table["last"] = MaskedColumn(np.arange(rows), mask=np.arange(rows) == 1)
    return table


def small(rows: int = 4) -> QTable:
    """Return a table with a column of each common kind."""
    mask = np.arange(rows) == 1
    table = QTable({"id": np.arange(rows) + 2**60, "ra": np.arange(rows) * 1.5 * u.deg})
    table["ra"].info.description, table["ra"].info.meta = "right <ascension>", {"ucd": "pos.eq.ra;meta.main"}
    table["flux"] = MaskedColumn(np.arange(rows, dtype="f4"), mask=mask, unit="mJy")
    table["count"] = MaskedColumn(np.arange(rows, dtype="i2"), mask=mask)
    table["flag"] = MaskedColumn(np.arange(rows) % 2 == 0, mask=mask)
    table["name"] = [f"η & {i}" for i in range(rows)]
    table["ascii"] = np.array([f"HD {i}" for i in range(rows)], "S")
    table["vector"] = np.arange(3.0 * rows).reshape(rows, 3)
    return table


def plain_parts(column: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the values and the mask of a column."""
    mask = np.asarray(getattr(column, "mask", False))
    data = getattr(column, "unmasked", column)
    data = np.ma.getdata(np.asarray(getattr(data, "value", data)))
    return data, np.broadcast_to(mask, data.shape)


def assert_equal(got: Table, wanted: Table) -> None:
    """Compare values, masks, types, units and what is said of the columns."""
    assert got.colnames == wanted.colnames
    assert repr(got.meta) == repr(wanted.meta)
    for name in wanted.colnames:
        ours, theirs = got[name], wanted[name]
        assert type(ours) is type(theirs), name
        for known in ("unit", "description", "format"):
            assert getattr(ours.info, known) == getattr(theirs.info, known), (name, known)
        assert repr(ours.info.meta) == repr(theirs.info.meta), name
        (values, mask), (expected, expected_mask) = plain_parts(ours), plain_parts(theirs)
        assert values.dtype == expected.dtype, name
        assert values.shape == expected.shape, name
        assert np.array_equal(mask, expected_mask), name
        if values.dtype.kind == "O":
            for one, other in zip(values[~mask], expected[~mask], strict=True):
                assert one.dtype == other.dtype, name
                assert np.array_equal(np.ma.getmaskarray(one), np.ma.getmaskarray(other)), name
                assert np.array_equal(np.ma.filled(one, 0), np.ma.filled(other, 0)), name
        else:
            assert np.array_equal(values, expected, equal_nan=values.dtype.kind in "fc"), name
