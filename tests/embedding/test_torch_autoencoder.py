"""The autoencoders: shapes, weights that move, missing pixels, early stopping, PCA as reference."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

torch = pytest.importorskip("torch")

from astro_cluster.embedding.autoencoder import ConvAutoencoder, DenseAutoencoder  # noqa: E402
from astro_cluster.embedding.autoencoder.batches import ImageRows, batches_of, pieces_of  # noqa: E402
from astro_cluster.embedding.autoencoder.convolutional import ConvNetwork, StudyConvNetwork  # noqa: E402
from astro_cluster.embedding.autoencoder.networks import (  # noqa: E402
    DenseNetwork,
    Network,
    Sizes,
    StudyDenseNetwork,
)
from astro_cluster.embedding.autoencoder.objective import ImageObjective  # noqa: E402
from astro_cluster.embedding.autoencoder.training import Plan, Training  # noqa: E402
from astro_cluster.exceptions import AstroClusterWarning, InputError  # noqa: E402

from .pictures import ellipses  # noqa: E402

NETWORKS = [ConvNetwork, StudyConvNetwork, DenseNetwork, StudyDenseNetwork]
SMALL = {"epochs": 2, "batch_size": 16, "random_state": 1}


def small_models() -> dict[str, ConvAutoencoder | DenseAutoencoder]:
    return {
        "conv": ConvAutoencoder(4, filters=(8, 8), **SMALL),
        "conv-study": ConvAutoencoder(architecture="study", loss="bce", optimiser="adadelta", **SMALL),
        "dense": DenseAutoencoder(4, layers=(32,), **SMALL),
        "dense-study": DenseAutoencoder(6, layers=(32, 16), architecture="study", **SMALL),
        "infovae": ConvAutoencoder(4, filters=(8,), beta=0.1, mmd=1.0, shift=1, **SMALL),
    }


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("shape", [(16, 16, 1), (13, 22, 3), (9, 9, 2), (1, 7, 1), (40, 5, 1)])
def test_images_of_any_size_come_back_in_it(network: type[Network], shape: tuple[int, int, int]) -> None:
    made = network(Sizes(*shape, n_latent=3 if network is not StudyConvNetwork else None))
    images = torch.randn(4, shape[2], *shape[:2])
    latents = made.normalise(made.encode(images))
    assert latents.shape == (4, made.n_latent)
    assert made.decode(latents).shape == images.shape


def test_study_networks_are_those_of_the_study() -> None:
    conv, dense = StudyConvNetwork(Sizes(128, 128, 1)), StudyDenseNetwork(Sizes(128, 128, 1))
    assert conv.map_shape == (4, 16, 16)

    def weights(layers: torch.nn.Module) -> int:
        return sum(p.numel() for p in layers.parameters())

    # As its own summaries say, 1,620 that can be trained in the encoder and 69,358,976 in all.
    assert weights(conv.layers["encoder"]) + weights(conv.layers["norm"]) == 1620
    assert weights(dense.layers) == 69_358_976


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("variational", [False, True])
def test_each_weight_moves(network: type[Network], variational: bool) -> None:
    if variational and network in (StudyConvNetwork, StudyDenseNetwork):
        pytest.skip("the networks of the study are not variational")
    torch.manual_seed(1)
    images = ellipses(24, 12, 12)
    made = network(
        Sizes(12, 12, 1, n_latent=None if network is StudyConvNetwork else 3, variational=variational)
    )
    objective = ImageObjective(
        made, {"mse": 1.0}, beta=0.5 if variational else 0.0, mmd=0.5 if variational else 0.0
    )
    training = Training(
        objective, ImageRows(images), Plan(epochs=5, batch_size=12), np.arange(24), np.arange(0)
    )
    before = training.weights()
    training.run()
    names = [name for name, _ in made.layers.named_parameters()]
    assert len(names) >= 6
    still = [name for name in names if torch.equal(before[name], training.weights()[name])]
    assert still == []
    # And not just some rows of a weight.
    for name in names:
        if name.endswith("to_latent.weight"):
            assert (before[name] != training.weights()[name]).float().mean() > 0.9


@pytest.mark.parametrize("network", [ConvNetwork, StudyConvNetwork, DenseNetwork])
def test_gradients_of_shards_are_those_of_the_whole_batch(network: type[Network]) -> None:
    torch.manual_seed(2)
    images = ellipses(10, 12, 12)
    made = network(Sizes(12, 12, 1))
    objective = ImageObjective(made, {"mse": 1.0}, mmd=0.3 if network is ConvNetwork else 0.0)
    objective.shard_rows = 3
    training = Training(
        objective, ImageRows(images), Plan(batch_size=10, clip=None), np.arange(10), np.arange(0)
    )
    prior = objective.draw(np.random.default_rng([0, 1]), 10)
    made.layers.train()
    whole = training.source.take(np.arange(10))
    latents, terms = objective.join(objective.encode(whole), prior)
    loss = objective.compare(latents, whole)["mse"] / images.size
    loss = loss + sum(objective.coefficients[name] * term for name, term in terms.items())
    expected = torch.autograd.grad(loss, training.parameters)
    training.generator = np.random.default_rng([0, 1])
    seen = training._step(np.arange(10))
    assert training._total(seen) == pytest.approx(float(loss.detach()), rel=1e-5)
    for parameter, gradient in zip(training.parameters, expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


# ---------------------------------------------------------------- what counts


@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize("per_row", [False, True])
def test_missing_pixels_and_weights_equal_a_loop(channels: int, per_row: bool) -> None:
    rng = np.random.default_rng(3)
    images = ellipses(12, 10, 10)
    images = np.stack([images] * channels, axis=-1) if channels else images
    images[rng.uniform(size=images.shape) < 0.2] = np.nan
    weights = rng.uniform(0, 3, size=images.shape[: 1 if per_row else images.ndim])
    weights[0] = 0.0
    model = DenseAutoencoder(2, layers=(8,), held_out=0, augment=False, **SMALL).fit(images, weights=weights)
    made = model.reconstruct(images)
    assert np.isnan(made[0]).sum() == 0  # it has pixels; it was only not learned from
    errors = model.reconstruction_errors(images, weights=weights)
    total, count = 0.0, 0.0
    for row in range(12):
        above = below = 0.0
        for place in np.ndindex(images.shape[1:]):
            w = weights[row] if per_row else weights[(row, *place)]
            if np.isfinite(images[(row, *place)]):
                above += w * (images[(row, *place)] - made[(row, *place)]) ** 2
                below += w
        expected = above / below if below else np.nan
        assert errors[row] == pytest.approx(expected, rel=1e-4, nan_ok=True)
        total, count = total + above, count + below
    objective = model._fitted_objective
    source = ImageRows(images, weights)
    source.centre, source.spread = model.centre_, model.spread_
    training = Training(objective, source, Plan(batch_size=5), np.arange(12), np.arange(12))
    assert training.evaluate(np.arange(12))["mse"] * model.spread_**2 == pytest.approx(
        total / count, rel=1e-4
    )


def test_missing_pixels_are_left_out_of_scale_and_loss() -> None:
    images = ellipses(30)
    holes = np.random.default_rng(4).uniform(size=images.shape) < 0.1
    missing, unweighted = np.where(holes, np.nan, images), np.where(holes, 1e3, images)
    model = ConvAutoencoder(3, filters=(8,), augment=False, **SMALL)
    first = clone(model).fit(missing)
    second = clone(model).fit(unweighted, weights=(~holes).astype(float))
    assert (first.centre_, first.spread_) == pytest.approx((second.centre_, second.spread_))
    learned = np.delete(missing, first.held_out_rows_, axis=0)
    assert first.centre_ == pytest.approx(np.nanmean(learned), rel=1e-5)
    assert first.spread_ == pytest.approx(np.nanstd(learned), rel=1e-5)
    assert np.isfinite(first.transform(missing)).all()
    assert np.isfinite(first.reconstruct(missing)).all()


def test_rows_without_pixels_are_left_out_and_stay_empty() -> None:
    images = ellipses(30)
    images[[4, 9]] = np.nan
    model = ConvAutoencoder(3, filters=(8,), **SMALL).fit(images)
    without = ConvAutoencoder(3, filters=(8,), **SMALL).fit(np.delete(images, [4, 9], axis=0))
    assert model.history_["loss"] == without.history_["loss"]
    for found in (model.transform(images), model.reconstruct(images), model.reconstruction_errors(images)):
        empty = ~np.isfinite(found).reshape(30, -1).all(axis=1)
        assert np.flatnonzero(empty).tolist() == [4, 9]


def test_bytes_are_divided_by_255_and_never_copied() -> None:
    images = (255 * ellipses(30)).astype(np.uint8)
    model = DenseAutoencoder(2, layers=(8,), **SMALL)
    latents = clone(model).fit_transform(images)
    other = clone(model).fit_transform(images.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(latents, other, rtol=1e-3, atol=1e-5)
    made = clone(model).fit(images).reconstruct(images)
    assert made.dtype == np.float32
    assert made.min() > -0.5
    assert made.max() < 1.5


def test_memory_maps_and_foreign_byte_orders(tmp_path) -> None:
    images = ellipses(30)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    model = DenseAutoencoder(2, layers=(8,), **SMALL)
    expected = clone(model).fit_transform(images)
    for other in (mapped, images.astype(">f4"), images[:, ::-1][:, ::-1], np.asfortranarray(images)):
        np.testing.assert_array_equal(clone(model).fit_transform(other), expected)
    np.testing.assert_allclose(
        clone(model).fit_transform(images.astype(">f8")), expected, rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_units_of_the_images_do_not_matter(factor: float) -> None:
    images = ellipses(30)
    model = DenseAutoencoder(2, layers=(8,), **SMALL)
    plain, scaled = clone(model).fit(images), clone(model).fit(images.astype(float) * factor)
    assert scaled.held_out_loss_ / factor**2 == pytest.approx(plain.held_out_loss_, rel=1e-3)


# ---------------------------------------------------------------- learning


def test_a_linear_one_reaches_the_error_of_pca() -> None:
    images = ellipses(120, 8, 8)
    flat = images.reshape(120, -1)
    pca = PCA(3).fit(flat)
    best = np.mean((pca.inverse_transform(pca.transform(flat)) - flat) ** 2)
    torch.manual_seed(1)
    network = DenseNetwork(Sizes(8, 8, 1, n_latent=3, widths=(16,)))
    for part in ("encoder", "decoder"):  # without the bends it is linear
        layers = [layer for layer in network.layers[part] if not isinstance(layer, torch.nn.LeakyReLU)]
        network.layers[part] = torch.nn.Sequential(*layers)
    objective = ImageObjective(network, {"mse": 1.0})
    plan = Plan(epochs=300, batch_size=40, learning_rate=1e-2, patience=20)
    training = Training(objective, ImageRows(images), plan, np.arange(120), np.arange(120)).run()
    found = training.evaluate(np.arange(120))["mse"]
    assert (1 - 1e-4) * best < found < 1.05 * best


def test_a_bent_one_is_better_than_pca() -> None:
    """One latent is enough for round images of any width, and a straight line through them is not."""
    y, x = np.mgrid[:16, :16] - 7.5
    widths = np.random.default_rng(1).uniform(1, 5, 200)[:, None, None]
    images = np.exp(-(x**2 + y**2) / (2 * widths**2)).astype(np.float32)
    flat = images.reshape(200, -1)
    model = DenseAutoencoder(
        1, layers=(32,), epochs=60, batch_size=20, augment=False, random_state=1, learning_rate=3e-3
    )
    model.fit(images)
    pca = PCA(1).fit(np.delete(flat, model.held_out_rows_, axis=0))
    judged = flat[model.held_out_rows_]
    pca_error = np.mean((pca.inverse_transform(pca.transform(judged)) - judged) ** 2)
    assert model.held_out_loss_ < 0.2 * pca_error


def test_held_out_loss_is_that_of_the_held_out_rows() -> None:
    images = ellipses(40)
    for name, model in small_models().items():
        if name == "infovae":
            continue
        model.set_params(loss="mse").fit(images)
        assert len(model.held_out_rows_) == 4
        errors = model.reconstruction_errors(images[model.held_out_rows_])
        assert model.held_out_loss_ == pytest.approx(errors.mean(), rel=1e-4), name


def test_early_stopping_restores_the_best_epoch() -> None:
    images = ellipses(30)
    model = DenseAutoencoder(
        2,
        layers=(64,),
        epochs=400,
        batch_size=8,
        patience=3,
        learning_rate=0.03,
        augment=False,
        random_state=1,
    ).fit(images)
    losses = model.history_["held_out_loss"]
    assert model.stopped_ == "patience"
    assert len(losses) == model.best_epoch_ + 3 < 400
    assert model.held_out_loss_ == min(losses) == losses[model.best_epoch_ - 1] < losses[-1]
    errors = model.reconstruction_errors(images[model.held_out_rows_])
    assert errors.mean() == pytest.approx(min(losses), rel=1e-4)
    assert model.history_["learning_rate"][-1] < model.history_["learning_rate"][0]
    assert {len(values) for values in model.history_.values()} == {len(losses)}


def test_without_patience_or_held_out_all_epochs_run() -> None:
    model = DenseAutoencoder(2, layers=(8,), epochs=4, patience=None, held_out=0, random_state=1).fit(
        ellipses(20)
    )
    assert model.history_["epoch"] == [1, 2, 3, 4]
    assert len(set(model.history_["learning_rate"])) == 1
    assert "held_out_loss" not in model.history_
    assert np.isnan(model.held_out_loss_)
    assert model.facts()["held_out_loss"] is None


@pytest.mark.parametrize("name", small_models())
def test_same_seed_same_result_on_any_number_of_threads(name: str) -> None:
    images = ellipses(60, 20, 20)
    model = small_models()[name]
    torch.set_num_threads(1)
    first = clone(model).set_params(n_threads=1).fit(images)
    before = torch.random.get_rng_state()
    for threads in (1, 2, 5):
        torch.set_num_threads(2)
        other = clone(model).set_params(n_threads=threads).fit(images)
        assert torch.get_num_threads() == 2
        assert {**other.history_, "seconds": 0} == {**first.history_, "seconds": 0}
        np.testing.assert_array_equal(other.transform(images), first.transform(images))
        np.testing.assert_array_equal(other.reconstruct(images), first.reconstruct(images))
    assert torch.equal(torch.random.get_rng_state(), before)  # the user's own draws are left alone
    other = clone(model).set_params(random_state=2).fit(images)
    assert other.history_["loss"] != first.history_["loss"]


def test_average_over_symmetries_does_not_see_how_an_object_lies() -> None:
    images = ellipses(30)
    model = ConvAutoencoder(3, filters=(8, 8), average_symmetries=True, **SMALL).fit(images)
    latents = model.transform(images)
    for turned in (np.rot90(images, 1, (1, 2)), images[:, :, ::-1], np.rot90(images[:, ::-1], 3, (1, 2))):
        np.testing.assert_allclose(model.transform(turned), latents, atol=1e-5)
    plain = model.set_params(average_symmetries=False).transform(images)
    assert np.abs(model.transform(np.rot90(images, 1, (1, 2))) - plain).max() > 1e-3


def test_prior_pulls_the_latents_towards_a_normal_distribution() -> None:
    images = ellipses(200)
    same = {
        "layers": (64,),
        "epochs": 30,
        "batch_size": 50,
        "random_state": 1,
        "learning_rate": 3e-3,
        "patience": None,
    }
    free = DenseAutoencoder(2, **same).fit_transform(images)
    held = DenseAutoencoder(2, mmd=3.0, **same).fit_transform(images)
    prior = torch.from_numpy(np.random.default_rng(1).normal(size=(1000, 2)))
    from astro_cluster.embedding.autoencoder.losses import mmd

    distance = [float(mmd(torch.from_numpy(z).double(), prior)) for z in (free, held)]
    assert distance[1] < 0.2 * distance[0]
    tight = DenseAutoencoder(2, beta=1e4, **same).fit(images)
    assert np.abs(tight.transform(images)).max() < 0.05  # all the prior, nothing of the images
    assert tight.history_["kl"][-1] < 0.01 * max(tight.history_["kl"])


def test_real_galaxies_are_learned_better_than_their_mean(real_data) -> None:
    import io
    import tarfile

    from astropy.io import fits
    from PIL import Image

    stamps = []
    for tar in sorted((real_data / "galaxies" / "sci").glob("*.tar")):
        with tarfile.open(tar) as archive:
            for member in archive:
                if member.isfile():
                    image = fits.getdata(io.BytesIO(archive.extractfile(member).read())).astype(np.float32)
                    small = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BOX))
                    stamps.append((small - small.min()) / (small.max() - small.min()))
    images = np.array(stamps)
    assert images.shape == (52, 32, 32)
    model = ConvAutoencoder(
        8, epochs=70, batch_size=16, random_state=1, held_out=0.2, learning_rate=3e-3, patience=None
    ).fit(images)
    judged, learned = images[model.held_out_rows_], np.delete(images, model.held_out_rows_, axis=0)
    assert model.held_out_loss_ < 0.95 * np.mean((judged - learned.mean(axis=0)) ** 2)
    errors = model.reconstruction_errors(learned)
    assert errors.mean() < 0.6 * np.mean((learned - learned.mean(axis=0)) ** 2)


# ---------------------------------------------------------------- telling, and bad input


def test_progress_tells_each_epoch_and_each_term() -> None:
    told = []
    model = small_models()["infovae"].fit(
        ellipses(40), progress=lambda epoch, numbers: told.append((epoch, numbers))
    )
    assert [epoch for epoch, _ in told] == [1, 2]
    assert {"loss", "held_out_loss", "mse", "kl", "mmd", "learning_rate", "seconds"} <= set(told[0][1])
    assert told[1][1]["loss"] == model.history_["loss"][1]


def test_progress_line(capsys) -> None:
    small_models()["dense"].fit(ellipses(40), progress=True)
    assert "epoch 1 of 2, batch" in capsys.readouterr().err
    small_models()["dense"].fit(ellipses(40), progress=False)
    assert capsys.readouterr().err == ""


def test_facts_are_plain() -> None:
    import json

    model = small_models()["conv"].fit(ellipses(40))
    facts = json.loads(json.dumps(model.facts(), allow_nan=False))
    assert facts["epochs"] == 2
    assert facts["history"]["loss"] == model.history_["loss"]
    assert (model.stem, model.takes) == ("latent", "images")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((5, 4)), r"\(5, 4\)"),
        (np.zeros((5, 0, 4)), "no pixels"),
        (np.full((5, 4, 4), "a"), "float32 or uint8"),
        (np.full((5, 4, 4), np.nan), "only 0 of 5"),
        (np.zeros((1, 4, 4)), "only 1 of 1"),
        (np.zeros((0, 4, 4)), "only 0 of 0"),
        (np.ma.masked_equal(np.eye(4)[None] * np.ones((3, 1, 1)), 1), "set missing pixels to NaN"),
    ],
)
def test_images_that_are_none(images: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DenseAutoencoder(2).fit(images)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_latent": 0}, "n_latent=0; give a whole number from 1"),
        ({"n_latent": 2.5}, "n_latent=2.5"),
        ({"epochs": True}, "epochs=True"),
        ({"batch_size": 1}, "batch_size=1; give a whole number from 2"),
        ({"held_out": 1.0}, "held_out=1.0"),
        ({"learning_rate": 0}, "above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"beta": -1}, "beta=-1"),
        ({"filters": ()}, "filters="),
        ({"filters": (8, 0)}, "filters="),
        ({"filters": 8}, "filters=8"),
        ({"architecture": "Study"}, "did you mean 'study'"),
        ({"optimiser": "adm"}, "did you mean 'adam'"),
        ({"device": "gpu"}, "torch device 'gpu'"),
        ({"device": "meta"}, "torch device 'meta'"),
        ({"device": None}, "device=None"),
        ({"augment": 1}, "augment=1"),
        ({"shift": 16}, "shift=16 moves"),
        ({"n_threads": 0}, "n_threads=0"),
        ({"architecture": "study", "n_latent": 3}, "follow from the size"),
        ({"architecture": "study", "beta": 1.0}, "nothing to hold"),
    ],
)
def test_parameters_that_are_none(parameters: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConvAutoencoder(**parameters).fit(ellipses(20))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_cuda_it_is_said_and_auto_takes_the_processor() -> None:
    with pytest.raises(InputError, match="no CUDA device here; take device='cpu'"):
        DenseAutoencoder(2, device="cuda").fit(ellipses(20))
    DenseAutoencoder(2, layers=(4,), device="auto", epochs=1).fit(ellipses(20))


def test_pixels_beyond_0_and_1_are_refused_where_they_must_not_be() -> None:
    images = ellipses(20) * 2
    for parameters in ({"loss": "bce"}, {"loss": "mixed"}, {"architecture": "study"}):
        with pytest.raises(InputError, match="between 0 and 1, and these are between"):
            ConvAutoencoder(**parameters, **SMALL).fit(images)


def test_weights_that_are_none() -> None:
    images = ellipses(20)
    for weights, message in (
        (np.ones((20, 4)), "need a weight a row"),
        (-np.ones(20), "below 0"),
        (np.full(20, "a"), "give numbers"),
        (np.zeros(20), "only 0 of 20"),
    ):
        with pytest.raises(InputError, match=message):
            DenseAutoencoder(2, **SMALL).fit(images, weights=weights)


def test_other_images_than_those_that_were_learned() -> None:
    model = DenseAutoencoder(2, layers=(4,), **SMALL)
    with pytest.raises(NotFittedError, match="not fitted"):
        model.transform(ellipses(5))
    model.fit(ellipses(20))
    with pytest.raises(
        InputError, match="8 × 16 with 1 channels, and the network has learned from 16 × 16 with 1"
    ):
        model.transform(ellipses(5, 8, 16))
    assert model.transform(ellipses(0)).shape == (0, 2)
    assert model.transform(ellipses(5)[..., None]).shape == (5, 2)


def test_a_failed_fit_leaves_the_model_as_it_was() -> None:
    images = ellipses(20)
    model = DenseAutoencoder(2, layers=(4,), **SMALL).fit(images)
    before = model.transform(images)

    def stop(epoch: int, numbers: dict[str, float]) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        model.fit(1 - images, progress=stop)
    np.testing.assert_array_equal(model.transform(images), before)


def test_divergence_is_said(monkeypatch) -> None:
    images = ellipses(40)
    with pytest.raises(InputError, match="lower learning_rate"):
        DenseAutoencoder(2, optimiser="sgd", learning_rate=1e6, clip=None, epochs=20, random_state=1).fit(
            images
        )
    # And after a good beginning: the best epoch is kept.
    step = Training._step

    def spoiled(self: Training, rows: np.ndarray) -> dict[str, float]:
        terms = step(self, rows)
        return terms if self.state.epoch < 2 else {name: float("nan") for name in terms}

    monkeypatch.setattr(Training, "_step", spoiled)
    with pytest.warns(AstroClusterWarning, match="diverged in epoch 3; the weights of epoch"):
        model = DenseAutoencoder(2, layers=(8,), epochs=9, random_state=1).fit(images)
    assert model.stopped_ == "diverged"
    assert len(model.history_["epoch"]) == 3
    assert np.isfinite(model.transform(images)).all()


def test_batches_and_pieces_hold_each_row_once() -> None:
    for n in range(2, 40):
        for size in range(2, 10):
            batches = batches_of(np.arange(n), size)
            assert np.concatenate(batches).tolist() == list(range(n))
            assert min(map(len, batches)) >= 2
            assert max(map(len, batches)) <= size + 1
            pieces = pieces_of(n, size)
            assert [row for piece in pieces for row in range(n)[piece]] == list(range(n))


def test_package_loads_without_torch_and_says_what_is_missing() -> None:
    code = (
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch': raise ModuleNotFoundError('no torch')\n"
        "sys.meta_path.insert(0, Without())\n"
        "import numpy as np\n"
        "from astro_cluster.embedding.autoencoder import ConvAutoencoder, load_model\n"
        "from astro_cluster.exceptions import InputError\n"
        "fit = lambda: ConvAutoencoder().fit(np.zeros((4, 8, 8)))\n"
        "for call in (fit, lambda: load_model('a.safetensors')):\n"
        "    try: call()\n"
        "    except InputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count('pip install "astro_cluster[torch]"') == 2


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, astro_cluster.embedding.autoencoder; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
