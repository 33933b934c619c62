"""PNG, JPEG and TIFF, against Pillow."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import astro_cluster as ac
from astro_cluster.cutouts.decoding import Decoder
from astro_cluster.exceptions import AstroClusterWarning

RNG = np.random.default_rng(11)


def saved(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def pixels(data: bytes, **options) -> np.ndarray:
    decoder = Decoder(**options)
    look = decoder.look("a", io.BytesIO(data))
    found = decoder.pixels(data, look)
    assert found.shape[:2] == (look.height, look.width)
    assert (found.shape[2] if found.ndim == 3 else 0) == look.channels
    assert (found.dtype == np.uint8) == look.is_byte
    return found


GREY, RGB = RNG.integers(0, 256, (6, 9), dtype=np.uint8), RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("values", [GREY, RGB])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_bytes(values, kind):
    found = pixels(saved(Image.fromarray(values), kind))
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("values", [GREY, RGB])
def test_jpeg(values):
    data = saved(Image.fromarray(values), "JPEG", quality=95)
    np.testing.assert_array_equal(pixels(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(("dtype", "kind"), [("u2", "PNG"), ("u2", "TIFF"), ("i4", "TIFF"), ("f4", "TIFF")])
def test_more_than_eight_bits(dtype, kind):
    values = RNG.normal(30_000, 5_000, (6, 9)).astype(dtype)
    found = pixels(saved(Image.fromarray(values), kind))
    assert found.dtype.kind == "f"
    np.testing.assert_array_equal(found, values)


def test_big_endian_tiff():
    values = (np.arange(54).reshape(6, 9) * 1000).astype(">u2")
    tags = [(256, 9), (257, 6), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 6), (279, 108)]
    body = values.tobytes()
    directory = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHIHH", t, 3, 1, v, 0) for t, v in tags)
    data = struct.pack(">2sHI", b"MM", 42, 8 + len(body)) + body + directory + b"\0\0\0\0"
    np.testing.assert_array_equal(pixels(data), values)


def test_pages_of_a_tiff():
    pages = [Image.fromarray(np.full((4, 5), i, np.uint8)) for i in range(3)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert pixels(data)[0, 0] == 0
    assert pixels(data, plane=2)[0, 0] == 2
    assert pixels(data, plane=-1)[0, 0] == 2
    with pytest.raises(ValueError, match="it has 3 pages, and plane=3 is none of them"):
        pixels(data, plane=3)


def test_a_plane_of_a_picture_is_a_colour():
    data = saved(Image.fromarray(RGB))
    np.testing.assert_array_equal(pixels(data, plane=2), RGB[..., 2])
    with pytest.raises(ValueError, match="it has 3 colours, and plane=3 is none"):
        pixels(data, plane=3)


def test_other_modes():
    transparent = np.dstack([RGB, np.zeros((6, 9), np.uint8)])
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(transparent, "RGBA"))), RGB)
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (9, 6), 0)])
    np.testing.assert_array_equal(pixels(saved(grey)), GREY)
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(GREY > 100))), (GREY > 100) * np.uint8(255))
    few = Image.fromarray(RGB // 100 * 100).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(pixels(saved(few)), np.asarray(few.convert("RGB")))
    index = Image.fromarray(GREY // 64, "P")
    index.putpalette([value for i in range(256) for value in (255 - i,) * 3])
    np.testing.assert_array_equal(pixels(saved(index)), 255 - GREY // 64)
    cmyk = Image.fromarray(np.dstack([RGB, GREY]), "CMYK")
    assert pixels(saved(cmyk, "JPEG")).shape == (6, 9, 3)


def _bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 60_000)])
def test_bombs_of_pixels_cost_their_row(tmp_path, size):
    (tmp_path / "a.png").write_bytes(_bomb(*size))
    (tmp_path / "b.png").write_bytes(saved(Image.fromarray(GREY)))
    with pytest.warns(AstroClusterWarning, match="1 of 2 images cannot be read.*decompression bomb"):
        out = ac.read_cutouts(tmp_path)
    assert out["image_bad"].tolist() == [True, False]


def test_broken_pictures(tmp_path):
    whole = saved(Image.fromarray(RGB.repeat(9, axis=0)))
    files = {
        "a": whole,
        "b": whole[: len(whole) // 2],
        "c": b"this is a text and no picture",
        "d": whole[:30],
        "e": saved(Image.fromarray(RGB), "BMP"),
        "f": b"\0" * 5000,
        "g": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(evil) run\n",
    }
    for name, data in files.items():
        (tmp_path / f"{name}.png").write_bytes(data)
    with pytest.warns(AstroClusterWarning, match="6 of 7 images cannot be read") as warned:
        out = ac.read_cutouts(tmp_path)
    assert len(warned) == 1
    assert out["image_bad"].tolist() == [False] + [True] * 6
    assert out["image"].dtype == np.uint8
    assert not out["image"][1:].any()
    assert out["image"][0].any()


def test_a_picture_with_another_ending_is_read_as_what_it_is(tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(Image.fromarray(GREY)))
    np.testing.assert_array_equal(ac.read_cutouts(tmp_path)["image"][0], GREY)
