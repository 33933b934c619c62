"""Tables go out and come back whole, in every format; a failed write leaves the old file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.provenance import content_hash

RICH = ["vot", "fits", "ecsv", "parquet"]


@pytest.fixture
def awkward() -> QTable:
    """Everything that has ever been lost on the way through a file."""
    n = 6
    mask = np.arange(n) == 2
    t = QTable()
    t["id"] = Column(
        np.arange(n) + 2**62, description="a 64-bit identifier", meta={"ucd": "meta.id;meta.main"}
    )
    t["ra"] = np.linspace(0, 359, n) * u.deg
    t["ra"].info.meta, t["ra"].info.description = {"ucd": "pos.eq.ra;meta.main"}, "right ascension"
    t["flux"] = Masked(np.linspace(1, 2, n) * u.mJy, mask=mask)
    t["pm"] = np.linspace(-1, 1, n) * u.mas / u.yr
    t["nan"] = np.where(mask, np.nan, 1.0)
    t["count"] = MaskedColumn(np.arange(n, dtype="i4"), mask=mask)
    t["small"] = np.arange(n, dtype="u1")
    t["flag"] = MaskedColumn(np.arange(n) % 2 == 0, mask=mask)
    t["bool"] = np.arange(n) % 3 == 0
    t["name"] = MaskedColumn([f"η Tau {i}" for i in range(n)], mask=mask)
    t["ascii"] = [f"HD {i}" * (i + 1) for i in range(n)]
    t["vector"] = np.arange(3.0 * n).reshape(n, 3) * u.km / u.s
    t["f4"] = np.arange(n, dtype="f4")
    t["pos"] = SkyCoord(np.linspace(0, 350, n), np.linspace(-90, 90, n), unit="deg", frame="icrs")
    t["gal"] = SkyCoord(np.linspace(0, 350, n), np.linspace(-9, 9, n), unit="deg", frame="galactic")
    t["when"] = Time(50_000.0 + np.arange(n) / 7, format="mjd", scale="tt")
    t["odd name*"] = np.arange(n)
    t.meta["description"] = "awkward"
    t.meta["limits"] = {"low": 1.5, "unit": "mJy"}
    return ac.read(t)


@pytest.mark.parametrize("ending", RICH)
def test_round_trip_keeps_everything(awkward, tmp_path, ending):
    path = ac.write(awkward, tmp_path / f"t.{ending}")
    back = ac.read(path)
    assert back.colnames == awkward.colnames
    for name in awkward.colnames:
        old, new = awkward[name], back[name]
        assert content_hash(awkward, [name]) == content_hash(back, [name]), name
        assert getattr(new, "unit", None) == getattr(old, "unit", None), name
        assert type(new) in (type(old), *type(old).__mro__) or hasattr(new, "mask"), name
        if hasattr(old, "dtype"):
            assert new.dtype == old.dtype or old.dtype.kind == "U", name
        if name not in ("pos", "gal", "when"):
            assert new.info.description == old.info.description, name
            assert (new.info.meta or {}) == (old.info.meta or {}), name
        np.testing.assert_array_equal(
            np.array(getattr(new, "mask", False)) & np.ones(len(back), bool)
            if getattr(new, "ndim", 1) == 1
            else 0,
            (
                np.array(getattr(old, "mask", False)) & np.ones(len(back), bool)
                | (np.isnan(np.asarray(old)) if name == "nan" and ending in ("vot", "fits") else False)
            )
            if getattr(new, "ndim", 1) == 1
            else 0,
            err_msg=name,
        )
    assert back["pos"].frame.name == "icrs"
    assert back["gal"].frame.name == "galactic"
    assert (back["when"] == awkward["when"]).all()
    assert ac.records(back) == ac.records(awkward)
    assert back.meta["limits"] == awkward.meta["limits"]


@pytest.mark.parametrize("ending", RICH)
def test_zero_rows_survive(tmp_path, ending):
    t = QTable(
        {"x": np.array([], dtype=float) * u.deg, "n": np.array([], dtype="i8"), "s": np.array([], "U4")}
    )
    back = ac.read(ac.write(t, tmp_path / f"none.{ending}"))
    assert len(back) == 0
    assert back.colnames == ["x", "n", "s"]
    assert back["x"].unit == u.deg


def test_two_writes_of_a_read_file_are_the_same(awkward, tmp_path):
    first = ac.read(ac.write(awkward, tmp_path / "1.vot"))
    second = ac.read(ac.write(first, tmp_path / "2.vot"))
    assert content_hash(first) == content_hash(second)


columns = st.one_of(
    hnp.arrays(st.sampled_from(["i2", "i4", "i8", "u1", "f4", "f8"]), 5),
    hnp.arrays("?", 5),
    hnp.arrays(
        "U6", 5, elements=st.text("abcö Ω'\"<&>", min_size=1, max_size=6).filter(lambda s: s.strip() == s)
    ),
)


@pytest.mark.parametrize("ending", RICH)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(columns, min_size=1, max_size=4), mask=hnp.arrays("?", 5))
def test_any_values_and_masks_survive(tmp_path, ending, data, mask):
    table = QTable({f"c{i}": MaskedColumn(values, mask=mask) for i, values in enumerate(data)})
    back = ac.read(ac.write(table, tmp_path / f"h.{ending}", overwrite=True))
    assert content_hash(back) == content_hash(table)


def test_big_endian_fits_turns_native(tmp_path):
    path = tmp_path / "big.fits"
    fits.BinTableHDU.from_columns(
        [
            fits.Column("x", "D", array=np.arange(3.0), unit="deg"),
            fits.Column("s", "4A", array=["a", "b", "c"]),
        ]
    ).writeto(path)
    t = ac.read(path)
    assert t["x"].dtype.isnative
    assert t["x"].unit == u.deg
    assert t["s"].dtype.kind == "U"


def test_fits_names_an_hdu(tmp_path):
    path = tmp_path / "two.fits"
    hdus = [
        fits.BinTableHDU.from_columns([fits.Column("x", "D", array=[float(i)])], name=f"T{i}") for i in (1, 2)
    ]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    assert ac.read(path)["x"][0] == 1.0
    assert ac.read(path, hdu="T2")["x"][0] == 2.0
    assert ac.read(path, hdu=2)["x"][0] == 2.0


def test_csv_keeps_64_bit_integers_and_says_what_it_drops(awkward, tmp_path):
    plain = awkward["id", "ra", "name"]
    with pytest.warns(AstroClusterWarning, match="drops units, descriptions and UCDs, the record"):
        ac.write(plain, tmp_path / "t.csv")
    back = ac.read(tmp_path / "t.csv")
    assert back["id"].tolist() == awkward["id"].tolist()
    assert back["name"].mask.tolist() == awkward["name"].mask.tolist()
    with pytest.raises(InputError, match="vector"):
        ac.write(awkward["id", "vector"], tmp_path / "v.csv")


def test_several_files_are_stacked_with_their_names(tmp_path):
    for i in range(3):
        ac.write(
            QTable({"x": [1.0 * i] * u.m, "only": np.arange(1)} if i else {"x": [0.0] * u.cm}),
            tmp_path / f"p{i}.vot",
        )
    stacked = ac.read(str(tmp_path / "p?.vot"))
    assert len(stacked) == 3
    assert [Path(name).name for name in stacked["source_file"]] == ["p0.vot", "p1.vot", "p2.vot"]
    assert stacked["x"].to_value(u.m).tolist() == [0.0, 1.0, 2.0]
    assert stacked["only"].mask.tolist() == [True, False, False]
    assert [part["rows"] for part in ac.records(stacked)[0]["files"]] == [1, 1, 1]
    assert ac.read([tmp_path / "p1.vot", tmp_path / "p2.vot"])["x"].unit == u.m


def test_tables_that_do_not_go_together(tmp_path):
    ac.write(QTable({"x": [1.0] * u.m}), tmp_path / "a.vot")
    ac.write(QTable({"x": [1.0] * u.s}), tmp_path / "b.vot")
    with pytest.raises(InputError, match="cannot be stacked"):
        ac.read([tmp_path / "a.vot", tmp_path / "b.vot"])


def test_a_table_in_memory_is_copied():
    t = Table({"x": [1.0, 2.0]})
    out = ac.read(t)
    out["x"][0] = 9.0
    assert t["x"][0] == 1.0
    assert isinstance(out, QTable)


def test_object_columns_of_text_are_text(tmp_path):
    t = QTable({"s": np.array(["a", None, "ccc"], dtype=object)})
    back = ac.read(ac.write(t, tmp_path / "o.vot"))
    assert back["s"].filled("?").tolist() == ["a", "?", "ccc"]
    with pytest.raises(InputError, match="Python objects"):
        ac.write(QTable({"s": np.array([{}, None], dtype=object)}), tmp_path / "p.vot")


def test_wide_types_that_votable_lacks(tmp_path):
    t = QTable({"i1": np.array([-3], "i1"), "u2": np.array([65535], "u2"), "u4": np.array([2**32 - 1], "u4")})
    t["u8"] = np.array([5], "u8")
    back = ac.read(ac.write(t, tmp_path / "w.vot"))
    assert [int(back[n][0]) for n in t.colnames] == [-3, 65535, 2**32 - 1, 5]
    with pytest.raises(InputError, match="above 2"):
        ac.write(QTable({"u8": np.array([2**64 - 1], "u8")}), tmp_path / "x.vot")


UNITS = [
    *(
        "electron / s",
        "DN",
        "%",
        "earthMass",
        "AB",
        "mag(AB)",
        "dex(cm / s2)",
        "hourangle",
        "deg_C",
        "0.3 Jy",
    ),
    *("mas / yr", "erg / (s cm2)", "ct", "pix", "mag", "solMass", "nmgy", "Angstrom"),
]


@pytest.mark.parametrize("ending", RICH)
@pytest.mark.parametrize("text", UNITS)
def test_every_unit_survives(tmp_path, ending, text):
    with u.add_enabled_units([u.mgy]):
        table = QTable({"x": np.array([1.5, 2.5]) * u.Unit(text), "y": [1, 2]})
        back = ac.read(ac.write(table, tmp_path / f"t.{ending}"))
        assert back["x"].unit == table["x"].unit
        assert str(back["x"].unit) == str(table["x"].unit)
        assert type(back["x"]) is type(table["x"])
        np.testing.assert_array_equal(back["x"].value, [1.5, 2.5])


@pytest.mark.parametrize("ending", ["vot", "fits"])
def test_a_unit_that_nobody_knows_is_kept_as_text(tmp_path, ending):
    strange = u.def_unit("furlong_per_moon")
    back = ac.read(ac.write(QTable({"x": [1.0] * strange}), tmp_path / f"x.{ending}"))
    assert str(back["x"].unit) == "furlong_per_moon"
    np.testing.assert_array_equal(np.asarray(back["x"]), [1.0])


def test_several_texts_a_row(tmp_path):
    t = QTable({"id": [1, 2], "n": np.array([["ab", "c"], ["d", "ef"]])})
    for ending in RICH:
        assert ac.read(ac.write(t, tmp_path / f"t.{ending}"))["n"].tolist() == t["n"].tolist()


def test_small_signed_integers_are_no_booleans(tmp_path):
    t = QTable({"i": np.array([-1, 0, 3], "i1"), "v": np.array([[1, -2]] * 3, "i1")})
    for ending in RICH:
        back = ac.read(ac.write(t, tmp_path / f"t.{ending}"))
        assert back["i"].tolist() == [-1, 0, 3]
        assert back["v"].tolist() == [[1, -2]] * 3


def test_utf8_bytes(tmp_path):
    back = ac.read(ac.write(QTable({"s": np.array(["é".encode(), b"b"])}), tmp_path / "t.vot"))
    assert back["s"].tolist() == ["é", "b"]


def test_a_votable_that_lacks_rows_is_refused(tmp_path):
    path = ac.write(QTable({"x": np.arange(999)}), tmp_path / "t.vot")
    text = path.read_bytes()
    start = text.index(b'base64">') + 8
    path.write_bytes(text[: start + 1200] + text[start + 2400 :])
    with pytest.raises(InputError, match=r"of 999 rows are there|cannot be read"):
        ac.read(path)


@pytest.mark.parametrize("address", ["file:///etc/hostname", "http://127.0.0.1:9/x"])
def test_data_at_another_address_are_not_fetched(tmp_path, address):
    path = ac.write(QTable({"x": [1]}), tmp_path / "t.vot")
    path.write_bytes(path.read_bytes().replace(b'encoding="base64"', f'href="{address}"'.encode()))
    with pytest.raises(InputError, match="STREAM href"):
        ac.read(path)


@pytest.mark.filterwarnings("ignore:CSV drops")
@pytest.mark.parametrize("ending", ["vot.gz", "xml.gz", "csv.gz", "fits.gz"])
def test_compressed_files(tmp_path, ending):
    path = ac.write(QTable({"x": np.arange(50), "s": ["é"] * 50}), tmp_path / f"t.{ending}")
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    back = ac.read(path)
    assert back["x"].tolist() == list(range(50))
    assert back["s"][0] == "é"


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfra,dec\n1,2\n")
    assert ac.read(tmp_path / "t.csv").colnames == ["ra", "dec"]


def test_stacking_does_not_round_identifiers(tmp_path):
    (tmp_path / "a.csv").write_text("id\n9007199254740993\n")
    (tmp_path / "b.csv").write_text("id\n1.5\n")
    with pytest.raises(InputError, match="would be rounded"):
        ac.read([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_meta_that_no_file_can_keep_is_named(tmp_path):
    t = QTable({"x": [1]}, meta={"note": "12 unrecorded sources", "odd": {1, 2}})
    for ending in RICH:
        with pytest.warns(AstroClusterWarning, match="entries of the meta: odd$"):
            path = ac.write(t, tmp_path / f"t.{ending}")
        assert ac.read(path).meta["note"] == "12 unrecorded sources"
    assert "odd" in t.meta


def test_the_record_survives_as_parameters_too(awkward, tmp_path):
    """As TOPCAT writes it: PARAMs of the table instead of INFOs."""
    path = ac.write(awkward["id", "ra"], tmp_path / "t.vot")
    text = path.read_text()
    info = text[text.index('<INFO ID="astro_cluster_record"') :]
    info = info[: info.index("/>") + 2]
    param = info.replace("<INFO", '<PARAM datatype="char" arraysize="*"')
    text = text.replace(info, "")
    cut = text.index(">", text.index("<TABLE")) + 1
    path.write_text(text[:cut] + param + text[cut:])
    assert ac.records(ac.read(path)) == ac.records(awkward)


def test_an_old_position_is_not_taken_for_icrs(tmp_path):
    from astro_cluster.matching import find_position, sky_coord

    t = QTable({"pos": SkyCoord([10.0], [20.0], unit="deg", frame="fk4")})
    path = ac.write(t, tmp_path / "t.vot")
    text = path.read_bytes().replace(b"astro_cluster_mixins", b"nothing")
    path.write_bytes(text.replace(b'system="eq_FK4"', b'system="eq_FK4" equinox="B1950"'))
    read = ac.read(path)
    found, _ = sky_coord(read, find_position(read))
    assert found.icrs.separation(t["pos"].icrs).arcsec.max() < 1e-6


def test_a_link_and_the_rights_of_a_file_stay(tmp_path):
    real = ac.write(QTable({"x": [1]}), tmp_path / "real.vot")
    real.chmod(0o600)
    link = tmp_path / "link.vot"
    link.symlink_to(real)
    ac.write(QTable({"x": [2]}), link, overwrite=True)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert ac.read(real)["x"].tolist() == [2]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "t.vot", "is empty"),
        (b"<?xml version='1.0'?><VOTABLE><RESOURCE><TABLE>", "t.vot", "cut short"),
        (b"SIMPLE  =   T and then nothing", "t.fits", "cannot be read as fits"),
        (b"PAR1 no more", "t.parquet", "cannot be read as parquet"),
        (b"\x00\x01\x02", "t.xyz", "cannot tell the format"),
        (b"a,b\n1,2\n1,2,3\n", "t.csv", "cannot be read as csv"),
    ],
)
def test_broken_files(tmp_path, content, name, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        ac.read(path)
    assert name in str(caught.value)


@pytest.mark.parametrize("ending", RICH)
def test_truncated_files(awkward, tmp_path, ending):
    path = ac.write(awkward, tmp_path / f"t.{ending}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        ac.read(path)


def test_what_cannot_be_read_says_so(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        ac.read(tmp_path / "none.vot")
    with pytest.raises(InputError, match="is a folder"):
        ac.read(tmp_path)
    with pytest.raises(InputError, match="no file matches"):
        ac.read(str(tmp_path / "*.vot"))
    with pytest.raises(InputError, match=r"QTable\.from_pandas"):
        ac.read(42)
    with pytest.raises(InputError, match="no file was given"):
        ac.read([])
    path = ac.write(QTable({"x": [1]}), tmp_path / "t.vot")
    with pytest.raises(InputError, match="no table number 3"):
        ac.read(path, table=3)
    with pytest.raises(InputError, match="format 'hdf5'"):
        ac.read(path, format="hdf5")


def test_an_existing_file_is_not_replaced_unasked(tmp_path):
    path = ac.write(QTable({"x": [1]}), tmp_path / "t.vot")
    with pytest.raises(InputError, match="overwrite=True"):
        ac.write(QTable({"x": [2]}), path)
    assert ac.read(path)["x"][0] == 1
    ac.write(QTable({"x": [2]}), path, overwrite=True)
    assert ac.read(path)["x"][0] == 2


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = ac.write(QTable({"x": [1]}), tmp_path / "t.vot")

    def full(*args: object, **kwargs: object) -> None:
        args[1].write(b"<?xml half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("astro_cluster.votable.write_votable", full)
    with pytest.raises(InputError, match="No space left on device; the old file is untouched"):
        ac.write(QTable({"x": [2]}), path, overwrite=True)
    monkeypatch.undo()
    assert ac.read(path)["x"][0] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["t.vot"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_really_full_device_is_one_clear_error():
    from astro_cluster import votable

    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb", buffering=0) as file:  # noqa: PTH123
        votable.write_votable(QTable({"x": np.arange(1000)}), file)


def test_an_interruption_leaves_nothing_behind(tmp_path, monkeypatch):
    def stop(*args: object, **kwargs: object) -> None:
        args[1].write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("astro_cluster.votable.write_votable", stop)
    with pytest.raises(KeyboardInterrupt):
        ac.write(QTable({"x": [2]}), tmp_path / "t.vot")
    assert list(tmp_path.iterdir()) == []


def test_where_a_file_cannot_go(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        ac.write(QTable({"x": [1]}), tmp_path / "no" / "t.vot")
    with pytest.raises(InputError, match="in which format"):
        ac.write(QTable({"x": [1]}), tmp_path / "t.docx")


def test_votable_versions(tmp_path):
    t = QTable({"x": [1.0]})
    assert b'version="1.4"' in ac.write(t, tmp_path / "a.vot").read_bytes()
    assert b'version="1.5"' in ac.write(t, tmp_path / "b.vot", votable_version="1.5").read_bytes()
    with pytest.raises(InputError, match=r"1\.9"):
        ac.write(t, tmp_path / "c.vot", votable_version="1.9")


def test_booleans_are_boolean_and_positions_have_a_frame(awkward, tmp_path):
    text = ac.write(awkward, tmp_path / "t.vot").read_bytes()
    assert b'datatype="bit"' not in text
    assert b'datatype="boolean"' in text
    assert b'<COOSYS ID="icrs" system="ICRS"' in text
    assert b'ucd="pos.eq.ra;meta.main"' in text


def test_a_unit_in_the_style_of_another_version_is_understood(tmp_path):
    path = ac.write(QTable({"pm": [1.0] * u.mas / u.yr}), tmp_path / "t.vot")
    text = path.read_bytes().replace(b'version="1.4"', b'version="1.2"').replace(b"v1.4", b"v1.2")
    path.write_bytes(text)
    assert ac.read(path)["pm"].unit == u.mas / u.yr


def test_a_unit_that_is_nonsense_is_kept_with_a_warning(tmp_path):
    path = ac.write(QTable({"pm": [1.0] * u.deg}), tmp_path / "t.vot")
    path.write_bytes(path.read_bytes().replace(b'unit="deg"', b'unit="wibble"'))
    with pytest.warns(AstroClusterWarning, match=r"pm \[wibble\]"):
        assert str(ac.read(path)["pm"].unit) == "wibble"


def test_parquet_of_other_programs(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    path = tmp_path / "lsdb.parquet"
    table = pa.table(
        {
            "id": pa.array([2**62, None, 7], pa.int64()),
            "f": pa.array([1.0, None, 2.0]),
            "s": pa.array(["a", None, "b"]),
            "b": pa.array([True, None, False]),
        }
    )
    pyarrow.parquet.write_table(table, path)
    t = ac.read(path)
    assert t["id"].filled(-1).tolist() == [2**62, -1, 7]  # never through a float
    for name in t.colnames:
        assert t[name].mask.tolist() == [False, True, False]
    pyarrow.parquet.write_table(pa.table({"d": pa.array([{"a": 1}])}), path)
    with pytest.raises(InputError, match="column 'd'"):
        ac.read(path)


def test_markdown_and_latex(tmp_path):
    t = QTable({"main_type": ["TTau*", "A|B"], "mean_x": [0.123456, 2.0] * u.deg})
    t["mean_x"].info.format = ".3f"
    md = ac.write(t, tmp_path / "t.md").read_text()
    assert md.splitlines()[0] == "| main_type | mean_x [deg] |"
    assert md.splitlines()[3] == r"| A\|B | 2.000 |"
    tex = ac.write(t, tmp_path / "t.tex").read_text()
    assert r"main\_type & mean\_x \\" in tex
    assert " & deg" in tex
    with pytest.raises(InputError, match="cannot tell the format"):
        ac.read(tmp_path / "t.md")
