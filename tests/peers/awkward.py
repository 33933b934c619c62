"""A clustered table with everything in it that other programs have stumbled over."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable
from astropy.utils.masked import Masked

from astro_cluster.columns import add_column

# Types that VOTable lacks, as they arrive.
WIDER = {"int8": "int16", "uint16": "int32", "uint32": "int64", "uint64": "int64", "float16": "float32"}


def _sky(table: QTable, rng: np.random.Generator) -> None:
    rows = len(table)
    table["ra"] = rng.uniform(55, 58, rows) * u.deg
    table["dec"] = rng.uniform(-1, 1, rows).astype("f4") * u.deg
    table["pmra"] = Masked(rng.normal(20, 2, rows) * u.mas / u.yr, mask=rng.random(rows) < 0.3)
    table["flux"] = rng.lognormal(-30, 2, rows) * u.Unit("erg s-1 cm-2")
    table["flux"][::7] = np.nan
    table["ratio"] = rng.random(rows) * u.dimensionless_unscaled
    for name, ucd in {
        "source_id": "meta.id;meta.main",
        "ra": "pos.eq.ra;meta.main",
        "dec": "pos.eq.dec;meta.main",
        "pmra": "pos.pm;pos.eq.ra",
        "flux": "phot.flux",
    }.items():
        table[name].info.meta = {"ucd": ucd}
        table[name].info.description = f"The {name} & its <limits>"


def _numbers(table: QTable, rng: np.random.Generator) -> None:
    rows = len(table)
    for kind in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        low, high = np.iinfo(kind).min, min(np.iinfo(kind).max, 2**63 - 1)
        values = rng.integers(low, high, rows, dtype=kind, endpoint=True)
        values[:2] = [low, high]  # the values that a declared null may collide with
        table[kind] = values
        table[f"masked_{kind}"] = MaskedColumn(values, mask=rng.random(rows) < 0.3)
    table["float16"] = rng.normal(size=rows).astype("f2")
    table["infinite"] = np.where(rng.random(rows) < 0.5, np.inf, -np.inf)


def _flags_and_words(table: QTable, rng: np.random.Generator) -> None:
    rows = len(table)
    table["is_core"] = rng.random(rows) > 0.5
    table["masked_flag"] = MaskedColumn(rng.random(rows) > 0.5, mask=rng.random(rows) < 0.3)
    table["word"] = [f"HD {i} <&\"'>" for i in range(rows)]
    table["name η π"] = [f"η Tau {i} – 昴" for i in range(rows)]
    table["masked_word"] = MaskedColumn([f"λ{i}" for i in range(rows)], mask=rng.random(rows) < 0.3)
    table["letter"] = rng.choice(["G", "η"], rows)
    table["empty_word"] = np.full(rows, "", dtype="U3")


def _vectors(table: QTable, rng: np.random.Generator) -> None:
    rows = len(table)
    table["latent"] = Column(rng.normal(size=(rows, 3)).astype("f4"), description="Latent coordinates")
    table["image"] = rng.integers(-5, 5, (rows, 2, 3)).astype("i2")
    table["flags"] = rng.random((rows, 3)) > 0.5
    table["spectrum"] = rng.normal(size=(rows, 4)) * u.Jy
    table["spectrum"][:, 1] = np.nan


def awkward_table(rows: int = 200, seed: int = 1) -> QTable:
    """Return a table of at least two rows with two clusters in it."""
    rng = np.random.default_rng(seed)
    table = QTable(meta={"name": "awkward", "title": "η & <co>"})
    table["source_id"] = np.arange(rows) + 2**62 + 1
    _sky(table, rng)
    _numbers(table, rng)
    _flags_and_words(table, rng)
    _vectors(table, rng)
    unused = np.arange(rows) % 5 == 3
    prob = rng.random(rows)
    add_column(table, "cluster", (prob < 0.5).astype("i4"), mask=unused, method="GaussianMixture")
    add_column(table, "prob", prob, index=0, mask=unused)
    add_column(table, "prob", 1 - prob, index=1, mask=unused)
    add_column(table, "prob_max", np.maximum(prob, 1 - prob), mask=unused)
    add_column(table, "match_separation", rng.random(rows) * u.arcsec, mask=~unused, reference="SIMBAD")
    return table


def _parts(column: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the plain values of a column and its mask."""
    mask = np.asarray(getattr(column, "mask", False))
    data = getattr(column, "unmasked", column)
    data = np.ma.getdata(np.asarray(getattr(data, "value", data)))
    return data, np.broadcast_to(mask, data.shape)


def assert_same(back: QTable, sent: QTable) -> None:
    """Compare, column by column, what a partner holds with what it was given."""
    assert back.colnames == sent.colnames
    assert len(back) == len(sent)
    for name in sent.colnames:
        _assert_same_values(name, back[name], sent[name])
        unit = sent[name].info.unit
        assert back[name].info.unit == (None if unit == u.dimensionless_unscaled else unit), name
        # Long ones are wrapped in XML.
        described = [(column.info.description or "").split() for column in (back[name], sent[name])]
        assert described[0] == described[1], name
        ucds = [(column.info.meta or {}).get("ucd") for column in (back[name], sent[name])]
        assert ucds[0] == ucds[1], name


def _assert_same_values(name: str, back: object, sent: object) -> None:
    values, mask = _parts(back)
    expected, expected_mask = _parts(sent)
    assert values.shape == expected.shape, name
    if expected.dtype.kind in "US":
        words = np.where(expected_mask, "", expected)
        assert np.where(mask, "", values.astype(str)).tolist() == words.tolist(), name
        return
    wanted = np.dtype(WIDER.get(expected.dtype.name, expected.dtype.name))
    assert values.dtype.newbyteorder("=") == wanted, name
    if wanted.kind == "f":  # a VOTable knows no difference between NaN and masked
        mask, expected_mask = mask | np.isnan(values), expected_mask | np.isnan(expected)
    assert np.array_equal(mask, expected_mask), name
    assert np.array_equal(values[~mask], expected.astype(wanted)[~mask]), name
