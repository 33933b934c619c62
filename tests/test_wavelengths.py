"""Grids of wavelengths."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

import astro_cluster as ac
from astro_cluster.spectra import spectra_of
from astro_cluster.wavelengths import Grid, grid_of, log_grid, note_spectra


def test_a_log_grid_is_even_in_its_logarithm():
    grid = log_grid(3625 * u.AA, 9000 * u.AA, 1500, frame="rest")
    np.testing.assert_allclose(np.diff(np.log(grid.angstrom)), np.log(9000 / 3625) / 1499, rtol=1e-9)
    np.testing.assert_allclose(grid.edges[:-1] * grid.edges[1:], grid.angstrom**2, rtol=1e-12)
    assert str(grid) == "1500 log-spaced wavelengths 3625–9000 Å (vacuum, rest frame)"


def test_edges_of_an_even_grid_lie_halfway():
    assert Grid(np.array([10.0, 20.0, 30.0])).edges.tolist() == [5.0, 15.0, 25.0, 35.0]


@pytest.mark.parametrize(
    "grid",
    [
        log_grid(360 * u.nm, 0.9 * u.um, 7, medium="air"),
        Grid(np.array([4000.0, 4001.0, 4003.0]), frame="rest"),
    ],
)
def test_a_description_makes_the_same_grid(grid):
    assert Grid.from_plain(grid.to_plain()) == grid


def test_grids_of_other_frames_or_media_differ():
    grid = Grid(np.array([1.0, 2.0]))
    assert grid != Grid(grid.angstrom, medium="air")
    assert grid != Grid(grid.angstrom, frame="rest")
    assert grid != "3625:9000:1500"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3625:9000", "is no wavelength grid"),
        ("3625:9000:many", "is no wavelength grid"),
        ("3625:9000:1500 kg", "is no wavelength grid"),
        ("9000:3625:1500", "must be positive and the smaller"),
        ("3625:9000:1", "whole number from 2"),
        ("nan:9000:10", "must be positive"),
    ],
)
def test_a_text_that_is_no_grid(text, message):
    with pytest.raises(ac.InputError, match=message):
        Grid.parse(text)


@pytest.mark.parametrize("values", [[1.0], [2.0, 1.0], [1.0, np.nan], [0.0, 1.0], [[1.0, 2.0]], [1.0, 1.0]])
def test_wavelengths_that_are_no_grid(values):
    with pytest.raises(ac.InputError, match="wavelength"):
        Grid(np.array(values))


@pytest.mark.parametrize("plain", [None, {}, {"unit": "nm", "medium": "air", "frame": "rest"}, {"log": 3}])
def test_a_damaged_description(plain):
    with pytest.raises(ac.InputError):
        Grid.from_plain(plain)


@pytest.mark.parametrize("suffix", ["fits", "vot", "ecsv", "parquet"])
def test_files_keep_what_a_table_says_of_its_spectra(tmp_path, suffix):
    table = QTable(
        {"flux": np.arange(10.0).reshape(2, 5) * u.Unit("1e-17 erg/(s cm2 AA)"), "ivar": np.ones((2, 5))}
    )
    note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 5))
    ac.write(table, tmp_path / f"out.{suffix}")
    found = spectra_of(ac.read(tmp_path / f"out.{suffix}"))
    np.testing.assert_array_equal(found.flux, table["flux"].value)
    assert found.grid == grid_of(table)
    assert found.unit == table["flux"].unit


def test_spectra_that_do_not_fit_their_wavelengths():
    table = Table({"flux": np.ones((2, 4))})
    with pytest.raises(ac.InputError, match="does not say at which wavelengths"):
        spectra_of(table)
    note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 5), ivar=None)
    with pytest.raises(ac.InputError, match="tells of 5 wavelengths"):
        spectra_of(table)
    note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 5), flux="other")
    with pytest.raises(ac.InputError, match="'other', which it does not have"):
        spectra_of(table)


def test_rows_without_a_pixel_that_counts_are_not_usable():
    table = Table(
        {"flux": [[1.0, np.nan], [1.0, 2.0], [np.nan, 1.0]], "ivar": [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]}
    )
    note_spectra(table, Grid(np.array([1.0, 2.0])))
    assert spectra_of(table).usable.tolist() == [False, True, True]
    table["spectrum_bad"] = [False, True, False]
    assert spectra_of(table).usable.tolist() == [False, False, True]
