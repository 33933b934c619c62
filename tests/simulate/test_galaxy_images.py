"""Images of galaxies: what is said about each is what is on it, and they look like the real ones."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
from astropy.io import fits

from astro_cluster.exceptions import InputError
from astro_cluster.provenance import records
from astro_cluster.simulate import galaxies
from astro_cluster.simulate.galaxy_images import ARTEFACTS, GALAXY_TYPES, NATIVE_PIXEL


@pytest.fixture(scope="module")
def table():
    return galaxies(500, size=64, artefacts=0.4, random_state=4)


@pytest.fixture(scope="module")
def clean():
    return galaxies(150, size=96, artefacts=0.0, random_state=5)


def test_shape_types_and_counts(table):
    assert table["image"].shape == (500, 64, 64)
    assert table["image"].dtype == np.float32
    assert np.isfinite(table["image"]).all()
    assert len(set(table["source_id"].tolist())) == 500
    assert set(table["galaxy_type"]) == set(GALAXY_TYPES)
    artefact = table["artefact"].tolist()
    assert {name: artefact.count(name) for name in ("", *ARTEFACTS)} == {
        "": 300,
        **dict.fromkeys(ARTEFACTS, 40),
    }
    assert "no observation" in table.meta["description"]


def test_units_and_cosmology(table):
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    kpc = (64 * table["pixel_scale"] * cosmology.kpc_proper_per_arcmin(table["redshift"])).to(u.kpc)
    np.testing.assert_allclose(kpc.value, 50, rtol=1e-6)
    magnitude = table["flux"].to(u.ABmag).value
    np.testing.assert_allclose(magnitude, table["magnitude"].to_value(u.mag), atol=2e-3)
    assert ((table["redshift"] > 0.02) & (table["redshift"] < 0.25)).all()
    assert table["r_eff"].unit == u.arcsec
    assert table["position_angle"].unit == u.deg


def test_the_result_depends_on_the_seed_alone():
    first = galaxies(30, size=32, random_state=8, n_jobs=1)
    again = galaxies(30, size=32, random_state=8, n_jobs=3)
    np.testing.assert_array_equal(np.asarray(first["image"]), np.asarray(again["image"]))
    assert (np.asarray(first["image"]) != np.asarray(galaxies(30, size=32, random_state=9)["image"])).any()


def test_it_can_be_rerun():
    table = galaxies(6, size=16, random_state=None)
    (record,) = records(table)
    assert record["seed"] == record["parameters"]["random_state"]
    np.testing.assert_array_equal(
        np.asarray(galaxies(**record["parameters"])["image"]), np.asarray(table["image"])
    )


def aperture(image: np.ndarray, radius: float) -> float:
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    middle = (image.shape[0] - 1) / 2
    return float(image[np.hypot(x - middle, y - middle) < radius].sum())


def test_the_flux_is_on_the_image(clean):
    """Half of the light of the smooth ones within the half-light ellipse; neighbours add a little."""
    shares = []
    for row in clean:
        if row["galaxy_type"] not in ("elliptical", "disc") or row["axis_ratio"] < 0.8:
            continue
        scale = row["pixel_scale"].to_value(u.arcsec)
        radius = row["r_eff"].to_value(u.arcsec) / scale
        if radius < 8:
            continue  # the seeing spreads small ones
        light = aperture(row["image"], radius) * (scale / NATIVE_PIXEL) ** 2
        shares.append(light / (row["flux"].to_value(u.uJy) / 3.631))
    assert len(shares) > 10
    assert 0.4 < np.median(shares) < 0.62


def second_moments(image: np.ndarray) -> tuple[float, float]:
    """Return axis ratio and position angle [degree] of the bright middle, by its second moments."""
    size = image.shape[0]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    weight = np.where((np.hypot(x, y) < size / 4) & (image > 0.1 * np.percentile(image, 99.7)), image, 0)
    xx, yy, xy = (np.average(a, weights=weight) for a in (x * x, y * y, x * y))
    values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
    return float(np.sqrt(values[0] / values[1])), float(np.degrees(np.arctan2(*vectors[::-1, 1])) % 180)


def test_shape_and_position_angle_are_on_the_image(clean):
    thin = (clean["axis_ratio"] < 0.55) & np.isin(clean["galaxy_type"], ["disc", "elliptical", "spiral"])
    found = np.array([second_moments(image) for image in clean["image"][thin]])
    difference = (found[:, 1] - clean["position_angle"][thin].to_value(u.deg) + 90) % 180 - 90
    assert np.median(np.abs(difference)) < 4
    assert np.median(np.abs(difference)) > 0  # truth and measurement are two things
    everything = np.array([second_moments(image)[0] for image in clean["image"]])
    assert np.corrcoef(everything, clean["axis_ratio"])[0, 1] > 0.6


def test_the_noise_is_that_of_the_sky(clean):
    """Where the galaxy is faint, native pixels have a noise of 0.002 nanomaggy."""
    far = clean["redshift"] > 0.12
    corners = clean["image"][far][:, :14, :14].reshape(int(far.sum()), -1)
    deviation = 1.4826 * np.median(np.abs(corners - np.median(corners, axis=1, keepdims=True)), axis=1)
    assert 0.0010 < np.median(deviation) < 0.0025


def test_gaps_and_edges_hold_exactly_zero(table):
    zero = (np.asarray(table["image"]) == 0).mean(axis=(1, 2))
    without_data = np.isin(table["artefact"], ["gap", "edge"])
    np.testing.assert_allclose(zero[without_data], table["artefact_strength"][without_data], atol=1e-12)
    assert (zero[without_data] > 0).mean() > 0.97  # a slanted edge may pass a corner by
    assert (zero[~without_data] == 0).all()


def test_an_edge_touches_the_border(table):
    for image in table["image"][(table["artefact"] == "edge") & (table["artefact_strength"] > 0)]:
        zero = image == 0
        assert max(zero[0].mean(), zero[-1].mean(), zero[:, 0].mean(), zero[:, -1].mean()) > 0.2


def test_trails_are_straight_and_cross_the_image(table):
    def sides(image: np.ndarray) -> int:
        bright = image > np.median(image) + 6e-3
        return sum(int(side.any()) for side in (bright[0], bright[-1], bright[:, 0], bright[:, -1]))

    assert min(sides(image) for image in table["image"][table["artefact"] == "satellite trail"]) >= 2
    assert np.mean([sides(image) >= 2 for image in table["image"][table["artefact"] == ""]]) < 0.7


def test_bright_neighbours_and_stars_outshine_the_galaxy(table):
    clean = table["artefact"] == ""
    for name, factor in (("bright neighbour", 1.5), ("diffraction spikes", 3.0)):
        rows = table["artefact"] == name
        total = np.median(np.asarray(table["image"][rows]).sum(axis=(1, 2)))
        assert total > factor * np.median(np.asarray(table["image"][clean]).sum(axis=(1, 2)))


def test_strength_is_zero_where_nothing_is(table):
    clean = table["artefact"] == ""
    assert (table["artefact_strength"][clean] == 0).all()
    assert (table["artefact_strength"][~clean] > 0).mean() > 0.97
    assert (table["artefact_strength"] <= 1).all()


def test_statistics_like_those_of_the_real_images(real_data, clean):
    """Noise, peak and concentration of the light, against the 52 real ones."""
    real = []
    for path in sorted((real_data / "galaxies" / "sci").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                real.append(fits.getdata(io.BytesIO(tar.extractfile(member).read())).astype(np.float64))
    assert len(real) == 52

    def measures(image: np.ndarray) -> list[float]:
        faint = image[image != 0]
        sky = np.median(faint)
        deviation = 1.4826 * np.median(np.abs(faint - sky))
        size = image.shape[0]
        total = aperture(image - sky, size / 2)
        return [
            np.log10(deviation),
            np.log10(np.percentile(faint, 99.9)),
            aperture(image - sky, size / 10) / total,
        ]

    one = np.median([measures(image) for image in real], axis=0)
    other = np.median([measures(image) for image in clean["image"]], axis=0)
    assert abs(one[0] - other[0]) < 0.3
    assert abs(one[1] - other[1]) < 0.6
    assert abs(one[2] - other[2]) < 0.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "at least one galaxy"),
        ({"n": 2, "size": 8}, "from 16 to 2048"),
        ({"n": 2, "size": 4000}, "from 16 to 2048"),
        ({"n": 2, "artefacts": 1.5}, "is no share"),
        ({"n": 2, "artefacts": float("nan")}, "is no share"),
    ],
)
def test_numbers_that_make_no_images(options, message):
    with pytest.raises(InputError, match=message):
        galaxies(**options)
