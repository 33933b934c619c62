"""Files of an InfoVAE: models come back as they were, trainings go on, and files that lie are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy import units as u
from sklearn.base import clone

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from safetensors import safe_open  # noqa: E402

from astro_cluster.embedding import InfoVAE, load_model  # noqa: E402
from astro_cluster.exceptions import InputError  # noqa: E402
from astro_cluster.wavelengths import log_grid  # noqa: E402

from .spectra_samples import lines  # noqa: E402

SMALL = {"hidden": (16, 8), "epochs": 4, "batch_size": 16, "random_state": 1}
GRID = log_grid(4000 * u.AA, 8000 * u.AA, 80)


def models() -> dict[str, InfoVAE]:
    return {
        "plain": InfoVAE(3, **SMALL),
        "conditioned": InfoVAE(2, conditioned=True, kernel="single", alpha=0.5, **SMALL),
        "window": InfoVAE(2, normalize=(500 * u.nm, 600 * u.nm), subtract_mean=False, clip=None, **SMALL),
        "adamw": InfoVAE(2, normalize="max", optimiser="adamw", softening=0.0, **SMALL),
    }


def parts(path) -> tuple[dict, dict]:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["astro_cluster"])
    return safetensors.load_file(path), header


def rewrite(path, tensors: dict, header: dict) -> None:
    safetensors.save_file(tensors, path, metadata={"astro_cluster": json.dumps(header)})


def same(first: InfoVAE, second: InfoVAE, sample: dict) -> None:
    assert {**first.history_, "seconds": 0} == {**second.history_, "seconds": 0}
    np.testing.assert_array_equal(first.reconstruct(**sample), second.reconstruct(**sample))
    for name, value in first.layers_.state_dict().items():
        assert torch.equal(value, second.layers_.state_dict()[name]), name


@pytest.mark.parametrize("name", models())
def test_a_model_comes_back_as_it_was(name: str, tmp_path) -> None:
    sample = lines(40)
    both = {"X": sample["X"], "weights": sample["weights"]}
    model = models()[name].fit(**sample, grid=GRID)
    back = load_model(model.save(tmp_path / "model.safetensors"))
    assert type(back) is InfoVAE
    np.testing.assert_array_equal(back.transform(**both), model.transform(**both))
    np.testing.assert_array_equal(back.reconstruct(**sample), model.reconstruct(**sample))
    latents = model.transform(**both)
    np.testing.assert_array_equal(back.decode(latents), model.decode(latents))
    for key, values in model.reconstruction_errors(**sample).items():
        np.testing.assert_array_equal(back.reconstruction_errors(**sample)[key], values)
    assert back.facts() == model.facts()
    assert back.grid_ == GRID
    assert (back.held_out_chi2_, back.held_out_mse_) == (model.held_out_chi2_, model.held_out_mse_)
    np.testing.assert_array_equal(back.mean_, model.mean_)
    assert back.held_out_rows_.tolist() == model.held_out_rows_.tolist()
    expected = {**model.get_params(), "hidden": [16, 8], "normalize": back.normalize}
    assert back.get_params() == expected
    assert back.normalize_ == model.normalize_
    again = clone(back).fit(**sample, grid=GRID)  # and it can learn anew
    np.testing.assert_array_equal(again.transform(**both), latents)


def test_headers_that_lie(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    models()["plain"].fit(**lines(40), grid=GRID).save(path)
    tensors, header = parts(path)
    parameters = header["parameters"]
    lies: list[tuple[dict, str]] = [
        ({"class": "ConvAutoencoder"}, "damaged"),
        ({"n_pixels": 79}, "79 pixels"),
        ({"n_pixels": 79, "grid": None}, "weights are not those"),
        ({"n_pixels": 10**9}, "1000000000 pixels"),
        ({"n_pixels": "80"}, "'80' pixels"),
        ({"n_pixels": True}, "True pixels"),
        ({"normalize": 3}, "normalised by 3"),
        ({"normalize": "by hand"}, "by hand"),
        ({"normalize": "auto"}, "normalised by 'auto'"),
        ({"scale": 0.0}, "scale makes no sense"),
        ({"scale": float("nan")}, "no finite number"),
        ({"redshift": [0.0, -1.0]}, "scale makes no sense"),
        ({"redshift": [0.0]}, "damaged"),
        ({"redshift": None}, "damaged"),
        ({"grid": {"unit": "parsec"}}, "damaged"),
        ({"grid": "3625:9000:80"}, "damaged"),
        ({"grid": GRID.to_plain() | {"log": [4000, 8000, 79]}}, "grid has 79 wavelengths"),
        ({"parameters": {**parameters, "n_latent": 10**9}}, "damaged"),
        ({"parameters": {**parameters, "n_latent": 4}}, "weights are not those"),
        ({"parameters": {**parameters, "conditioned": True}}, "weights are not those"),
        ({"parameters": {**parameters, "hidden": [10**5] * 12}}, "damaged"),
        ({"parameters": {**parameters, "softening": "0"}}, "softening"),
        ({"parameters": {**parameters, "run": "rm"}}, "unknown parameters run"),
        ({"parameters": {**parameters, "random_state": "x"}}, "random_state"),
        ({"parameters": 3}, "damaged"),
        ({"history": {"epoch": [1]}}, "no history"),
        ({"best_epoch": 0}, "best epoch"),
        ({"best_epoch": True}, "best epoch"),
        ({"held_out_rows": ["a"]}, "damaged"),
    ]
    for lie, message in lies:
        rewrite(path, tensors, header | lie)
        with pytest.raises(InputError, match=message):
            load_model(path)
    for missing in ("parameters", "n_pixels", "normalize", "scale", "redshift", "grid", "history"):
        rewrite(path, tensors, {k: v for k, v in header.items() if k != missing})
        with pytest.raises(InputError, match=missing):
            load_model(path)


def test_tensors_that_do_not_fit(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    models()["plain"].fit(**lines(40)).save(path)
    tensors, header = parts(path)
    mean = tensors["preparation.mean"]
    for name, other in (
        ("preparation.mean", mean.float()),
        ("preparation.mean", torch.full_like(mean, float("inf"))),
        ("encoder.0.weight", tensors["encoder.0.weight"].double()),
    ):
        rewrite(path, tensors | {name: other}, header)
        with pytest.raises(InputError, match="no finite numbers of the right type"):
            load_model(path)
    without = {k: v for k, v in tensors.items() if k != "preparation.mean"}
    for broken in (
        without,
        tensors | {"preparation.mean": mean[1:].clone()},
        tensors | {"more": mean.clone()},
    ):
        rewrite(path, broken, header)
        with pytest.raises(InputError, match="the first that differs"):
            load_model(path)


@pytest.mark.parametrize("name", models())
def test_an_interrupted_training_goes_on_bit_for_bit(name: str, tmp_path) -> None:
    sample, path = lines(60), tmp_path / "training.safetensors"
    model = models()[name]
    whole = clone(model).fit(**sample, grid=GRID)

    def stop(epoch: int, numbers: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        clone(model).fit(**sample, grid=GRID, checkpoint=path, on_epoch=stop)
    assert f"after 2 epochs is in {path}" in caught.value.__notes__[0]
    seen: list[int] = []
    resumed = clone(model).fit(
        **sample, grid=GRID, checkpoint=path, on_epoch=lambda epoch, numbers: seen.append(epoch)
    )
    assert seen == [3, 4]
    same(resumed, whole, sample)
    longer = clone(model).set_params(epochs=6)
    same(
        clone(longer).fit(**sample, grid=GRID, checkpoint=path),
        clone(longer).fit(**sample, grid=GRID),
        sample,
    )


def test_a_wide_training_goes_on_bit_for_bit(tmp_path) -> None:
    """Wide enough for the fast products, and on several threads."""
    sample, path = lines(300, 300), tmp_path / "training.safetensors"
    model = InfoVAE(4, epochs=3, batch_size=270, n_threads=2, random_state=1)
    clone(model).set_params(epochs=1).fit(**sample, checkpoint=path)
    same(clone(model).fit(**sample, checkpoint=path), clone(model).fit(**sample), sample)


def test_checkpoints_of_other_trainings_are_refused(tmp_path) -> None:
    sample, path = lines(40), tmp_path / "training.safetensors"
    model = models()["plain"]
    model.fit(**sample, checkpoint=path)
    kept = path.read_bytes()
    for parameters, message in (
        ({"n_latent": 2}, "n_latent was 3 and is 2"),
        ({"lambda_": 3.0}, "lambda_ was"),
        ({"softening": 0.5}, "softening was"),
        ({"random_state": 5}, "another seed"),
    ):
        with pytest.raises(InputError, match=message):
            clone(model).set_params(**parameters).fit(**sample, checkpoint=path)
    other = {**sample, "weights": 2 * sample["weights"]}
    with pytest.raises(InputError, match="spectra was"):
        clone(model).fit(**other, checkpoint=path)
    with pytest.raises(InputError, match="spectra was"):
        clone(model).fit(**sample, checkpoint=path, held_out_rows=[1, 2, 3])
    with pytest.raises(InputError, match="normalized was False"):
        clone(model).fit(**sample, checkpoint=path, normalized=True)
    assert path.read_bytes() == kept
    saved = model.save(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="is no checkpoint"):
        clone(model).fit(**sample, checkpoint=saved)
    with pytest.raises(InputError, match="checkpoint of a training, not a model"):
        load_model(path)
