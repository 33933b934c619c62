"""Mixin columns come apart and together again; their neighbours stay."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable
from astropy.time import Time, TimeDelta

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.mixins import as_text, join_mixins, split_mixins
from astro_cluster.provenance import content_hash


def position(**more: object) -> SkyCoord:
    return SkyCoord([1.0, 2.0] * u.deg, [3.0, 4.0] * u.deg, **more)


def there_and_back(table: QTable) -> QTable:
    plain, layout, _ = split_mixins(table)
    assert all(isinstance(plain[n], (Column, u.Quantity)) for n in plain.colnames)
    return join_mixins(plain, layout)


def test_a_table_without_mixins_is_given_back():
    table = QTable({"x": [1.0] * u.m, "n": [1]})
    plain, layout, frames = split_mixins(table)
    assert plain is table
    assert (layout, frames) == ("", {})


@pytest.mark.parametrize(
    "column",
    [
        position(),
        position(frame="galactic"),
        position(frame="fk5", equinox="J1975"),
        position(distance=[5.0, 6.0] * u.kpc),
        position(pm_ra_cosdec=[1.0, 2.0] * u.mas / u.yr, pm_dec=[3.0, 4.0] * u.mas / u.yr, obstime="J2016"),
        Time([5e4, 5.1e4], format="mjd", scale="tt"),
        Time(["2020-01-01", "2021-02-03"], scale="utc"),
        TimeDelta([1.0, 2.0], format="jd"),
    ],
)
def test_round_trip(column):
    table = QTable({"before": [1, 2], "c": column, "after": ["a", "b"]})
    back = there_and_back(table)
    assert back.colnames == ["before", "c", "after"]
    assert type(back["c"]) is type(column)
    if isinstance(column, SkyCoord):
        assert back["c"].is_equivalent_frame(column)
        assert (back["c"].separation(column) < 1e-12 * u.deg).all()
        assert set(back["c"].data.differentials) == set(column.data.differentials)
    else:
        assert (back["c"] == column).all()
        assert back["c"].scale == column.scale
        assert back["c"].format == column.format


def test_parts_have_ucds_and_frames():
    table = QTable({"p": position(), "g": position(frame="galactic"), "t": Time([5e4, 5e4], format="mjd")})
    plain, _, frames = split_mixins(table)
    ucds = {n: (plain[n].info.meta or {}).get("ucd") for n in plain.colnames}
    assert ucds["p.ra"] == "pos.eq.ra;meta.main"
    assert ucds["p.dec"] == "pos.eq.dec;meta.main"
    assert ucds["g.l"] == "pos.galactic.lon"
    assert ucds["g.b"] == "pos.galactic.lat"
    assert frames == {"p.ra": "icrs", "p.dec": "icrs", "g.l": "galactic", "g.b": "galactic"}
    assert plain["p.ra"].info.description == "ra of p"


def test_a_mixin_of_which_a_part_is_gone_stays_in_parts():
    plain, layout, _ = split_mixins(QTable({"p": position(), "q": position()}))
    plain.remove_column("p.dec")
    assert join_mixins(plain, layout).colnames == ["p.ra", "q"]


@pytest.mark.parametrize("first", [True, False])
def test_a_neighbour_with_a_dotted_name_is_kept(first):
    columns = {"pos.quality": [0.5, 0.7], "pos": position()}
    table = QTable(columns if first else dict(reversed(columns.items())))
    back = there_and_back(table)
    assert back.colnames == table.colnames
    assert back["pos.quality"].tolist() == [0.5, 0.7]


@pytest.mark.parametrize("ending", ["vot", "fits", "ecsv", "parquet"])
def test_a_neighbour_with_a_dotted_name_survives_files(tmp_path, ending):
    table = QTable({"pos": position(), "pos.quality": [0.5, 0.7]})
    back = ac.read(ac.write(table, tmp_path / f"t.{ending}"))
    assert set(back.colnames) == {"pos", "pos.quality"}


def test_a_column_that_has_a_parts_name_is_not_lost():
    table = QTable({"pos": position(), "pos.ra": [50.0, 60.0]})
    try:
        back = there_and_back(table)
    except InputError:
        return
    assert set(back.colnames) == {"pos", "pos.ra"}
    assert back["pos.ra"].tolist() == [50.0, 60.0]
    assert content_hash(back, ["pos"]) == content_hash(table, ["pos"])


def test_mixins_whose_names_begin_alike():
    table = QTable({"pos": position(), "pos2": position(), "pos.b": position(frame="galactic")})
    assert there_and_back(table).colnames == ["pos", "pos2", "pos.b"]


def test_text_of_objects():
    column = MaskedColumn(
        np.array(["a", None, "c"], dtype=object), mask=[False, False, True], description="d"
    )
    text = as_text("s", column)
    assert text.dtype.kind == "U"
    assert text.mask.tolist() == [False, True, True]
    assert text.description == "d"
    assert not hasattr(as_text("s", Column(np.array(["a", "b"], dtype=object))), "mask")
    with pytest.raises(InputError, match="column 's' holds Python objects"):
        as_text("s", Column(np.array(["a", 3], dtype=object)))
