"""Archives, also hostile ones: nothing leaves them, and nothing fills the memory."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.filing.guarding import Guarded, decompressed, unpacked_if_packed


def png(value: int, size=(4, 3)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, value).save(file, "PNG")
    return file.getvalue()


def fits_of(value: float, shape=(3, 4)) -> bytes:
    file = io.BytesIO()
    fits.PrimaryHDU(np.full(shape, value)).writeto(file)
    return file.getvalue()


def tar_of(path: Path, members: dict[str, bytes], mode="w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


MEMBERS = {"d/cam10.png": png(10), "d/cam2.png": png(2), "d/cam1.png": png(1)}


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")],
)
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_tars_are_read_in_natural_order(tmp_path, name, mode, n_jobs):
    out = ac.read_cutouts(tar_of(tmp_path / name, MEMBERS, mode), n_jobs=n_jobs)
    assert out["member"].tolist() == ["d/cam1.png", "d/cam2.png", "d/cam10.png"]
    assert out["image"][:, 0, 0].tolist() == [1, 2, 10]
    assert out["image"].dtype == np.uint8
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_zips_hold_images_and_tars(tmp_path):
    inner = {
        "b.tar": tar_of(tmp_path / "x", {"5.png": png(5), "4.png": png(4)}).read_bytes(),
        "c.tar.gz": tar_of(tmp_path / "x", {"6.png": png(6)}, "w:gz").read_bytes(),
        "1.png": png(1),
    }
    out = ac.read_cutouts(zip_of(tmp_path / "a.zip", inner))
    assert out["image"][:, 0, 0].tolist() == [1, 4, 5, 6]


def test_a_zip_in_a_zip_is_left_out(tmp_path):
    inner = zip_of(tmp_path / "x", {"1.png": png(1)}).read_bytes()
    with pytest.warns(AstroClusterWarning, match="a zip in the zip, b.zip: left out"):
        out = ac.read_cutouts(zip_of(tmp_path / "a.zip", {"b.zip": inner, "2.png": png(2)}))
    assert len(out) == 1


def test_hidden_and_other_members_are_passed_over(tmp_path):
    members = {"__MACOSX/._a.png": b"x", ".hidden.png": b"x", "a.csv": b"x", "a.png": png(1)}
    for path in (tar_of(tmp_path / "a.tar", members), zip_of(tmp_path / "a.zip", members)):
        assert ac.read_cutouts(path)["member"].tolist() == ["a.png"]


def test_names_that_lead_outside_stay_names(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = tar_of(folder / "a.tar", {"../../evil.png": png(1), "/etc/evil.png": png(2), "a.png": png(3)})
    out = ac.read_cutouts(path)
    assert sorted(out["member"].tolist()) == ["../../evil.png", "/etc/evil.png", "a.png"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "folder"]


def test_links_and_devices_are_left_out(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(99))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind, name in (
            (tarfile.SYMTYPE, "s.png"),
            (tarfile.LNKTYPE, "l.png"),
            (tarfile.CHRTYPE, "c.png"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(tmp_path / "secret.png")
            tar.addfile(info)
        info = tarfile.TarInfo("good.png")
        info.size = len(png(1))
        tar.addfile(info, io.BytesIO(png(1)))
    with pytest.warns(AstroClusterWarning, match="3 links or devices named as images: left out"):
        out = ac.read_cutouts(tmp_path / "a.tar")
    assert out["member"].tolist() == ["good.png"]

    link = zipfile.ZipInfo("s.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, str(tmp_path / "secret.png"))
        archive.writestr("good.png", png(1))
    with pytest.warns(AstroClusterWarning, match="1 links or devices"):
        out = ac.read_cutouts(tmp_path / "a.zip")
    assert out["member"].tolist() == ["good.png"]


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_of_a_name_that_comes_twice_the_last_counts(tmp_path, make):
    ending = "tar" if make is tar_of else "zip"
    path = tmp_path / f"a.{ending}"
    if make is tar_of:
        make(path, {"a.png": png(1), "b.png": png(2)})
        with tarfile.open(path, "a") as tar:
            info = tarfile.TarInfo("a.png")
            info.size = len(png(3))
            tar.addfile(info, io.BytesIO(png(3)))
    else:
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the name that comes twice
            for name, value in (("a.png", 1), ("b.png", 2), ("a.png", 3)):
                archive.writestr(name, png(value))
    with pytest.warns(AstroClusterWarning, match="1 members whose names come again"):
        out = ac.read_cutouts(path)
    assert out["image"][:, 0, 0].tolist() == [3, 2]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_of_a_tar_cut_short_the_whole_images_are_read(tmp_path, mode):
    rng = np.random.default_rng(1)
    members = {}
    for i in range(6):
        file = io.BytesIO()
        fits.PrimaryHDU(rng.normal(size=(40, 40))).writeto(file)
        members[f"{i}.fits"] = file.getvalue()
    path = tar_of(tmp_path / ("a.tar" if mode == "w" else "a.tar.gz"), members, mode)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with pytest.warns(AstroClusterWarning) as warned:
        out = ac.read_cutouts(path)
    good = ~np.asarray(out["image_bad"])
    assert 3 <= good.sum() < 6
    for i in np.flatnonzero(good):
        assert np.allclose(out["image"][i], fits.getdata(io.BytesIO(members[f"{i}.fits"])))
    assert any("damaged after" in str(one.message) for one in warned)


def test_an_archive_that_is_none_costs_one_row(tmp_path):
    (tmp_path / "a.tar").write_text("text")
    (tmp_path / "b.zip").write_text("text")
    (tmp_path / "c.tar.gz").write_text("text")
    (tmp_path / "d.png").write_bytes(png(1))
    with pytest.warns(AstroClusterWarning, match="3 of 4 images cannot be read"):
        out = ac.read_cutouts(tmp_path)
    assert out["image_bad"].tolist() == [True, True, True, False]


def test_an_archive_without_images(tmp_path):
    tar_of(tmp_path / "a.tar", {"readme.txt": b"x"})
    with pytest.raises(InputError, match=r"there is no image: .*a\.tar holds no image"):
        ac.read_cutouts(tmp_path)
    (tmp_path / "b.png").write_bytes(png(1))
    with pytest.warns(AstroClusterWarning, match="holds no image"):
        assert len(ac.read_cutouts(tmp_path)) == 1


def test_large_members_are_not_read(tmp_path):
    members = {"a.png": png(1), "b.png": png(2) + b"\0" * 3000}
    paths = [
        tar_of(tmp_path / "a.tar", members),
        tar_of(tmp_path / "a.tgz", members, "w:gz"),
        zip_of(tmp_path / "a.zip", members),
    ]
    (tmp_path / "b.png").write_bytes(members["b.png"])
    (tmp_path / "c.png").write_bytes(members["a.png"])
    with ac.conf.set_temp("max_image_bytes", 2000):
        for source in [*paths, [tmp_path / "b.png", tmp_path / "c.png"]]:
            with pytest.warns(AstroClusterWarning, match="more than conf.max_image_bytes = 2000"):
                out = ac.read_cutouts(source)
            assert sorted(out["image_bad"].tolist()) == [False, True]


def test_a_packed_image_is_not_unpacked_beyond_the_limit(tmp_path):
    (tmp_path / "bomb.fits.gz").write_bytes(gzip.compress(fits_of(0.0, (2000, 2000)), 9))
    (tmp_path / "good.fits.gz").write_bytes(gzip.compress(fits_of(1.0)))
    with (
        ac.conf.set_temp("max_image_bytes", 100_000),
        pytest.warns(AstroClusterWarning, match=r"bomb.fits.gz"),
    ):
        out = ac.read_cutouts(tmp_path)
    assert out["image_bad"].tolist() == [True, False]
    with pytest.raises(ValueError, match="unpacks to more than"):
        unpacked_if_packed(gzip.compress(b"\0" * 5000), 4000)


def test_a_stream_that_unpacks_without_end_is_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr("astro_cluster.filing.guarding._FREE", 2**16)
    # The name of a member is said to have a hundred megabytes: tarfile would read all of them.
    info = tarfile.TarInfo("a.png")
    info.type, info.size = b"L", 10**8
    bomb = info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10**8
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(bomb, 9))
    (tmp_path / "good.png").write_bytes(png(1))
    with pytest.warns(AstroClusterWarning, match="200 times its size"):
        out = ac.read_cutouts(tmp_path)
    assert out["image_bad"].tolist() == [True, False]


def test_a_header_of_a_plain_tar_cannot_ask_for_much(monkeypatch, tmp_path):
    monkeypatch.setattr("astro_cluster.filing.guarding._AT_ONCE", 1000)
    info = tarfile.TarInfo("a.png")
    info.type, info.size = b"x", 100_000
    (tmp_path / "bomb.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 100_352)
    (tmp_path / "good.png").write_bytes(png(1))
    with pytest.warns(AstroClusterWarning, match="asks for .* bytes"):
        ac.read_cutouts(tmp_path)


def test_an_encrypted_member(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2)})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(signature)
        data[place + offset : place + offset + 2] = struct.pack("<H", 1)
    path.write_bytes(data)
    with pytest.warns(AstroClusterWarning, match="a.png .it is encrypted"):
        assert ac.read_cutouts(path)["image_bad"].tolist() == [True, False]


def test_a_damaged_member_of_a_zip(tmp_path):
    rng = np.random.default_rng(1)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (30, 30), dtype=np.uint8)).save(file, "PNG")
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, so that its bytes can be found
        archive.writestr("a.png", file.getvalue())
        archive.writestr("b.png", file.getvalue())
    data = bytearray(path.read_bytes())
    data[300] ^= 255
    path.write_bytes(data)
    with pytest.warns(AstroClusterWarning, match="1 of 2 images cannot be read"):
        assert ac.read_cutouts(path)["image_bad"].tolist() == [True, False]


def test_an_archive_that_goes_away_between_the_passes(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "a.tar", MEMBERS)
    (tmp_path / "good.png").write_bytes(png(1))
    from astro_cluster.cutouts import reading

    fill = reading.fill

    def later(*args, **options):
        path.unlink()
        return fill(*args, **options)

    monkeypatch.setattr(reading, "fill", later)
    with pytest.warns(AstroClusterWarning, match="3 of 4 images cannot be read.*No such file"):
        out = ac.read_cutouts([path, tmp_path / "good.png"])
    assert out["image_bad"].tolist() == [True, True, True, False]
    assert out["image"][:3].max() == 0


def test_the_guard_counts_what_is_read():
    guarded = Guarded(io.BytesIO(b"x" * 100), total=50)
    assert len(guarded.read(40)) == 40
    with pytest.raises(ValueError, match="more than 50 bytes"):
        guarded.read(40)
    assert decompressed(io.BytesIO(b"plain"), 5).read() == b"plain"
    buffer = bytearray(3)
    assert Guarded(io.BytesIO(b"abcd")).readinto(buffer) == 3
    assert buffer == b"abc"


def test_names_of_any_length_take_little_room(tmp_path):
    name = "x" * 100_000 + ".png"
    out = ac.read_cutouts(tar_of(tmp_path / "a.tar", {name: png(1), "b.png": png(2)}))
    assert out["member"].dtype.itemsize <= 4 * 1001
    assert out["member"][1].endswith("x.png")


def test_an_empty_member_and_an_empty_file(tmp_path):
    tar_of(tmp_path / "a.tar", {"a.png": b"", "b.png": png(1)})
    zip_of(tmp_path / "b.zip", {"a.png": b"", "b.png": png(1)})
    tar_of(tmp_path / "c.tgz", {"a.png": b"", "b.png": png(1)}, "w:gz")
    (tmp_path / "d.png").touch()
    with pytest.warns(AstroClusterWarning, match="4 of 7 images cannot be read.*it is empty"):
        out = ac.read_cutouts(tmp_path)
    assert out["image_bad"].tolist() == [True, False] * 3 + [True]


def test_a_sparse_member_is_told(tmp_path):
    info = tarfile.TarInfo("a.png")
    path = tar_of(tmp_path / "a.tar", {"a.png": png(1), "b.png": png(2)})
    data = bytearray(path.read_bytes())
    # The old GNU form: type S, with a map of one piece.
    data[156:157] = b"S"
    data[386:410] = b"00000000000\0" + b"%011o\0" % len(png(1))
    data[483:495] = b"%011o\0" % len(png(1))
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    del info
    with pytest.warns(AstroClusterWarning, match="sparse"):
        assert ac.read_cutouts(path)["image_bad"].tolist() == [True, False]
