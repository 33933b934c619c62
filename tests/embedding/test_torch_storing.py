"""Files of models and trainings: round trips, interruptions, and files that are none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.base import clone

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from safetensors import safe_open  # noqa: E402

from astro_cluster.config import conf  # noqa: E402
from astro_cluster.embedding.autoencoder import ConvAutoencoder, DenseAutoencoder, load_model  # noqa: E402
from astro_cluster.exceptions import AstroClusterWarning, InputError  # noqa: E402

from .pictures import ellipses  # noqa: E402

SMALL = {"epochs": 4, "batch_size": 16, "random_state": 1}


def models() -> dict[str, ConvAutoencoder | DenseAutoencoder]:
    return {
        "conv": ConvAutoencoder(4, filters=(8, 8), shift=1, **SMALL),
        "conv-study": ConvAutoencoder(
            architecture="study", loss={"bce": 0.9, "mse": 0.1}, optimiser="adadelta", **SMALL
        ),
        "dense": DenseAutoencoder(4, layers=(32,), optimiser="adamw", **SMALL),
        "dense-study": DenseAutoencoder(6, layers=(32, 16), architecture="study", optimiser="sgd", **SMALL),
        "infovae": ConvAutoencoder(4, filters=(8,), beta=0.1, mmd=1.0, **SMALL),
    }


def parts(path) -> tuple[dict, dict]:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["astro_cluster"])
    return safetensors.load_file(path), header


def rewrite(path, tensors: dict, header: dict | str) -> None:
    text = header if isinstance(header, str) else json.dumps(header)
    safetensors.save_file(tensors, path, metadata={"astro_cluster": text})


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("name", models())
def test_a_model_comes_back_as_it_was(name: str, tmp_path) -> None:
    images = ellipses(40, 13, 17)
    model = models()[name].fit(images)
    back = load_model(model.save(tmp_path / "model.safetensors"))
    assert type(back) is type(model)
    np.testing.assert_array_equal(back.transform(images), model.transform(images))
    np.testing.assert_array_equal(back.reconstruct(images), model.reconstruct(images))
    assert back.facts() == model.facts()
    for key, value in model.get_params().items():
        found = back.get_params()[key]
        assert (list(found) if isinstance(value, tuple) else found) == (
            list(value) if isinstance(value, tuple) else value
        )
    assert back.image_shape_ == (13, 17, 1)
    assert back.held_out_rows_.tolist() == model.held_out_rows_.tolist()
    assert {"torch", "astro_cluster"} <= set(parts(tmp_path / "model.safetensors")[1]["versions"])
    again = back.fit(images)  # and it can learn anew
    np.testing.assert_array_equal(again.transform(images), model.transform(images))


def test_numbers_of_numpy_are_parameters_like_others(tmp_path) -> None:
    images, path = ellipses(20), tmp_path / "training.safetensors"
    model = DenseAutoencoder(
        np.int64(2),
        layers=[np.int32(8)],
        epochs=np.int16(1),
        loss={"mse": np.float32(1)},
        random_state=np.int64(1),
    ).fit(images, checkpoint=path)
    same(
        DenseAutoencoder(2, layers=(8,), epochs=1, random_state=1).fit(images, checkpoint=path), model, images
    )
    back = load_model(model.save(tmp_path / "model.safetensors"))
    assert back.get_params()["layers"] == [8]
    np.testing.assert_array_equal(back.transform(images), model.transform(images))


def test_places_that_cannot_be_written(tmp_path) -> None:
    model = models()["dense"].fit(ellipses(20))
    model.save(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="exists already"):
        model.save(tmp_path / "a.safetensors")
    model.save(tmp_path / "a.safetensors", overwrite=True)
    for path, message in (
        (tmp_path / "a.pt", "ending .safetensors"),
        (tmp_path / "none" / "a.safetensors", "no folder"),
    ):
        with pytest.raises(InputError, match=message):
            model.save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_files_that_are_no_models(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    model = models()["dense"].fit(ellipses(20))
    with pytest.raises(InputError, match="there is no file"):
        load_model(path)
    model.save(path)
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cut short"):
            load_model(path)
    for junk in (b"\x80\x04K\x01." * 50, b"\xff" * 64, b"not a model at all, but a text"):
        path.write_bytes(junk)
        with pytest.raises(InputError, match="no safetensors file"):
            load_model(path)
    safetensors.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="none of astro_cluster"):
        load_model(path)


def test_headers_that_lie(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    models()["dense"].fit(ellipses(20)).save(path)
    tensors, header = parts(path)
    lies: list[tuple[dict, str]] = [
        ({"class": "Popen"}, "holds a 'Popen'"),
        ({"class": ["DenseAutoencoder"]}, "no model"),
        ({"kind": "other"}, "no model that can be read"),
        ({"format": 99}, "later version"),
        ({"format": "1"}, "in what format"),
        ({"image_shape": [10**6, 10**6, 3]}, "damaged"),
        ({"image_shape": [16, 15, 1]}, "weights are not those"),
        ({"image_shape": [16, -16, 1]}, "damaged"),
        ({"image_shape": "16"}, "damaged"),
        ({"parameters": {**header["parameters"], "n_latent": 10**9}}, "damaged"),
        ({"parameters": {**header["parameters"], "layers": [10**5] * 12}}, "damaged"),
        ({"parameters": {**header["parameters"], "layers": [8, 8]}}, "weights are not those"),
        ({"parameters": {**header["parameters"], "run": "rm"}}, "unknown parameters run"),
        ({"parameters": 3}, "damaged"),
        ({"parameters": {**header["parameters"], "random_state": "x"}}, "random_state"),
        ({"parameters": {**header["parameters"], "loss": {"mse": "x"}}}, "damaged"),
        ({"spread": 0.0}, "scale makes no sense"),
        ({"spread": float("nan")}, "no finite number"),
        ({"history": {"epoch": [1]}}, "no history"),
        ({"history": {**header["history"], "loss": [1.0]}}, "different lengths"),
        ({"history": {**header["history"], "loss": ["a"] * 4}}, "no table of numbers"),
        ({"best_epoch": 99}, "best epoch"),
        ({"held_out_rows": ["a"]}, "damaged"),
    ]
    for lie, message in lies:
        rewrite(path, tensors, header | lie)
        with pytest.raises(InputError, match=message):
            load_model(path)
    for missing in ("parameters", "image_shape", "spread", "history", "held_out_rows"):
        rewrite(path, tensors, {k: v for k, v in header.items() if k != missing})
        with pytest.raises(InputError, match=missing):
            load_model(path)
    for text in ("[", "3", "[" * 100_000):
        rewrite(path, tensors, text)
        with pytest.raises(InputError, match="damaged"):
            load_model(path)


def test_weights_that_do_not_fit(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    models()["dense"].fit(ellipses(20)).save(path)
    tensors, header = parts(path)
    name = next(iter(tensors))
    for other in (tensors[name].double(), torch.full_like(tensors[name], float("nan"))):
        rewrite(path, tensors | {name: other}, header)
        with pytest.raises(InputError, match="no finite numbers of the right type"):
            load_model(path)
    for other in ({k: v for k, v in tensors.items() if k != name}, tensors | {"more": torch.zeros(1)}):
        rewrite(path, other, header)
        with pytest.raises(InputError, match="the first that differs"):
            load_model(path)


# ---------------------------------------------------------------- trainings


def same(first, second, images) -> None:
    assert {**first.history_, "seconds": 0} == {**second.history_, "seconds": 0}
    np.testing.assert_array_equal(first.transform(images), second.transform(images))
    for name, value in first.layers_.state_dict().items():
        assert torch.equal(value, second.layers_.state_dict()[name]), name


@pytest.mark.parametrize("name", models())
def test_an_interrupted_training_goes_on_bit_for_bit(name: str, tmp_path) -> None:
    images = ellipses(50)
    model = models()[name]
    whole = clone(model).fit(images)
    path = tmp_path / "training.safetensors"

    def stop(epoch: int, numbers: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        clone(model).fit(images, checkpoint=path, progress=stop)
    assert f"after 2 epochs is in {path}" in caught.value.__notes__[0]
    seen = []
    resumed = clone(model).fit(images, checkpoint=path, progress=lambda epoch, numbers: seen.append(epoch))
    assert seen == [3, 4]
    same(resumed, whole, images)
    # What is over is not done again.
    seen.clear()
    same(clone(model).fit(images, checkpoint=path, progress=lambda e, n: seen.append(e)), whole, images)
    assert seen == []
    # And more epochs go on from there.
    longer = clone(model).set_params(epochs=6)
    same(clone(longer).fit(images, checkpoint=path), clone(longer).fit(images), images)


def test_an_interruption_within_an_epoch_falls_back_to_its_beginning(tmp_path, monkeypatch) -> None:
    images = ellipses(50)
    model = models()["conv"]
    whole = clone(model).fit(images)
    path = tmp_path / "training.safetensors"
    from astro_cluster.embedding.autoencoder.training import Training

    step, steps = Training._step, []

    def interrupted(self, rows):
        steps.append(len(rows))
        if len(steps) == 8:  # three batches an epoch: in the third
            step(self, rows)
            raise KeyboardInterrupt
        return step(self, rows)

    monkeypatch.setattr(Training, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        clone(model).fit(images, checkpoint=path)
    assert "after 2 epochs" in caught.value.__notes__[0]
    monkeypatch.undo()
    same(clone(model).fit(images, checkpoint=path), whole, images)


def test_a_killed_training_goes_on(tmp_path) -> None:
    path = tmp_path / "training.safetensors"
    np.save(tmp_path / "images.npy", ellipses(50))
    code = (
        "import sys, time, numpy as np\n"
        "from astro_cluster.config import conf\n"
        "from astro_cluster.embedding.autoencoder import DenseAutoencoder\n"
        "images = np.load(sys.argv[1])\n"
        "model = DenseAutoencoder(4, layers=(32,), epochs=6, batch_size=16, random_state=1)\n"
        "wait = lambda epoch, numbers: (print(epoch, flush=True), time.sleep(60 if epoch == 3 else 0))\n"
        "with conf.set_temp('checkpoint_interval', 0.0):\n"
        "    model.fit(images, checkpoint=sys.argv[2], progress=wait)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "images.npy"), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline() for _ in range(3)] == ["1\n", "2\n", "3\n"]
        process.send_signal(signal.SIGKILL)
        process.wait()
    images = np.load(tmp_path / "images.npy")
    model = DenseAutoencoder(4, layers=(32,), epochs=6, batch_size=16, random_state=1)
    seen = []
    resumed = clone(model).fit(images, checkpoint=path, progress=lambda epoch, numbers: seen.append(epoch))
    assert seen == [4, 5, 6]
    same(resumed, clone(model).fit(images), images)


def test_a_drawn_seed_is_kept_in_the_checkpoint(tmp_path) -> None:
    images, path = ellipses(30), tmp_path / "training.safetensors"
    model = DenseAutoencoder(2, layers=(8,), epochs=2)
    first = clone(model).fit(images, checkpoint=path)
    same(clone(model).fit(images, checkpoint=path), first, images)
    with pytest.raises(InputError, match="another seed"):
        clone(model).set_params(random_state=5).fit(images, checkpoint=path)


def test_checkpoints_of_other_trainings_are_refused(tmp_path) -> None:
    images, path = ellipses(30), tmp_path / "training.safetensors"
    model = DenseAutoencoder(2, layers=(8,), epochs=2, random_state=1)
    model.fit(images, checkpoint=path)
    kept = path.read_bytes()
    for parameters, message in (
        ({"n_latent": 3}, "n_latent was 2 and is 3"),
        ({"layers": (9,)}, r"layers was \[8\]"),
    ):
        with pytest.raises(InputError, match=message):
            clone(model).set_params(**parameters).fit(images, checkpoint=path)
    with pytest.raises(InputError, match="images was"):
        clone(model).fit(ellipses(30, seed=2), checkpoint=path)
    with pytest.raises(InputError, match="class was 'DenseAutoencoder'"):
        ConvAutoencoder(2, epochs=2, random_state=1).fit(images, checkpoint=path)
    assert path.read_bytes() == kept
    saved = model.save(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="is no checkpoint"):
        clone(model).fit(images, checkpoint=saved)
    with pytest.raises(InputError, match="checkpoint of a training, not a model"):
        load_model(path)


def test_damaged_checkpoints(tmp_path) -> None:
    images, path = ellipses(30), tmp_path / "training.safetensors"
    model = DenseAutoencoder(2, layers=(8,), epochs=2, random_state=1)
    model.fit(images, checkpoint=path)
    tensors, header = parts(path)
    name = next(key for key in tensors if key.startswith("network."))
    moment = next(key for key in tensors if key.startswith("optimiser.") and tensors[key].ndim == 2)
    damages = [
        ({k: v for k, v in tensors.items() if k != name}, header),
        (tensors | {name: torch.zeros(3)}, header),
        (tensors | {moment: torch.zeros(3)}, header),
        (tensors | {"optimiser.99.step": torch.zeros(())}, header),
        (tensors, header | {"state": {}}),
        (tensors, header | {"state": {**header["state"], "generator": {"bit_generator": "MT19937"}}}),
        (tensors, header | {"state": {**header["state"], "generator": 3}}),
        (tensors, header | {"seed": "1"}),
    ]
    for broken, said in damages:
        rewrite(path, broken, said)
        with pytest.raises(InputError, match="damaged"):
            clone(model).set_params(epochs=3).fit(images, checkpoint=path)


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(tmp_path, monkeypatch) -> None:
    from astro_cluster.embedding.autoencoder import checkpoint

    def full(*args: object) -> None:
        raise InputError("no space left")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    images = ellipses(30)
    with (
        conf.set_temp("checkpoint_interval", 0.0),
        pytest.warns(AstroClusterWarning, match="no space left") as caught,
    ):
        model = DenseAutoencoder(2, layers=(8,), epochs=3, random_state=1).fit(
            images, checkpoint=tmp_path / "training.safetensors"
        )
    assert len(caught) == 1
    assert len(model.history_["epoch"]) == 3


def test_checkpoints_are_written_every_so_often(tmp_path) -> None:
    path = tmp_path / "training.safetensors"
    there = []
    began = time.monotonic()
    DenseAutoencoder(2, layers=(8,), epochs=2, random_state=1).fit(
        ellipses(30), checkpoint=path, progress=lambda epoch, numbers: there.append(path.exists())
    )
    assert path.exists()
    if time.monotonic() - began < conf.checkpoint_interval:
        assert there == [False, False]
