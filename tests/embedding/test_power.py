"""Power spectra are those of NumPy's FFT and do not depend on where something lies."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA as Theirs

import astro_cluster as ac
from astro_cluster.embedding.power import PowerSpectrum
from astro_cluster.exceptions import InputError


def noise(n: int = 40, h: int = 24, w: int = 20, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(10, 1, (n, h, w)).astype("f4")


def by_fft(X: np.ndarray, waves: int) -> np.ndarray:
    """Logarithmic power of each image by NumPy's FFT, in its order of frequencies."""
    h, w = X.shape[1:]
    window = np.outer(*(np.cos(np.pi * (np.arange(n) - (n - 1) / 2) / n) for n in (h, w)))
    power = np.abs(np.fft.fft2((X - X.mean(axis=(1, 2), keepdims=True)) * window)) ** 2
    rows = np.arange(-waves, waves + 1)
    power = power[:, rows][:, :, : waves + 1]
    return np.log(power + 1e-6 * power.mean(axis=(1, 2), keepdims=True)).reshape(len(X), -1)


def test_it_is_numpys_fft_and_scikit_learns_components():
    X = noise()
    model = PowerSpectrum(5, n_waves=6)
    Y = model.fit_transform(X)
    spectra = by_fft(X.astype(float), 6)
    np.testing.assert_allclose(model.mean_, spectra.mean(axis=0), rtol=1e-4, atol=1e-4)
    theirs = Theirs(5).fit(spectra)
    np.testing.assert_allclose(np.abs(Y), np.abs(theirs.transform(spectra)), rtol=5e-3, atol=5e-3)
    np.testing.assert_allclose(model.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-3)
    np.testing.assert_allclose(model.transform(X), Y, atol=1e-9)


def test_where_something_lies_makes_little_difference():
    X = noise(60, 32, 32)
    X[0, 10] += 6
    X[1, 20] += 6
    X[2, :, 12] += 6
    Y = PowerSpectrum(10).fit_transform(X)
    same = np.linalg.norm(Y[0] - Y[1])
    assert same < 0.6 * np.linalg.norm(Y[0] - Y[2])
    pixels = X.reshape(60, -1)
    assert np.linalg.norm(pixels[0] - pixels[1]) > 0.9 * np.linalg.norm(pixels[0] - pixels[2])


def test_offsets_do_not_matter_and_pixels_may_have_any_type():
    X = np.clip(np.round(30 * noise() - 200), 0, 255).astype(np.uint8)
    Y = PowerSpectrum(4).fit_transform(X)
    for other in (X.astype("f8") + 1000, X.astype(">i4"), np.repeat(X[..., None], 3, axis=3)):
        # Sums are of single precision.
        np.testing.assert_allclose(PowerSpectrum(4).fit_transform(other), Y, rtol=0.02, atol=0.02)


def test_missing_pixels_count_as_the_mean_and_empty_images_do_no_harm():
    X = noise()
    holes = X.copy()
    holes[3, 2:4, 5] = np.nan
    holes[5] = np.nan
    holes[6] = 7.0
    Y = PowerSpectrum(4).fit(X).transform(holes)
    assert np.isfinite(Y).all()
    full = PowerSpectrum(4).fit_transform(X)
    others = np.setdiff1d(np.arange(40), [3, 5, 6])
    np.testing.assert_allclose(Y[others], full[others], rtol=1e-2, atol=1e-2)
    assert np.linalg.norm(Y[3] - full[3]) < 0.5 * np.linalg.norm(full, axis=1).mean()


def test_stamps_are_averaged_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    X = np.zeros((40, 24, 60), dtype="f4")
    X[:, :, :20], X[:, :, 30:50] = noise(w=20), noise(w=20, seed=2)
    model = PowerSpectrum(3, n_waves=5)
    Y = model.fit_transform(X)
    assert model.facts()["panels"] == 2
    power = np.exp(by_fft(noise(w=20).astype(float), 5)), np.exp(by_fft(noise(w=20, seed=2).astype(float), 5))
    np.testing.assert_allclose(model.mean_, np.log(sum(power) / 2).mean(axis=0), rtol=1e-3, atol=1e-3)
    monkeypatch.setattr("astro_cluster.embedding.power._BLOCK", 5000)
    np.testing.assert_allclose(PowerSpectrum(3, n_waves=5).fit_transform(X), Y, atol=1e-9)


def test_embed_knows_it_by_name(tmp_path):
    strips = ac.simulate.strips(60, spurious=6, size=(60, 320))
    out = ac.embed(strips, "power-spectrum", n_components=6, faithfulness=False)
    assert out["power"].shape == (60, 6)
    ranks = np.asarray(ac.rank(out, random_state=1)["inspection_rank"])
    assert ranks[np.asarray(out["spurious"])].mean() < 20
    again = ac.embed(strips, PowerSpectrum(6), faithfulness=False)
    np.testing.assert_allclose(again["power"], out["power"])


@pytest.mark.parametrize(
    ("X", "model", "message"),
    [
        (noise(2), PowerSpectrum(), "2 images are too few"),
        (noise()[:, :, :5], PowerSpectrum(), "are too small"),
        (noise()[:, 0], PowerSpectrum(), "power spectra are of images"),
        (noise(), PowerSpectrum(0), "n_components=0 cannot be used"),
        (noise(), PowerSpectrum(n_waves=1.5), "n_waves=1.5 cannot be used"),
    ],
)
def test_bad_input_is_one_clear_sentence(X: np.ndarray, model: PowerSpectrum, message: str):
    with pytest.raises(InputError, match=message):
        model.fit(X)


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match="those of the fit were"):
        PowerSpectrum(2).fit(noise()).transform(noise(w=22))
