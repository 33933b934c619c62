"""Labels joined to images."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.filing.labels import joined, read_workbook

openpyxl = pytest.importorskip("openpyxl")


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for i in (3, 20, 100):
        Image.new("L", (4, 4), i).save(images / f"f{i:05d}_crop.png")
    return images


LABELS = QTable(
    {
        "source_id": [100, 3, 20],
        "label": ["good", "spurious", "good"],
        "mag": [20.0, 21.0, np.nan] * u.mag,
    }
)


@pytest.mark.parametrize("ending", ["csv", "ecsv", "vot", "fits", "parquet", "xlsx"])
def test_labels_come_in_the_order_of_the_images(folder, tmp_path, ending):
    path = tmp_path / f"labels.{ending}"
    if ending == "xlsx":
        book = openpyxl.Workbook()
        for row in (("source_id", "label"), (100, "good"), (3, "spurious"), (20.0, "good")):
            book.active.append(row)
        book.save(path)
    elif ending == "csv":
        Table(LABELS).write(path)
    else:
        ac.write(LABELS, path)
    out = ac.read_cutouts(folder, pattern="f{source_id:d}_*", labels=path)
    assert out["label"].tolist() == ["spurious", "good", "good"]
    if ending not in ("csv", "xlsx"):
        assert out["mag"].unit == u.mag
    facts = ac.records(out)[0]["labels_joined"]
    assert facts["labelled"] == 3
    assert facts["path"] == str(path)
    assert facts["hash"].startswith("sha256:")
    assert facts["on"] == ["source_id", "source_id"]


def test_what_does_not_go_together_is_told_once(folder):
    labels = QTable({"source_id": [3, 3, 20, 7, 8], "label": ["a", "b", "c", "d", "e"]})
    with pytest.warns(AstroClusterWarning) as warned:
        out = ac.read_cutouts(folder, pattern="f{source_id:d}_*", labels=labels)
    assert [str(one.message) for one in warned] == [
        "labels by source_id: 1 images have no label (100); 2 labels belong to no image (7, 8); "
        "1 identifiers have several labels, of which the first counts (3)"
    ]
    assert out["label"].tolist() == ["a", "c", None]
    facts = ac.records(out)[0]["labels_joined"]
    assert facts["images_without_label"] == {"count": 1, "first": [100]}
    assert facts["labels_without_image"] == {"count": 2, "first": [7, 8]}
    assert facts["double_labels"] == {"count": 1, "first": [3]}


@pytest.mark.parametrize(
    ("mine", "theirs", "fits_together"),
    [
        (["00123"], ["123"], False),
        (["00123"], [123], True),
        ([123], ["00123"], True),
        ([123], [123.0], True),
        (["00123"], [" 00123 "], True),
        (["a"], ["A"], False),
        ([123], ["123.0"], False),
        ([2**62 + 1], [2**62], False),
    ],
)
def test_identifiers_are_numbers_if_either_side_has_numbers(mine, theirs, fits_together):
    names = {"": np.ma.array(["x"]), "id": np.ma.array(mine)}
    labels = Table({"id": theirs, "label": ["good"]})
    if fits_together:
        assert joined(names, labels).columns["label"].tolist() == ["good"]
    else:
        with pytest.raises(InputError, match="no label given belongs to an image"):
            joined(names, labels)


@given(st.lists(st.integers(0, 30), min_size=1), st.lists(st.integers(0, 30), min_size=1))
def test_the_join_is_that_of_a_loop(mine, theirs):
    names = {"": np.ma.array([""]), "id": np.ma.array(mine)}
    labels = Table({"id": theirs, "row": np.arange(len(theirs))})
    expected = [next((row for row, key in enumerate(theirs) if key == one), None) for one in mine]
    if not set(mine) & set(theirs):
        with pytest.raises(InputError):
            joined(names, labels)
        return
    assert joined(names, labels).columns["row"].tolist() == expected


def test_names_of_files_serve_where_there_is_no_identifier(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for i in (3, 20, 100):
        Image.new("L", (4, 4), i).save(images / f"{i}.png")
    out = ac.read_cutouts(images, labels=LABELS)
    assert out["label"].tolist() == ["spurious", "good", "good"]
    assert out["source_id"].tolist() == [3, 20, 100]
    out = ac.read_cutouts(images, labels=LABELS, labels_on="source_id")
    assert out["label"].tolist() == ["spurious", "good", "good"]


def test_a_pair_of_names(folder):
    labels = QTable({"ident": [100, 3, 20], "label": ["good", "spurious", "good"]})
    out = ac.read_cutouts(folder, pattern="f{id:d}_*", labels=labels, labels_on=("id", "ident"))
    assert out["label"].tolist() == ["spurious", "good", "good"]
    assert "ident" not in out.colnames


def test_names_may_differ_in_capitals():
    names = {"": np.ma.array([""]), "source_id": np.ma.array([2])}
    assert joined(names, Table({"Source_ID": [1, 2], "x": [5, 6]})).columns["x"].tolist() == [6]
    with pytest.raises(InputError, match="not clear which column"):
        joined(names, Table({"Source_ID": [1, 2], "SOURCE_ID": [5, 6]}))


def test_columns_with_units_positions_and_several_values():
    position = SkyCoord([1.0, 2.0] * u.deg, [3.0, 4.0] * u.deg)
    labels = QTable(
        {"id": [1, 2], "position": position, "v": np.arange(4).reshape(2, 2), "f": [1.0, 2.0] * u.mJy}
    )
    columns = joined({"": np.ma.array(["", ""]), "id": np.ma.array([2, 5])}, labels).columns
    assert columns["f"].unit == u.mJy
    assert columns["f"].mask.tolist() == [False, True]
    assert columns["v"].mask.tolist() == [[False, False], [True, True]]
    assert columns["position"].ra.deg[0] == 2.0


def test_a_label_that_is_called_as_a_column_of_ours(folder):
    labels = QTable({"source_id": [3, 20, 100], "image": ["a", "b", "c"]})
    out = ac.read_cutouts(folder, pattern="f{source_id:d}_*", labels=labels)
    assert out["label_image"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("labels", "on", "message"),
    [
        (QTable({"a": [1], "b": [2]}), None, "it is not clear which column of the labels names the images"),
        (QTable({"source_id": [1], "b": [2]}), "other", "there is no column 'other'"),
        (
            QTable({"source_id": [1], "b": [2]}),
            "b",
            "the images have no identifier 'b'; theirs are source_id",
        ),
        (QTable({"source_id": [1], "b": [2]}), ("a", "b", "c"), "neither the name of a column nor a pair"),
        (
            QTable({"source_id": [999], "b": [2]}),
            None,
            "no label given belongs to an image: .* 3, 20, 100, .* 999",
        ),
        (QTable({"source_id": np.array([], int)}), None, "the labels given have no row"),
        ("nothing.csv", None, "there is no file nothing.csv"),
        ("nothing.xlsx", None, "there is no file nothing.xlsx"),
    ],
)
def test_labels_that_do_not_go(folder, labels, on, message):
    with pytest.raises(InputError, match=message):
        ac.read_cutouts(folder, pattern="f{source_id:d}_*", labels=labels, labels_on=on)


def test_workbooks(tmp_path):
    book = openpyxl.Workbook()
    rows = [
        ("id", "n", "x", "text", "flag", None, "mixed", "empty"),
        (1, 1, 1.5, "a", True, "no name", 1, None),
        (None, None, None, None, None, None, None, None),
        (2, 2.0, None, "", False, "no name", "b", None),
    ]
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    table = read_workbook(tmp_path / "a.xlsx")
    assert table.colnames == ["id", "n", "x", "text", "flag", "mixed", "empty"]
    assert table["n"].tolist() == [1, 2]
    assert table["n"].dtype == np.int64
    assert table["x"].tolist() == [1.5, None]
    assert table["text"].tolist() == ["a", None]
    assert table["flag"].tolist() == [True, False]
    assert table["mixed"].tolist() == ["1", "b"]
    assert table["empty"].tolist() == [None, None]


def test_formulas_are_not_run(tmp_path):
    book = openpyxl.Workbook()
    for row in (("id", "label"), (1, '=WEBSERVICE("http://example.org")')):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert read_workbook(tmp_path / "a.xlsx")["label"].tolist() == [None]


def test_workbooks_that_are_none(tmp_path):
    (tmp_path / "text.xlsx").write_text("text")
    with pytest.raises(InputError, match="cannot be read as an Excel workbook"):
        read_workbook(tmp_path / "text.xlsx")
    openpyxl.Workbook().save(tmp_path / "empty.xlsx")
    with pytest.raises(InputError, match="is empty"):
        read_workbook(tmp_path / "empty.xlsx")
    book = openpyxl.Workbook()
    book.active.append(["a", "a"])
    book.save(tmp_path / "twice.xlsx")
    with pytest.raises(InputError, match="several columns a"):
        read_workbook(tmp_path / "twice.xlsx")
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 10**6)
    with (
        ac.conf.set_temp("max_image_bytes", 10**5),
        pytest.raises(InputError, match="unpacks to 1000000 bytes"),
    ):
        read_workbook(tmp_path / "bomb.xlsx")


def test_without_openpyxl_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    import sys

    (tmp_path / "a.xlsx").touch()
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match=r"pip install 'astro_cluster\[images\]'"):
        read_workbook(tmp_path / "a.xlsx")


def test_labels_by_the_names_of_files_with_folders_and_endings():
    names = {"": np.ma.array(["a_cam0", "a_cam1"])}
    labels = Table({"member": ["home/me/sci/a_cam1.fits", "home/me/sci/a_cam0.fits"], "good": [1, 0]})
    assert joined(names, labels).columns["good"].tolist() == [0, 1]
    assert joined(names, labels, "member").columns["good"].tolist() == [0, 1]
