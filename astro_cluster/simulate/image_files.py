"""Simulated images as the studies' files: tars of four FITS images, and strips as PNG with labels."""

from __future__ import annotations

import csv
import functools
import importlib.util
import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from numpy.typing import NDArray

from astro_cluster.exceptions import InputError
from astro_cluster.simulate.galaxy_images import FIELD_OF_VIEW, NATIVE_PIXEL
from astro_cluster.simulate.profiles import resampling_matrix

if TYPE_CHECKING:
    from astropy.cosmology import FLRW

__all__ = ["write_strips", "write_tars"]

_CAMERAS = 4


def write_tars(table: QTable, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Write simulated galaxies as RealSimCFIS does: FITS images in tars of four.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Result of `galaxies`, or some of its rows.
    folder : path
        Where to; made if it is not there.
    overwrite : bool, optional
        Whether files of the same names may be replaced.

    Returns
    -------
    list of path
        The tars, in the order of the rows; the last one holds fewer than four images if need be.

    Raises
    ------
    InputError
        If the table is none of `galaxies`, or a file is there already.

    Notes
    -----
    Each image gets its native number of pixels of 0.187 arcsec (70 to 620 of a side, by redshift) and a
    header like those of RealSimCFIS, ``HIERARCH`` cards included; ``SIMID`` keeps the ``source_id``.
    Pixels without data are exactly zero, as there.

    Examples
    --------
    >>> from astro_cluster import simulate
    >>> folder = getfixture("tmp_path")
    >>> [path.name for path in write_tars(simulate.galaxies(6, size=16), folder)]
    ['map_SIM_00000_50kpc_sci.tar', 'map_SIM_00001_50kpc_sci.tar']
    """
    need_columns(table, ("source_id", "image", "pixel_scale", "redshift", "ra", "dec"), "galaxies")
    folder = make_folder(folder)
    paths = []
    for start in range(0, len(table), _CAMERAS):
        name = f"map_SIM_{start // _CAMERAS:05d}_50kpc_sci"
        path = folder / f"{name}.tar"
        check_free(path, overwrite=overwrite)
        part = path.with_name(f".{path.name}.part")
        with tarfile.open(part, "w") as tar:
            for camera, row in enumerate(range(start, min(start + _CAMERAS, len(table)))):
                content = _fits_bytes(table, row)
                member = tarfile.TarInfo(f"sci_ims/{name}_cam{camera}.fits")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        part.replace(path)
        paths.append(path)
    return paths


def _fits_bytes(table: QTable, row: int) -> bytes:
    """Return one image as a FITS file with its native number of pixels."""
    scale = float(u.Quantity(table["pixel_scale"])[row].to_value(u.arcsec))
    image = np.asarray(table["image"][row], dtype=np.float32)
    native = _native(image, max(4, round(len(image) * scale / NATIVE_PIXEL)))
    redshift = float(table["redshift"][row])
    hdu = fits.PrimaryHDU(native.astype(np.float64))
    kpc = FIELD_OF_VIEW / (len(image) * scale)  # per arcsec
    for key, value, comment in _cards(table, row, redshift, kpc, len(native)):
        hdu.header[key] = (value, comment)
    hdu.header.add_comment("Simulated by astro_cluster; no observation")
    file = io.BytesIO()
    hdu.writeto(file)
    return file.getvalue()


@functools.cache  # it integrates its neutrinos when it is made
def _cosmology() -> FLRW:
    from astropy.cosmology import FlatLambdaCDM

    return FlatLambdaCDM(H0=70, Om0=0.3)


def _cards(table: QTable, row: int, redshift: float, kpc: float, size: int) -> list[tuple[str, Any, str]]:
    """Return the cards of a header like those of RealSimCFIS."""
    distance = _cosmology().luminosity_distance(redshift).to_value(u.Mpc)
    source = int(table["source_id"][row])
    return [
        ("OBJECT", f"SIM {source}", "Name of the simulated source"),
        ("SIMID", source, "source_id of the simulated source"),
        ("CDELT1", 1000 * kpc * NATIVE_PIXEL, "[pc/pixel]"),
        ("CDELT2", 1000 * kpc * NATIVE_PIXEL, "[pc/pixel]"),
        ("BUNIT", "AB nanomaggies", ""),
        ("CRPIX1", size / 2 + 0.5, ""),
        ("CRPIX2", size / 2 + 0.5, ""),
        ("TILE", "N/A", "CFIS tile ID"),
        ("RA", float(u.Quantity(table["ra"])[row].to_value(u.deg)), "Cutout centroid RA"),
        ("DEC", float(u.Quantity(table["dec"])[row].to_value(u.deg)), "Cutout centroid DEC"),
        ("GAIN", "N/A", "CFIS CCD GAIN"),
        ("ZERO", 30.0, "CFIS image zeropoint"),
        ("SKY", -999, "Average sky in full CFIS tile [nanomaggies]"),
        ("SKYSIG", -999, "Average sky uncertainty per pixel [nanomaggies]"),
        ("REDSHIFT", round(redshift, 6), "Redshift"),
        ("COSMO", "FLAT_LCDM", "Cosmology"),
        ("OMEGA_M", 0.3, "Matter density"),
        ("OMEGA_L", 0.7, "Dark energy density"),
        ("SCALE_1", NATIVE_PIXEL, "[arcsec/pixel]"),
        ("SCALE_2", kpc * NATIVE_PIXEL, "[kpc/pixel]"),
        ("SCALE_3", kpc, "[kpc/arcsec]"),
        ("LUMDIST", float(distance), "Luminosity Distance [Mpc]"),
        ("HIERARCH apply_dimming", True, ""),
        ("HIERARCH rebin_to_CCD", True, ""),
        ("HIERARCH CCD_scale", NATIVE_PIXEL, ""),
        ("HIERARCH add_false_sky", False, ""),
        ("HIERARCH add_CFIS_psf", True, ""),
        ("HIERARCH CFIS_psf_fwhm", 0.66, ""),
        ("HIERARCH add_poisson", True, ""),
        ("HIERARCH add_cfis_sky", True, ""),
    ]


def _native(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return an image with another number of pixels, in which empty pixels are exactly zero again."""
    there = resampling_matrix(len(image), size)
    nearest = np.minimum(((np.arange(size) + 0.5) * len(image) / size).astype(int), len(image) - 1)
    out = there @ image @ there.T
    out[(image == 0)[np.ix_(nearest, nearest)]] = 0
    return out


def write_strips(
    table: QTable, folder: str | os.PathLike[str], *, random_state: int = 1, overwrite: bool = False
) -> list[Path]:
    """Write simulated strips as the study's PNG files, and the labels of an inspection beside them.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Result of `strips`, or some of its rows.
    folder : path
        Where to; made if it is not there.
    random_state : int, optional
        Seed of the order of the labels, which is not that of the files.
    overwrite : bool, optional
        Whether files of the same names may be replaced.

    Returns
    -------
    list of path
        The PNG files in the order of the rows: ``SIM_z7.2_12345_F115W-F444W_crop.png``, to be read with
        the pattern ``"*z{redshift}_{source_id:d}_F*"``.  Beside them stands ``labels.csv`` with
        ``Source_ID``, ``Reliable_Source`` and ``Reason``, and the same in ``labels.xlsx`` where openpyxl is
        installed.

    Raises
    ------
    InputError
        If the table is none of `strips`, or a file is there already.

    Examples
    --------
    >>> from astro_cluster import simulate
    >>> folder = getfixture("tmp_path")
    >>> paths = write_strips(simulate.strips(3, spurious=1, size=(17, 95)), folder)
    >>> len(paths), (folder / "labels.csv").read_text().splitlines()[0]
    (3, 'Source_ID,Reliable_Source,Reason')
    """
    from PIL import Image

    need_columns(table, ("source_id", "image", "redshift", "label", "reason"), "strips")
    folder = make_folder(folder)
    paths = [
        folder / f"SIM_z{float(redshift):.1f}_{int(source)}_F115W-F444W_crop.png"
        for redshift, source in zip(table["redshift"], table["source_id"], strict=True)
    ]
    for path in (*paths, folder / "labels.csv", folder / "labels.xlsx"):
        check_free(path, overwrite=overwrite)
    for path, image in zip(paths, table["image"], strict=True):
        part = path.with_name(f".{path.name}.part")
        Image.fromarray(np.ascontiguousarray(image)).save(part, format="png", compress_level=1)
        part.replace(path)
    _write_labels(table, folder, random_state)
    return paths


def _write_labels(table: QTable, folder: Path, random_state: int) -> None:
    """Write what an inspector found, in an order of its own."""
    order = np.random.default_rng([random_state, 3]).permutation(len(table))
    reasons = np.ma.asarray(table["reason"]).filled("")
    rows = [(int(table["source_id"][i]), int(table["label"][i]), str(reasons[i])) for i in order]
    header = ("Source_ID", "Reliable_Source", "Reason")
    part = folder / ".labels.csv.part"
    with part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    part.replace(folder / "labels.csv")
    if importlib.util.find_spec("openpyxl") is None:
        return
    from openpyxl import Workbook

    book = Workbook()
    for row in (header, *((source, label, reason or None) for source, label, reason in rows)):
        book.active.append(row)
    part = folder / ".labels.part.xlsx"
    book.save(part)
    part.replace(folder / "labels.xlsx")


def need_columns(table: QTable, names: Sequence[str], maker: str) -> None:
    """Raise an InputError unless a table has rows and the columns that a simulation gives it."""
    missing = [name for name in names if name not in getattr(table, "colnames", ())]
    if missing or not len(table):
        what = f"has no column {missing[0]!r}" if missing else "has no rows"
        raise InputError(f"the table {what}; give the table of simulate.{maker}, or some of its rows")


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Return a folder, made if it is not there; an InputError says why it cannot be."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path}: {error.strerror}") from error
    return path


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise an InputError if a file is there that must not be replaced."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give overwrite=True to replace it, or another folder")
