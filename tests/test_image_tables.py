"""Tables with images: they go from step to step without being copied, and their content is hashed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning
from astro_cluster.provenance import Step, content_hash, content_hash_of_chunks, hashing, step
from astro_cluster.tables import derive


def _table(dtype: str, **columns: object) -> QTable:
    pixels = np.random.default_rng(0).integers(0, 200, (9, 6, 5)).astype(dtype)
    if pixels.dtype.kind == "f":
        pixels[2, 3, 3] = np.nan
    return QTable({"id": np.arange(9), "image": Column(pixels, copy=False), **columns}, copy=False)


def _everything() -> QTable:
    rng = np.random.default_rng(1)
    hidden = rng.random(50) < 0.3
    return QTable(
        {
            "float": np.where(hidden, np.nan, rng.normal(size=50)),
            "zero": np.where(hidden, -0.0, 1.0),
            "whole": MaskedColumn(rng.integers(0, 9, 50), mask=hidden),
            "large": np.arange(50, dtype=np.uint64) + 2**63,
            "flag": hidden,
            "vector": rng.normal(size=(50, 4)) * u.m,
            "complex": rng.normal(size=50) + 1j,
            "text": np.array(["a", "bc"] * 25),
            "bytes": rng.integers(0, 255, (50, 3, 4), dtype=np.uint8),
            "image": rng.normal(size=(50, 3, 4)).astype("f4"),
            "masked": MaskedColumn(rng.integers(0, 9, (50, 3)), mask=np.repeat(hidden[:, np.newaxis], 3, 1)),
        }
    )


def test_the_hash_does_not_depend_on_blocks(monkeypatch):
    table = _everything()
    whole = content_hash(table)
    monkeypatch.setattr(hashing, "_BLOCK", 64)
    assert content_hash(table) == whole


def test_the_hash_of_plain_columns_is_what_it_was():
    table = QTable({"x": [1.0, np.nan, -0.0] * u.m, "n": [1, 2, 3], "name": ["a", "", "c"]})
    assert content_hash(table) == ("sha256:a8005141925bfccf918a8029dd08004457c045a0a96e6b620c122f492b2ff129")


@pytest.mark.parametrize(
    ("dtype", "then"),
    [
        ("f4", "sha256:360c3b7e7753ab0ac7f4394abe5e1a63dd56d9dc74e53525e81337907eec1d50"),
        ("u1", "sha256:4071cecd45412073342977d0edb4b633eaff276c67d1269454c45903da398cf7"),
    ],
)
def test_images_on_an_older_record_are_known_again(tmp_path, dtype, then):
    """They were hashed in eight bytes a number; warnings are errors here."""
    table = QTable({"image": np.arange(18).reshape(2, 3, 3).astype(dtype), "x": [1.0, 2.0]})
    assert content_hash(table, ["image"]) != then
    assert hashing.holds(table, ["image"], then)
    assert not hashing.holds(table[::-1], ["image"], then)

    @step
    def mean_pixel(table: QTable) -> Step:
        out = derive(table)
        out["mean"] = np.mean(table["image"], axis=(1, 2))
        return Step(out, table, inputs=["image"])

    out = mean_pixel(table)
    out.meta["astro_cluster"][-1]["input_hash"] = then
    path = ac.write(out, tmp_path / "old.fits")
    assert ac.rerun(path)["mean"].tolist() == [4.0, 13.0]
    out["image"] = np.flip(np.asarray(out["image"]))
    with pytest.warns(AstroClusterWarning, match="'mean_pixel' have changed"):
        ac.rerun(out)


@pytest.mark.parametrize("at_once", [1, 2**27])
def test_the_hash_of_parts_is_that_of_the_whole(at_once):
    table = _everything()

    def read(names: list[str]):
        # A reader may use the same memory for each part.
        room = table[names][:10].copy()
        for first in range(0, 50, 10):
            for name in names:
                room[name] = table[name][first : first + 10]
            yield room

    names = [name for name in table.colnames if name not in ("whole", "masked")]
    found = content_hash_of_chunks(read, names, head=table[:1], n_rows=50, at_once=at_once)
    assert found == content_hash(table, names)


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", "i2"])
def test_the_hash_of_images_survives_a_file(tmp_path, dtype):
    table = _table(dtype)
    assert content_hash(ac.read(ac.write(table, tmp_path / "t.fits"))) == content_hash(table)
    swapped = QTable({"id": table["id"], "image": table["image"].astype(table["image"].dtype.newbyteorder())})
    assert content_hash(swapped) == content_hash(table)
    changed = table.copy()
    changed["image"][8, 5, 4] += 1
    assert content_hash(changed) != content_hash(table)


def test_derive_shares_images_and_copies_the_rest():
    table = _table("f4", mean=np.arange(9.0) * u.mJy)
    table["image"].info.description, table.meta["note"] = "Stamps", ["kept"]
    before = table["image"].copy()
    out = derive(table)
    assert out.colnames == table.colnames
    assert np.shares_memory(out["image"], table["image"])
    assert out["image"].info.description == "Stamps"
    assert not np.shares_memory(out["mean"], table["mean"])
    out["mean"][0] = 5 * u.mJy
    out["image"].info.description = "other"
    out["image"].info.meta["ucd"] = "obs.image"
    out.meta["note"].append("new")
    out.remove_column("id")
    assert table["mean"][0] == 0 * u.mJy
    assert table["image"].info.description == "Stamps"
    assert "ucd" not in (table["image"].info.meta or {})
    assert table.meta["note"] == ["kept"]
    assert table.colnames == ["id", "image", "mean"]
    np.testing.assert_array_equal(table["image"], before)
    alone = table[["image"]]
    assert derive(alone).colnames == ["image"]
    assert len(derive(alone)) == 9


def test_a_step_tells_that_images_were_replaced():
    @step
    def brighter(table: QTable, how: str) -> Step:
        out = derive(table)
        if how == "replaced":
            out["image"] = np.asarray(out["image"]) + 1
        elif how == "same":
            out["image"] = np.array(out["image"])
        return Step(out, table, inputs=["image"])

    table = _table("f4")
    found = {
        how: ac.records(brighter(table, how))[-1]["columns_replaced"] for how in ("left", "same", "replaced")
    }
    assert found == {"left": [], "same": [], "replaced": ["image"]}
