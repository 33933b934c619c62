"""Which files are found, and in which order."""

from __future__ import annotations

import os
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_cluster.exceptions import InputError
from astro_cluster.filing.sources import SPECTRA, containers_of, is_hidden, kind_by_name, natural, printable


def _names(source):
    return [Path(one.path).name for one in containers_of(source)[0]]


def test_a_folder_is_searched_to_its_bottom_without_what_is_hidden(tmp_path):
    for name in (
        "b/10.png",
        "b/9.PNG",
        "a.fits.gz",
        "x.fits.fz",
        "._a.png",
        ".git/a.png",
        "__MACOSX/a.png",
        "n.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert _names(tmp_path) == ["a.fits.gz", "9.PNG", "10.png", "x.fits.fz"]
    assert _names(str(tmp_path / "*")) == ["a.fits.gz", "9.PNG", "10.png", "x.fits.fz"]


def test_links_to_folders_are_not_followed_and_broken_links_are_left_out(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.png").touch()
    (tmp_path / "inside" / "loop").symlink_to(tmp_path)
    (tmp_path / "inside" / "gone.png").symlink_to(tmp_path / "nothing.png")
    os.mkfifo(tmp_path / "inside" / "pipe.png")
    assert _names(tmp_path / "inside") == ["a.png"]


def test_a_list_keeps_its_order_and_names_no_file_twice(tmp_path):
    for name in ("a.png", "b.png", "c.tar"):
        (tmp_path / name).touch()
    source = [tmp_path / "b.png", str(tmp_path / "*.png"), tmp_path / "c.tar"]
    assert _names(source) == ["b.png", "a.png", "c.tar"]


def test_other_files_that_a_pattern_matches_are_mentioned(tmp_path):
    for name in ("a.png", "labels.csv", "notes.txt"):
        (tmp_path / name).touch()
    containers, notes = containers_of(str(tmp_path / "*"))
    assert [Path(one.path).name for one in containers] == ["a.png"]
    assert len(notes) == 1
    assert "matches 2 files that are no images" in notes[0]


def test_files_without_an_ending_are_told_by_their_content(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("a.png", b"")
    (tmp_path / "image").write_bytes(b"\x89PNG")
    (tmp_path / "tar").write_bytes(b"\0" * 257 + b"ustar")
    kinds = [one.kind for one in containers_of([tmp_path / name for name in ("archive", "image", "tar")])[0]]
    assert kinds == ["zip", "file", "tar"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.png", "there is no file or folder nothing.png"),
        ("nothing*.png", r"no file matches the pattern nothing\*\.png in /"),
        (3, "cannot read images from a int"),
        ([], "no image and no archive"),
        (b"bytes.png", "cannot read images from a bytes"),
        ([["nothing.png"]], "there is no file or folder"),
    ],
)
def test_what_is_not_there_is_said(source, message):
    with pytest.raises(InputError, match=message):
        containers_of(source)


def test_an_empty_folder_and_a_device_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"known endings are \.png"):
        containers_of(tmp_path)
    with pytest.raises(InputError, match="neither a file nor a folder"):
        containers_of("/dev/null")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.TAR", "tar"),
        ("a.tar.xz", "stream"),
        ("a.tbz2", "stream"),
        ("a.zip", "zip"),
        ("a.fits.bz2", "file"),
        ("a.jpeg", "file"),
        ("a.gz", None),
        ("png", None),
    ],
)
def test_kinds_by_name(name, kind):
    assert kind_by_name(name) == kind


def test_hidden():
    assert is_hidden("a\\.b.png")
    assert not is_hidden("./a/../b.png")


@given(st.lists(st.integers(0, 10**30), unique=True, max_size=20), st.randoms(use_true_random=False))
def test_numbers_are_sorted_by_their_value(numbers, rng: random.Random):
    names = [f"cam{n}_b.png" for n in numbers]
    rng.shuffle(names)
    assert sorted(names, key=natural) == [f"cam{n}_b.png" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=8), max_size=12, unique=True), st.randoms(use_true_random=False))
def test_the_natural_order_does_not_depend_on_where_it_begins(names, rng: random.Random):
    shuffled = list(names)
    rng.shuffle(shuffled)
    assert sorted(names, key=natural) == sorted(shuffled, key=natural)


def test_odd_names_become_printable():
    assert printable(os.fsdecode(b"m31\xff\0.png")) == "m31\\xff\\0.png"
    assert printable("grüße.png") == "grüße.png"


def test_spectra_have_endings_of_their_own(tmp_path):
    for name in ("a.fits", "b.csv", "c.png", "d.txt.gz", "e.md", ".f.dat"):
        (tmp_path / name).touch()
    found = [Path(one.path).name for one in containers_of(tmp_path, SPECTRA)[0]]
    assert found == ["a.fits", "b.csv", "d.txt.gz"]
    matched, notes = containers_of(f"{tmp_path}/*", SPECTRA)
    # Who names a file means it: it is read, and said to be none.
    assert [Path(one.path).name for one in matched] == ["a.fits", "b.csv", "c.png", "d.txt.gz", "e.md"]
    assert notes == []
    assert {one.wanted for one in matched} == {SPECTRA}
    _, notes = containers_of(f"{tmp_path}/*")
    assert "3 files that are no images" in notes[0]
    with pytest.raises(InputError, match="no spectrum and no archive of spectra was found"):
        containers_of([], SPECTRA)
