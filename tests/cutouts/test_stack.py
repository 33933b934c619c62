"""The stack of images of a table: in it, in a file that it links to, in large FITS tables."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, vstack
from astropy.utils.masked import Masked
from astropy.utils.metadata import MergeConflictWarning

import astro_cluster as ac
from astro_cluster import fitsblocks, fitstable
from astro_cluster.cutouts.leaving import leave_images, remember_stack
from astro_cluster.cutouts.stack import (
    image_column,
    link_images,
    linked_images,
    open_stack,
    stack_hash,
    usable_images,
)
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.linked import LINK_KEY, ROW_COLUMN


def _images(n: int = 5, dtype: str = "f4", shape: tuple[int, ...] = (8, 9)) -> np.ndarray:
    return (np.random.default_rng(n).random((n, *shape)) * 200).astype(dtype)


# ---------------------------------------------------------------- columns


def test_the_column_of_images_is_found() -> None:
    two = {"stamp": _images(), "mask": _images()}
    assert image_column(QTable({"x": np.ones((5, 3)), "stamp": _images()})) == "stamp"
    assert image_column(QTable({"image": _images(), **two})) == "image"
    assert image_column(QTable(two), "mask") == "mask"
    with pytest.raises(InputError, match="stamp, mask; say which"):
        image_column(QTable(two))
    with pytest.raises(InputError, match="no column 'imge'; did you mean 'image'"):
        image_column(QTable({"image": _images()}), "imge")
    with pytest.raises(InputError, match=r"'x' holds no images: its shape is \(5, 3\)"):
        image_column(QTable({"x": np.ones((5, 3))}), "x")
    with pytest.raises(InputError, match="link_images"):
        image_column(QTable({ROW_COLUMN: [0, 1]}))


def test_images_are_the_memory_of_the_column() -> None:
    images = _images()
    table = QTable()
    table.add_column(Column(images, copy=False), name="image", copy=False)
    assert np.shares_memory(ac.images_of(table), images)
    quantity = QTable()
    quantity.add_column(u.Quantity(images, u.Jy, copy=False), name="image", copy=False)
    assert type(ac.images_of(quantity)) is np.ndarray
    assert np.shares_memory(ac.images_of(quantity), images)


@pytest.mark.parametrize("kind", [MaskedColumn, "quantity"])
def test_masked_pixels_are_nan(kind: object) -> None:
    images = _images()
    mask = images > 150
    column = Masked(images * u.Jy, mask=mask) if kind == "quantity" else MaskedColumn(images, mask=mask)
    found = ac.images_of(QTable({"image": column}))
    np.testing.assert_array_equal(found, np.where(mask, np.nan, images))


def test_other_byte_orders_become_the_machine_s_own() -> None:
    found = ac.images_of(QTable({"image": _images().astype(">f4")}))
    assert found.dtype == np.dtype("f4")
    np.testing.assert_array_equal(found, _images())


def test_which_images_can_be_used() -> None:
    images = _images()
    images[1], images[2, 0, 0], images[3, 4] = np.nan, np.nan, np.nan
    table = QTable({"image": images, "image_bad": [True, False, False, False, False]})
    assert usable_images(table).tolist() == [False, False, True, True, True]
    table["image_bad"] = MaskedColumn([False] * 5, mask=[False, False, False, False, True])
    assert usable_images(table).tolist() == [True, False, True, True, False]
    assert usable_images(QTable({"image": _images(dtype="u1")})).all()


# ---------------------------------------------------------------- links


@pytest.fixture(params=["fits", "npy"])
def stack_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file with five images."""
    path = tmp_path / f"gal.{request.param}"
    if request.param == "npy":
        np.save(path, _images())
        return path
    return ac.write(QTable({"id": np.arange(5), "image": _images(), "flag": np.ones(5, dtype=bool)}), path)


@pytest.mark.parametrize("ending", ["vot", "ecsv", "fits", "parquet", "vot.gz"])
def test_a_linked_table_finds_its_images_from_any_format(
    stack_file: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [4, 0, 2, 2]
    table = link_images(QTable({"id": rows}), stack_file, rows=rows)
    path = ac.write(table, tmp_path / f"latent.{ending}")
    assert table.meta[LINK_KEY]["file"] == str(stack_file)  # ours is untouched
    monkeypatch.chdir(tmp_path.parent)  # where the program runs does not matter
    back = ac.read(path)
    np.testing.assert_array_equal(ac.images_of(back), _images()[rows])
    back = back[np.argsort(back["id"])]  # as TOPCAT may sort it
    np.testing.assert_array_equal(ac.images_of(back[1:]), _images()[[2, 2, 4]])
    assert usable_images(back).all()


def test_a_link_is_written_relative_to_the_table(stack_file: Path, tmp_path: Path) -> None:
    table = link_images(QTable({"id": np.arange(5)}), stack_file)
    path = ac.write(table, tmp_path / "a.ecsv")
    assert f"file: {stack_file.name}" in path.read_text()
    (tmp_path / "other").mkdir()
    far = ac.write(table, tmp_path / "other" / "b.ecsv")
    assert f"file: {stack_file}" in far.read_text()
    assert ac.images_of(ac.read(far)).shape == (5, 8, 9)
    # Both are moved, and what the link says is elsewhere and gone.
    moved = tmp_path / "moved"
    moved.mkdir()
    far.rename(moved / "b.ecsv")
    stack_file.rename(moved / stack_file.name)
    assert ac.images_of(ac.read(moved / "b.ecsv")).shape == (5, 8, 9)


def test_rows_without_an_image_are_nan(stack_file: Path) -> None:
    rows = np.ma.array([3, 0, 1], mask=[False, True, False])
    table = link_images(QTable({"id": [1, 2, 3]}), stack_file, rows=rows)
    found = ac.images_of(table)
    np.testing.assert_array_equal(found[[0, 2]], _images()[[3, 1]])
    assert np.isnan(found[1]).all()
    assert usable_images(table).tolist() == [True, False, True]


def test_a_stack_that_has_gone_is_missed_only_where_it_is_needed(stack_file: Path, tmp_path: Path) -> None:
    path = ac.write(link_images(QTable({"id": np.arange(5)}), stack_file), tmp_path / "a.vot")
    stack_file.unlink()
    table = ac.read(path)
    assert len(table) == 5
    with pytest.raises(InputError, match="are not where they were"):
        ac.images_of(table)
    with pytest.raises(InputError, match="are not where they were"):
        ac.image_quality(table)


@pytest.mark.parametrize("change", ["pixel", "shape", "type", "number"])
def test_a_stack_that_has_changed_is_noticed(stack_file: Path, change: str) -> None:
    table = link_images(QTable({"id": np.arange(5)}), stack_file)
    images = _images()
    if change == "pixel":
        images[4, 7, 8] += 1
    changed = {
        "pixel": images,
        "shape": images[:, :7],
        "type": images.astype("f8"),
        "number": np.concatenate([images, images]),
    }[change]
    if stack_file.suffix == ".npy":
        np.save(stack_file, changed)
    else:
        ac.write(QTable({"image": changed}), stack_file, overwrite=True)
    with pytest.raises(InputError, match="has changed since the table was written"):
        ac.images_of(table)
    again = link_images(table, stack_file)  # as they are now
    np.testing.assert_array_equal(ac.images_of(again), changed[:5])


def test_damaged_stacks_are_one_clear_error(tmp_path: Path) -> None:
    path = ac.write(QTable({"image": _images(400, shape=(16, 16))}), tmp_path / "a.fits")
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(InputError, match=r"a\.fits"):
        open_stack(path)
    for name, content in (("b.npy", b"\x93NUMPY nonsense"), ("c.fits", b"SIMPLE"), ("d.npy", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            open_stack(tmp_path / name)
    with pytest.raises(InputError, match="no file"):
        open_stack(tmp_path / "e.fits")
    with zipfile.ZipFile(tmp_path / "g.npy", "w") as archive:
        archive.writestr("a.npy", "")
    with pytest.raises(InputError, match="an archive of arrays"):
        open_stack(tmp_path / "g.npy")
    np.save(tmp_path / "f.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"f\.npy"):
        open_stack(tmp_path / "f.npy")


@pytest.mark.parametrize("rows", [[0, 5], [-1, 2], [0], [0.5, 1.0]])
def test_rows_that_a_stack_has_not_are_refused(stack_file: Path, rows: list[float]) -> None:
    with pytest.raises(InputError, match="images"):
        link_images(QTable({"id": [1, 2]}), stack_file, rows=rows)


def test_damaged_links_are_no_links(stack_file: Path) -> None:
    for damaged in ("gal.fits", {"file": 3}, {"column": "image"}, None):
        table = QTable({ROW_COLUMN: [0]}, meta={LINK_KEY: damaged})
        with pytest.raises(InputError):
            ac.images_of(table)
    with pytest.raises(InputError, match="links to no images"):
        linked_images(QTable({"id": [1]}))
    linked = link_images(QTable({"id": [1]}), stack_file, rows=[0])
    for shape in (8, None, "8 x 9"):
        linked.meta[LINK_KEY] = {**linked.meta[LINK_KEY], "shape": shape}
        with pytest.raises(InputError, match="does not say of which stack"):
            ac.images_of(linked)


@pytest.mark.parametrize(
    "place",
    ["x" * 5000, "a\0b.fits", "/dev/zero", "http://example.org/a.fits", "pipe.fits", "sub"],
)
def test_a_link_opens_nothing_but_a_regular_file(stack_file: Path, tmp_path: Path, place: str) -> None:
    """A table from elsewhere is read whatever it links to; only its images are missed."""
    os.mkfifo(tmp_path / "pipe.fits")
    (tmp_path / "sub").mkdir()
    linked = link_images(QTable({"id": [7]}), stack_file, rows=[0])
    linked.meta[LINK_KEY] = {**linked.meta[LINK_KEY], "file": place}
    linked.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    back = ac.read(tmp_path / "t.ecsv")
    assert back["id"].tolist() == [7]
    with pytest.raises(InputError, match="not where they were"):
        ac.images_of(back)


def test_what_astropy_stacks_is_not_taken_for_one_stack(stack_file: Path, tmp_path: Path) -> None:
    """It puts the lists of the links one behind the other, and takes the rest from the last table."""
    one = link_images(QTable({"id": [0, 1]}), stack_file, rows=[0, 1])
    np.save(tmp_path / "other.npy", _images()[::-1])
    other = link_images(QTable({"id": [2]}), tmp_path / "other.npy", column="image", rows=[2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MergeConflictWarning)
        different, same = vstack([one, other]), vstack([one, one[::-1]])
    for stacked in (different, same):
        with pytest.raises(InputError, match="was stacked of several"):
            ac.images_of(stacked)
    again = link_images(same, stack_file)
    np.testing.assert_array_equal(ac.images_of(again), _images()[[0, 1, 1, 0]])


def test_rows_in_a_changed_column_are_checked(stack_file: Path) -> None:
    table = link_images(QTable({"id": [0, 1]}), stack_file, rows=[0, 1])
    table[ROW_COLUMN] = [-3, 1]
    with pytest.raises(InputError, match="names image -3, counted from 0"):
        ac.images_of(table)
    table[ROW_COLUMN] = [[0, 1], [2, 3]]
    with pytest.raises(InputError, match="2 whole numbers, one a row"):
        ac.images_of(table)


def test_images_inside_do_not_need_a_row_of_a_stack() -> None:
    rows = MaskedColumn([0, 0], mask=[False, True])
    assert usable_images(QTable({"image": np.ones((2, 8, 8)), ROW_COLUMN: rows})).tolist() == [True, True]


def test_the_hash_is_of_what_is_there() -> None:
    images = _images()
    assert stack_hash(images) == stack_hash(images.astype(">f4")) == stack_hash(np.asfortranarray(images))
    different = [images.astype("f8"), images[:4], images.reshape(5, 9, 8), images[::-1]]
    assert len({stack_hash(other) for other in [images, *different]}) == 5


def test_stacked_tables_keep_a_common_link_only(stack_file: Path, tmp_path: Path) -> None:
    one = ac.write(link_images(QTable({"id": [0, 1]}), stack_file, rows=[0, 1]), tmp_path / "1.vot")
    two = ac.write(link_images(QTable({"id": [2]}), stack_file, rows=[2]), tmp_path / "2.vot")
    np.testing.assert_array_equal(ac.images_of(ac.read([one, two])), _images()[:3])
    np.save(tmp_path / "other.npy", _images()[::-1])
    three = ac.write(link_images(QTable({"id": [3]}), tmp_path / "other.npy", rows=[0]), tmp_path / "3.vot")
    with pytest.warns(AstroClusterWarning, match="no images"):
        stacked = ac.read([one, three])
    assert ROW_COLUMN not in stacked.colnames


# ---------------------------------------------------------------- left behind


def _written(table: QTable, path: Path, **options: bool) -> tuple[QTable, str]:
    out, note = leave_images(table, path, **options)
    ac.write(out, path, overwrite=True)
    return ac.read(path), note


def test_images_stay_in_the_file_that_they_came_from(tmp_path: Path) -> None:
    source = ac.write(QTable({"id": np.arange(5), "image": _images()}), tmp_path / "gal.fits")
    table = remember_stack(ac.read(source), source)
    kept = table[[3, 1]]  # as a match may
    kept["latent"] = np.ones((2, 4))
    back, note = _written(kept, tmp_path / "latent.vot")
    assert note == "images stay in gal.fits (5 × 8 × 9 float32); latent.vot links to it"
    assert back.colnames == ["id", "image_row", "latent"]
    np.testing.assert_array_equal(ac.images_of(back), _images()[[3, 1]])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gal.fits", "latent.vot"]
    # And on, from a linked table to the next.
    after, note = _written(back, tmp_path / "km.ecsv")
    assert "images stay in gal.fits" in note
    np.testing.assert_array_equal(ac.images_of(after), _images()[[3, 1]])
    # In a FITS file they are inside again, without a link.
    inside, note = _written(kept, tmp_path / "kept.fits")
    assert note == ""
    assert inside.colnames == ["id", "image", "latent"]
    assert LINK_KEY not in inside.meta


def test_images_of_no_file_or_changed_ones_are_written_beside(tmp_path: Path) -> None:
    source = ac.write(QTable({"image": _images(), "flux": np.arange(5.0)}), tmp_path / "gal.fits")
    table = remember_stack(ac.read(source), source)
    table["image"] = table["image"] * 2
    back, note = _written(table, tmp_path / "twice.vot")
    assert note == "images are in twice.images.fits (5 × 8 × 9 float32); twice.vot links to it"
    np.testing.assert_array_equal(ac.images_of(back), _images() * 2)
    with pytest.raises(InputError, match=r"twice\.images\.fits, which exists already"):
        leave_images(table, tmp_path / "twice.vot")
    fresh, _ = _written(QTable({"image": _images(dtype="u1", shape=(4, 5, 3))}), tmp_path / "f.parquet")
    np.testing.assert_array_equal(ac.images_of(fresh), _images(dtype="u1", shape=(4, 5, 3)))


def test_other_columns_of_many_dimensions_stay(tmp_path: Path) -> None:
    """The covariances of a mixture are no images."""
    table = QTable({"component": [0, 1], "covariance": np.ones((2, 12, 12))})
    back, note = _written(table, tmp_path / "model.vot")
    assert note == ""
    assert back["covariance"].shape == (2, 12, 12)


def test_csv_says_that_it_keeps_no_link(tmp_path: Path) -> None:
    table, note = leave_images(QTable({"id": np.arange(5), "image": _images()}), tmp_path / "a.csv")
    assert "cannot say so: CSV keeps no link" in note
    with pytest.warns(AstroClusterWarning, match="CSV drops"):
        back = ac.read(ac.write(table, tmp_path / "a.csv"))
    with pytest.raises(InputError, match="link_images"):
        ac.images_of(back)
    np.testing.assert_array_equal(ac.images_of(link_images(back, tmp_path / "a.images.fits")), _images())


def test_python_keeps_images_inside(tmp_path: Path) -> None:
    back = ac.read(ac.write(QTable({"image": _images()}), tmp_path / "a.vot"))
    np.testing.assert_array_equal(back["image"], _images())


def test_a_linked_table_runs_again(tmp_path: Path) -> None:
    images = _images(6, shape=(16, 16))
    source = ac.write(QTable({"id": np.arange(6), "image": images}), tmp_path / "gal.fits")
    table = ac.image_quality(remember_stack(ac.read(source), source))
    back, _ = _written(table, tmp_path / "q.vot")
    assert ac.records(back)[-1]["inputs"] == {"image": ""}
    again = ac.rerun(tmp_path / "q.vot")
    np.testing.assert_array_equal(again["edge_asymmetry"], table["edge_asymmetry"])
    assert again.colnames == back.colnames
    linked = ac.image_quality(back, overwrite=True)
    np.testing.assert_array_equal(linked["spike_power"], table["spike_power"])


def test_linked_images_with_a_unit_are_known_again(tmp_path: Path) -> None:
    """Warnings are errors here: that the input columns have changed, say."""
    source = ac.write(QTable({"image": _images(6, shape=(16, 16)) * u.nJy}), tmp_path / "gal.fits")
    table = ac.image_quality(remember_stack(ac.read(source), source))
    _written(table, tmp_path / "q.vot")
    np.testing.assert_array_equal(ac.rerun(tmp_path / "q.vot")["spike_power"], table["spike_power"])


# ---------------------------------------------------------------- large FITS tables


def _awkward(n: int = 300) -> QTable:
    rng = np.random.default_rng(4)
    table = QTable(
        {
            "id": np.arange(n, dtype="i8") + 2**60,
            "name": [f"η {i}" for i in range(n)],
            "flag": rng.random(n) < 0.5,
            "image": rng.random((n, 8, 9)).astype("f4"),
            "bytes": rng.integers(0, 255, (n, 8, 9, 3)).astype("u1"),
            "words": rng.integers(0, 60_000, (n, 4, 4)).astype("u2"),
            "few": MaskedColumn(np.arange(n, dtype="i2"), mask=rng.random(n) < 0.3),
            "flux": Masked(rng.random(n) * u.Jy, mask=rng.random(n) < 0.2),
            "stamp": rng.random((n, 8, 8)) * u.MJy / u.sr,
        },
        meta={"note": "simulated"},
    )
    table["image"].info.description = "Pixels"
    table["image"].info.meta = {"ucd": "phot.flux"}
    return table


def _assert_same(one: object, other: object) -> None:
    """Compare columns, masked ones and those with units too."""
    masks = [np.broadcast_to(getattr(column, "mask", False), column.shape) for column in (one, other)]
    np.testing.assert_array_equal(*masks)
    bare = [getattr(column, "unmasked", column) for column in (one, other)]
    values = [np.ma.getdata(np.asarray(getattr(column, "value", column))) for column in bare]
    np.testing.assert_array_equal(*(np.where(masks[0], values[0][:1], value) for value in values))


@pytest.mark.parametrize("ending", ["fits", "fits.gz"])
@pytest.mark.parametrize("form", ["fits", "fits-plus"])
def test_tables_in_blocks_are_as_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, form: str
) -> None:
    table = _awkward()
    whole = ac.write(table, tmp_path / f"whole.{ending}", format=form)
    expected = ac.read(whole)
    for module in (fitsblocks, fitstable):
        monkeypatch.setattr(module, "BLOCK_BYTES", 20_000)
    monkeypatch.setattr(fitsblocks.write_blocks, "__kwdefaults__", {"block_bytes": 20_000})
    parts = ac.write(table, tmp_path / f"parts.{ending}", format=form)
    if ending == "fits":
        assert parts.read_bytes() == whole.read_bytes()
    for path in (whole, parts):
        found = ac.read(path)
        assert found.colnames == expected.colnames
        assert found.meta["note"] == "simulated"
        for name in expected.colnames:
            one, other = found[name], expected[name]
            assert type(one) is type(other)
            assert (one.dtype, one.info.unit, one.info.description) == (
                other.dtype,
                other.info.unit,
                other.info.description,
            )
            assert one.info.meta == other.info.meta
            _assert_same(one, other)


def test_large_stacks_of_bytes_are_mapped_and_the_file_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ac.write(_awkward(), tmp_path / "a.fits")
    before = path.read_bytes()
    monkeypatch.setattr(fitstable, "BLOCK_BYTES", 20_000)
    table = ac.read(path)
    base = table["bytes"]
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert base is not None
    table["bytes"][3] = 7  # of the table alone
    assert path.read_bytes() == before
    ac.write(table, path, overwrite=True)  # over what it is mapped from
    assert (ac.read(path)["bytes"][3] == 7).all()
    assert (table["bytes"][4] == _awkward()["bytes"][4]).all()


def test_large_tables_of_others_are_read_as_astropy_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _images(50, "i2", (6, 7))
    columns = [
        fits.Column("ID", "J", array=np.arange(50)),
        fits.Column("IMG", "42I", array=images.reshape(50, -1), dim="(7,6)", unit="Jy"),
        fits.Column("SCALED", "42I", array=images.reshape(50, -1), dim="(7,6)"),
        fits.Column("NULLS", "42J", array=images.reshape(50, -1).astype("i4"), dim="(7,6)", null=0),
    ]
    first = fits.BinTableHDU.from_columns([fits.Column("X", "D", array=np.arange(3.0))], name="FIRST")
    hdu = fits.BinTableHDU.from_columns(columns, name="STAMPS")
    fits.HDUList([fits.PrimaryHDU(), first, hdu]).writeto(tmp_path / "a.fits")
    fits.setval(tmp_path / "a.fits", "TSCAL3", value=0.5, ext=2)
    expected = ac.read(tmp_path / "a.fits", hdu="STAMPS")
    np.testing.assert_array_equal(expected["SCALED"], images * 0.5)
    monkeypatch.setattr(fitstable, "BLOCK_BYTES", 100)
    for which in ("STAMPS", 2):
        found = ac.read(tmp_path / "a.fits", hdu=which)
        assert found.colnames == expected.colnames
        for name in found.colnames:
            assert type(found[name]) is type(expected[name])
            _assert_same(found[name], expected[name])
    assert len(ac.read(tmp_path / "a.fits")) == 3


def test_a_column_that_is_not_there_is_not_looked_for_in_the_file(stack_file: Path) -> None:
    table = link_images(QTable({"id": [0, 1]}), stack_file, rows=[0, 1])
    table["stamp"] = np.ones((2, 4, 4))
    with pytest.raises(InputError, match="no column 'pixels'"):
        ac.images_of(table, "pixels")
    assert ac.images_of(table).shape[1:] == (4, 4)
    assert ac.images_of(table, table.meta["astro_cluster_images"]["column"]).shape[1:] != (4, 4)


def test_what_is_bad_may_stand_in_words():
    """As in a table that was a CSV file meanwhile."""
    table = QTable({"image": np.ones((4, 8, 8)), "image_bad": np.ma.array(["True", "False", "no", ""])})
    table["image_bad"].mask = [False, False, False, True]
    assert usable_images(table).tolist() == [False, True, True, False]
