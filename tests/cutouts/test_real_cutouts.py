"""The real images of two studies."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from PIL import Image

import astro_cluster as ac

pytestmark = pytest.mark.realdata


def test_galaxies(real_data):
    out = ac.read_cutouts(
        str(real_data / "galaxies" / "sci" / "*.tar"),
        size=128,
        scale="minmax",
        headers=["RA", "DEC", "REDSHIFT", "GAIN"],
        pattern="*_{halo:d}_{snapshot:d}_50kpc*_cam{camera:d}",
    )
    assert len(out) == 52
    assert not out["image_bad"].any()
    assert out["image"].shape == (52, 128, 128)
    assert out["camera"].tolist() == [0, 1, 2, 3] * 13
    assert out["original_height"].min() == 70
    assert out["original_height"].max() == 623
    assert out["ra"].unit == u.deg
    assert out["gain"].mask.all()
    np.testing.assert_allclose(out["image"].min(axis=(1, 2)), 0)
    np.testing.assert_allclose(out["image"].max(axis=(1, 2)), 1)
    gaps = np.flatnonzero(np.asarray(out["zero_fraction"]) > 0)
    assert out["original_height"][gaps].tolist() == [169, 544]
    np.testing.assert_allclose(out["zero_fraction"][gaps], [1 / 13, 0.36764706])


def test_galaxies_are_those_that_astropy_reads(real_data):
    paths = sorted((real_data / "galaxies" / "sci").glob("*.tar"))[:2]
    out = ac.read_cutouts(paths, resize="pad", headers="all")
    row = 0
    for path in paths:
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                data, header = fits.getdata(io.BytesIO(tar.extractfile(member).read()), header=True)
                assert out["member"][row] == member.name
                there = np.isfinite(out["image"][row])
                np.testing.assert_array_equal(out["image"][row][there], data.astype("f4").ravel())
                assert out["ra"].value[row] == header["RA"]
                assert out["cfis_psf_fwhm"][row] == header["CFIS_psf_fwhm"]
                row += 1
    assert row == len(out)


def test_strips(real_data):
    folder = real_data / "jwst"
    out = ac.read_cutouts(
        folder / "spurious", pattern="{source_id:d}", labels=folder / "spurious_labels.csv", quality=False
    )
    assert out["image"].shape == (57, 100, 600, 3)
    assert out["image"].dtype == np.uint8
    assert out["source_id"].tolist() == sorted(out["source_id"].tolist())
    reasons, counts = np.unique(out["reason"], return_counts=True)
    assert dict(zip(reasons.tolist(), counts.tolist(), strict=True)) == {
        "close to another source": 21,
        "diffraction spike": 29,
        "edge data": 7,
    }
    np.testing.assert_array_equal(out["image"][3], np.asarray(Image.open(out["source_file"][3])))
    small = ac.read_cutouts(folder / "spurious", size=(20, 120), quality=False)["image"]
    means = out["image"].reshape(57, 20, 5, 120, 5, 3).mean(axis=(2, 4))
    assert np.abs(small - means).max() <= 0.5 + 1e-3
