"""InfoVAE: its loss against NumPy, weights that move, threads, noise and missing pixels, bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

torch = pytest.importorskip("torch")

from astro_cluster.embedding import InfoVAE  # noqa: E402
from astro_cluster.embedding.autoencoder.losses import MMD_SCALES  # noqa: E402
from astro_cluster.embedding.autoencoder.training import Plan, Training  # noqa: E402
from astro_cluster.embedding.autoencoder.watching import told_epoch  # noqa: E402
from astro_cluster.embedding.infovae import held_out_chi2  # noqa: E402
from astro_cluster.embedding.infovae.network import SLOPE, SpectraNetwork  # noqa: E402
from astro_cluster.embedding.infovae.objective import InfoVAEObjective  # noqa: E402
from astro_cluster.embedding.infovae.products import from_pixels, half_chi2, to_pixels  # noqa: E402
from astro_cluster.embedding.infovae.rows import SpectraShard, SpectrumRows, noise_of  # noqa: E402
from astro_cluster.embedding.infovae.standardising import standardise_latents  # noqa: E402
from astro_cluster.exceptions import AstroClusterWarning, InputError  # noqa: E402
from astro_cluster.wavelengths import log_grid  # noqa: E402

from .spectra_samples import lines  # noqa: E402

SMALL = {"hidden": (16, 8), "epochs": 4, "batch_size": 16, "random_state": 1}


def small(n_latent: int = 3, **more: object) -> InfoVAE:
    return InfoVAE(n_latent, **{**SMALL, **more})  # type: ignore[arg-type]


# ---------------------------------------------------------------- the loss


class Plain:
    """The loss of the issue, written out for one row after another, in double precision."""

    def __init__(self, network: SpectraNetwork) -> None:
        self.weights = {name: value.numpy() for name, value in network.layers.state_dict().items()}

    def dense(self, part: str, x: np.ndarray) -> np.ndarray:
        for k in range(0, 6, 2):
            x = self.weights[f"{part}.{k}.weight"] @ x + self.weights[f"{part}.{k}.bias"]
            x = x if k == 4 else np.where(x > 0, x, SLOPE * x)
        return x

    def terms(
        self,
        x: np.ndarray,
        w: np.ndarray,
        noise: np.ndarray,
        prior: np.ndarray,
        kernel: str,
        **more: np.ndarray,
    ) -> dict[str, float]:
        chi2, divergence, latents = 0.0, 0.0, []
        for row in range(len(x)):
            code = self.dense("encoder", x[row])
            mean, log_variance = code[: len(code) // 2], code[len(code) // 2 :]
            latents.append(mean + np.exp(log_variance / 2) * noise[row])
            given = np.concatenate([latents[-1], *(values[row] for values in more.values())])
            made = self.dense("decoder", given)
            chi2 += 0.5 * sum(w[row, k] * (x[row, k] - made[k]) ** 2 for k in range(x.shape[1]))
            divergence += -0.5 * np.sum(1 + log_variance - mean**2 - np.exp(log_variance))
        scales = {"single": (1.0,), "multi": MMD_SCALES}[kernel]

        def mean_kernel(a: np.ndarray, b: np.ndarray, same: bool) -> float:
            return float(
                np.mean(
                    [
                        np.mean([np.exp(-np.mean((p - q) ** 2) / s) for s in scales])
                        for (i, p), (j, q) in itertools.product(enumerate(a), enumerate(b))
                        if not (same and i == j)
                    ]
                )
            )

        z = np.array(latents)
        discrepancy = (
            mean_kernel(z, z, True) + mean_kernel(prior, prior, True) - 2 * mean_kernel(z, prior, False)
        )
        return {"reconstruction": chi2 / len(x), "kl": divergence / len(x), "mmd": discrepancy}


@pytest.mark.parametrize("kernel", ["single", "multi"])
@pytest.mark.parametrize("conditions", [0, 1])
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_each_term_is_that_of_the_paper(kernel: str, conditions: int, kind: object, tolerance: float) -> None:
    rng = np.random.default_rng(2)
    torch.manual_seed(2)
    network = SpectraNetwork(12, 3, (7, 5), n_conditions=conditions)
    network.layers.to(kind)
    objective = InfoVAEObjective(network, alpha=0.3, lambda_=4.0, kernel=kernel)
    x, w = rng.normal(size=(9, 12)), rng.uniform(0, 3, size=(9, 12))
    w[rng.uniform(size=w.shape) < 0.2] = 0.0
    z = rng.normal(size=(9, conditions))
    draws = {name: rng.normal(size=(9, 3)) for name in ("noise", "prior")}
    tensors = [torch.from_numpy(values).to(kind) for values in (x, w, w, z)]
    shard = SpectraShard(*tensors[:3], tensors[3] if conditions else None)
    network.layers.train()
    latents, terms = objective.join(objective.encode(shard), draws)
    terms |= {name: value / shard.weight for name, value in objective.compare(latents, shard).items()}
    expected = Plain(network).terms(x, w, **draws, kernel=kernel, **({"z": z} if conditions else {}))
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert float(terms[name].detach()) == pytest.approx(value, rel=tolerance, abs=tolerance), name
    assert {name: objective.coefficients[name] for name in expected} == pytest.approx(
        {"reconstruction": 1.0, "kl": 0.7, "mmd": 3.3}
    )


def test_the_loss_of_a_batch_is_what_its_gradients_are_of() -> None:
    """Shards and latents that meet in between change nothing: the gradients are those of the whole loss."""
    torch.manual_seed(3)
    sample = lines(11, 30)
    x, w = sample["X"] - sample["X"].mean(0), sample["weights"]
    network = SpectraNetwork(30, 2, (6, 4), n_conditions=1)
    objective = InfoVAEObjective(network, alpha=0.2, lambda_=50.0, kernel="multi", shard_rows=4)
    source = SpectrumRows(x, w, softening=0.02, conditions=sample["redshift"][:, None].astype(np.float32))
    training = Training(objective, source, Plan(batch_size=11, clip=None), np.arange(11), np.arange(0))
    draws = objective.draw(np.random.default_rng([0, 1]), 11)
    network.layers.train()
    whole = source.take(np.arange(11))
    latents, terms = objective.join(objective.encode(whole), draws)
    terms["reconstruction"] = objective.compare(latents, whole)["reconstruction"] / 11
    loss = sum(objective.coefficients[name] * term for name, term in terms.items())
    expected = torch.autograd.grad(loss, training.parameters)
    training.generator = np.random.default_rng([0, 1])
    seen = training._step(np.arange(11))
    assert training._total(seen) == pytest.approx(float(loss.detach()), rel=1e-5)
    for parameter, gradient in zip(training.parameters, expected, strict=True):
        np.testing.assert_allclose(
            parameter.grad, gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max())
        )


@pytest.mark.parametrize("rows", [1, 64])
def test_fast_products_are_those_of_the_layers(rows: int) -> None:
    torch.manual_seed(4)
    down, up = torch.nn.Linear(1500, 256), torch.nn.Linear(256, 1500)
    for product, layer, needs in ((from_pixels, down, False), (to_pixels, up, True)):
        x = torch.randn(rows, layer.in_features, requires_grad=needs)
        wanted = [*layer.parameters(), *([x] if needs else [])]
        found, expected = product(x, layer), layer(x)
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
        gradient = torch.randn_like(expected)
        for a, b in zip(
            torch.autograd.grad(found, wanted, gradient),
            torch.autograd.grad(expected, wanted, gradient),
            strict=True,
        ):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_half_of_chi2_and_its_gradient() -> None:
    rng = np.random.default_rng(4)
    outputs, spectra, weights = (torch.from_numpy(rng.uniform(size=(5, 7))) for _ in range(3))
    outputs.requires_grad_()
    plain = 0.5 * (weights * (outputs - spectra).square()).sum()
    found = half_chi2(outputs, spectra, weights)
    assert float(found.detach()) == pytest.approx(float(plain.detach()), rel=1e-12)
    expected = torch.autograd.grad(3.0 * plain, outputs)[0]
    np.testing.assert_allclose(torch.autograd.grad(3.0 * found, outputs)[0], expected, rtol=1e-12)


def test_the_network_is_the_one_of_the_study() -> None:
    layers = SpectraNetwork(1500, 6).layers
    shapes = [tuple(p.shape) for name, p in layers.named_parameters() if name.endswith("weight")]
    assert shapes == [(256, 1500), (128, 256), (12, 128), (128, 6), (256, 128), (1500, 256)]
    kinds = [type(layer).__name__ for part in ("encoder", "decoder") for layer in layers[part]]
    assert kinds == ["Linear", "LeakyReLU", "Linear", "LeakyReLU", "Linear"] * 2


@pytest.mark.parametrize("conditioned", [False, True])
def test_each_weight_and_bias_moves(conditioned: bool) -> None:
    sample = lines(48)
    seen: list[dict[str, np.ndarray]] = []
    model = small(conditioned=conditioned, held_out=0.2)
    before = {
        name: value.clone()
        for name, value in model._objective(80, 1.0, _seed(model)).layers.state_dict().items()
    }
    model.set_params(patience=None).fit(**sample, on_epoch=lambda epoch, numbers: seen.append(dict(numbers)))
    after = model.layers_.state_dict()
    assert list(after) == list(before)
    assert len(after) == 12  # six layers, a weight and a bias each
    for name, value in after.items():
        moved = (value != before[name]).float().mean()
        assert moved > 0.95, f"{name}: only {moved:.0%} of its numbers were learned"


@pytest.mark.parametrize("conditioned", [False, True])
def test_no_gradient_is_zero(conditioned: bool) -> None:
    sample = lines(64)
    objective = small(conditioned=conditioned)._objective(80, 1.0, 5)
    source = SpectrumRows(
        sample["X"],
        sample["weights"],
        softening=0.0,
        conditions=sample["redshift"][:, None].astype(np.float32) if conditioned else None,
    )
    training = Training(objective, source, Plan(batch_size=64), np.arange(64), np.arange(0))
    objective.layers.train()
    training._step(np.arange(64))
    for name, parameter in objective.layers.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).float().mean() > 0.95, name


def _seed(model: InfoVAE) -> int:
    return int(np.random.RandomState(model.random_state).randint(2**31 - 1))


# ---------------------------------------------------------------- what is learned


def test_one_latent_is_enough_for_a_line_that_moves() -> None:
    """What moves is one number for the network, and many directions for a principal component."""
    rng = np.random.default_rng(1)
    place = np.linspace(0, 1, 64)
    flux = 1 + 3 * np.exp(-0.5 * ((place - rng.uniform(0.2, 0.8, (400, 1))) / 0.06) ** 2)
    flux = (flux + rng.normal(size=flux.shape) * 0.1).astype(np.float32)
    weights = np.full(flux.shape, 100.0)
    model = InfoVAE(
        1, hidden=(32, 32), epochs=60, batch_size=32, learning_rate=3e-3, normalize=None, random_state=1
    ).fit(flux, weights=weights)
    learned = np.delete(flux, model.held_out_rows_, axis=0)
    mean = learned.mean(0)
    axis = np.linalg.svd(learned - mean)[2][0]
    off = flux[model.held_out_rows_] - mean
    pca = np.mean((off - np.outer(off @ axis, axis)) ** 2) * 100
    assert model.held_out_chi2_ < 0.4 * pca


def test_lambda_pulls_the_latents_towards_the_prior() -> None:
    sample = lines(200, noise=0.02)
    found = {}
    for lambda_ in (1.0, 1e5):
        model = small(2, epochs=30, lambda_=lambda_, learning_rate=3e-3, patience=None, clip=None)
        found[lambda_] = np.mean(model.fit(**sample).history_["mmd"][-5:])
    assert found[1e5] < 0.3 * found[1.0]


@pytest.mark.parametrize("conditioned", [False, True])
def test_latents_are_standardised_and_reconstructions_are_not_changed(conditioned: bool) -> None:
    sample = lines(200)
    model = small(conditioned=conditioned)
    objective = model._objective(80, 1.0, 5)
    z = sample["redshift"][:, None].astype(np.float32) if conditioned else None
    source = SpectrumRows(sample["X"], sample["weights"], softening=0.0, conditions=z)
    rows = np.arange(20, 200)
    training = Training(objective, source, Plan(epochs=3, batch_size=32), rows, rows[:0]).run()
    shard = source.take(rows)
    with torch.no_grad():
        before, terms = objective.encode(shard), training.evaluate(rows)
        made = objective.network.decode(before[:, :3], shard.conditions)
        standardise_latents(objective, source, rows)
        after, others = objective.encode(shard), training.evaluate(rows)
        np.testing.assert_allclose(
            objective.network.decode(after[:, :3], shard.conditions), made, rtol=1e-4, atol=1e-4
        )
    assert before[:, :3].mean(0).abs().max() > 0.1  # there was something to do
    assert before[:, :3].std(0).log().abs().max() > 0.1
    mean, log_variance = after.double().numpy()[:, :3], after.double().numpy()[:, 3:]
    np.testing.assert_allclose(mean.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose((mean**2 + np.exp(log_variance)).mean(0), 1, rtol=1e-5)
    # What is drawn is the same too: errors of the latents shrink as the latents do.
    scale = before.double().numpy()[:, :3].std(0) / mean.std(0)
    np.testing.assert_allclose(
        np.exp(log_variance / 2) * scale, np.exp(before.double().numpy()[:, 3:] / 2), rtol=1e-3
    )
    assert others["reconstruction"] == pytest.approx(terms["reconstruction"], rel=1e-4)
    assert others["kl"] < terms["kl"]


def test_a_decoder_that_knows_the_redshift() -> None:
    sample = lines(300, noise=0.1)
    errors = {}
    for conditioned in (False, True):
        model = InfoVAE(
            1,
            hidden=(32, 16),
            epochs=60,
            batch_size=32,
            learning_rate=3e-3,
            conditioned=conditioned,
            random_state=1,
        ).fit(**sample)
        errors[conditioned] = model.held_out_chi2_
    assert errors[True] < 0.7 * errors[False]
    latents = model.transform(sample["X"], weights=sample["weights"])  # which needs no redshift
    near, far = (model.decode(latents, redshift=z).mean(0) for z in (0.1, 0.3))
    wavelength = np.geomspace(4000, 8000, 80)
    assert wavelength[np.argmax(near - far)] == pytest.approx(5000 * 1.1, rel=0.05)
    assert wavelength[np.argmax(far - near)] == pytest.approx(5000 * 1.3, rel=0.05)
    own = model.decode(latents, redshift=sample["redshift"])
    made = model.reconstruct(**sample)
    np.testing.assert_allclose(made / np.median(sample["X"], axis=1)[:, None], own, rtol=1e-3)
    middle = np.expm1(np.log1p(np.delete(sample["redshift"], model.held_out_rows_)).mean())
    np.testing.assert_array_equal(model.decode(latents[:3]), model.decode(latents[:3], redshift=middle))
    for call in (model.reconstruct, model.reconstruction_errors):
        with pytest.raises(InputError, match="needs the redshift"):
            call(sample["X"])


def test_rows_without_redshift_are_told_of_and_left_out() -> None:
    sample = lines(40)
    sample["redshift"][[3, 5]] = np.nan, -2.0
    with pytest.warns(AstroClusterWarning, match="2 of 40 spectra have no redshift"):
        model = small(conditioned=True).fit(**sample)
    without = {name: np.delete(values, [3, 5], axis=0) for name, values in sample.items()}
    assert small(conditioned=True).fit(**without).history_["loss"] == model.history_["loss"]
    assert np.flatnonzero(np.isnan(model.reconstruct(**sample)[:, 0])).tolist() == [3, 5]
    assert np.isfinite(model.transform(sample["X"], weights=sample["weights"])).all()


# ---------------------------------------------------------------- what counts


def test_pixels_that_do_not_count_change_nothing() -> None:
    sample = lines(40)
    holes = np.random.default_rng(5).uniform(size=sample["X"].shape) < 0.2
    masked = {**sample, "weights": np.where(holes, 0, sample["weights"])}
    missing = {**masked, "X": np.where(holes, np.nan, sample["X"])}
    wild = {**masked, "X": np.where(holes, np.float32(1e6), sample["X"])}
    infinite = {**missing, "weights": np.where(holes, np.inf, sample["weights"])}
    models = [small().fit(**one) for one in (masked, missing, wild, infinite)]
    for model, one in zip(models, (masked, missing, wild, infinite), strict=True):
        assert model.history_["held_out_loss"] == models[0].history_["held_out_loss"]
        latents = model.transform(one["X"], weights=one["weights"])
        np.testing.assert_array_equal(latents, models[0].transform(masked["X"], weights=masked["weights"]))
        assert np.isfinite(model.reconstruct(one["X"], weights=one["weights"])).all()
    assert small().fit(**sample).history_["loss"] != models[0].history_["loss"]


def test_rows_that_cannot_be_used_keep_their_place() -> None:
    sample = lines(40)
    sample["X"][4] = np.nan
    sample["weights"][9] = 0
    sample["X"][11] *= -1  # no positive median: there is nothing to divide by
    model = small().fit(**sample)
    rows = [4, 9, 11]
    without = {name: np.delete(values, rows, axis=0) for name, values in sample.items()}
    assert small().fit(**without).history_["loss"] == model.history_["loss"]
    assert not set(rows) & set(model.held_out_rows_)
    both = {"X": sample["X"], "weights": sample["weights"]}
    errors = model.reconstruction_errors(**both)
    for found in (model.transform(**both), model.reconstruct(**both), errors["mse"], errors["chi2"]):
        assert np.flatnonzero(np.isnan(found).reshape(40, -1).any(axis=1)).tolist() == rows
    assert model.transform(**both).shape == (40, 3)


@pytest.mark.parametrize("subtract_mean", [False, True])
@pytest.mark.parametrize("normalize", ["median", "max", None, "window:5000:6000"])
def test_errors_and_held_out_numbers_equal_a_loop(normalize: str | None, subtract_mean: bool) -> None:
    sample = lines(40)
    grid = log_grid(*np.array([4000, 8000]) * log_unit(), 80)
    flux, ivar = sample["X"], sample["weights"]
    ivar[np.random.default_rng(6).uniform(size=ivar.shape) < 0.1] = 0
    model = small(normalize=normalize, softening=0.05, subtract_mean=subtract_mean).fit(**sample, grid=grid)
    made = model.reconstruct(flux, weights=ivar)
    errors = model.reconstruction_errors(flux, weights=ivar)
    wavelength = np.geomspace(4000, 8000, 80)
    losses = []
    for row in range(40):
        counts = ivar[row] > 0
        norm = {
            "median": np.median(flux[row][counts]),
            "max": flux[row][counts].max(),
            None: 1.0,
            "window:5000:6000": np.median(flux[row][counts & (wavelength > 5000) & (wavelength < 6000)]),
        }[normalize]
        off = (made[row] - flux[row])[counts].astype(float)
        assert errors["mse"][row] == pytest.approx(np.mean((off / norm) ** 2), rel=1e-3)
        assert errors["chi2"][row] == pytest.approx(np.mean(ivar[row][counts] * off**2), rel=1e-3)
        normalised = ivar[row][counts] * norm**2
        losses.append(0.5 * np.sum(normalised / (1 + normalised * 0.05**2) * (off / norm) ** 2))
    held_out = model.held_out_rows_
    assert model.held_out_chi2_ == pytest.approx(errors["chi2"][held_out].mean(), rel=1e-4)
    assert model.held_out_mse_ == pytest.approx(errors["mse"][held_out].mean(), rel=1e-4)
    best = model.best_epoch_ - 1
    assert model.history_["held_out_reconstruction"][best] == pytest.approx(
        np.mean(np.array(losses)[held_out]), rel=1e-3
    )
    assert held_out_chi2(model, flux, weights=ivar) == pytest.approx(model.held_out_chi2_, rel=1e-6)
    assert held_out_chi2(model, flux, weights=ivar, rows=np.arange(40) < 2) == pytest.approx(
        errors["chi2"][:2].mean()
    )
    assert model.normalize_ == normalize
    assert model.grid_ == grid


def log_unit() -> object:
    from astropy import units as u

    return u.AA


def test_the_loss_is_the_sum_of_its_terms() -> None:
    history = small(alpha=0.25, lambda_=7.0).fit(**lines(40)).history_
    assert {len(values) for values in history.values()} == {4}
    for prefix in ("", "held_out_"):
        for epoch in range(4):
            terms = {name: history[prefix + name][epoch] for name in ("reconstruction", "kl", "mmd")}
            total = terms["reconstruction"] + 0.75 * terms["kl"] + 6.25 * terms["mmd"]
            assert history[prefix + "loss"][epoch] == pytest.approx(total, rel=1e-9)
    told = told_epoch({name: values[-1] for name, values in history.items()}, 4)
    assert all(f", {name} " in told for name in ("reconstruction", "kl", "mmd", "held-out χ² a pixel"))


@pytest.mark.parametrize("factor", [1e-17, 1e20])
def test_units_do_not_matter(factor: float) -> None:
    sample = lines(40)
    scaled = {
        **sample,
        "X": sample["X"].astype(float) * factor,
        "weights": sample["weights"].astype(float) / factor**2,
    }
    plain, other = small().fit(**sample), small().fit(**scaled)
    assert other.held_out_loss_ == pytest.approx(plain.held_out_loss_, rel=1e-3)
    made = other.reconstruct(scaled["X"], weights=scaled["weights"])
    expected = plain.reconstruct(sample["X"], weights=sample["weights"])
    np.testing.assert_allclose(made / np.float32(factor), expected, rtol=1e-2)


def test_without_errors_the_noise_is_estimated() -> None:
    sample = lines(60, 400)
    scatter = np.random.default_rng(7).normal(size=(3, 400)) * [[0.1], [1.0], [10.0]]
    np.testing.assert_allclose(noise_of(100 + scatter + np.linspace(0, 5, 400)), [0.1, 1, 10], rtol=0.2)
    assert noise_of(np.array([[2.0, 2.0, np.nan]]))[0] == pytest.approx(2e-3)
    assert np.isnan(noise_of(np.full((1, 9), np.nan))[0])
    model = small().fit(sample["X"])
    assert 0.5 < model.history_["held_out_chi2"][-1] < 100
    assert np.isfinite(model.transform(sample["X"])).all()


def test_new_spectra_are_treated_as_those_that_were_learned() -> None:
    sample = lines(60)
    model = small().fit(**sample)
    latents = model.transform(sample["X"], weights=sample["weights"])
    for rows in ([7], [7, 3], np.arange(30)):
        some = model.transform(sample["X"][rows], weights=sample["weights"][rows])
        np.testing.assert_allclose(some, latents[rows], rtol=1e-4, atol=1e-5)
    brighter = model.transform(3 * sample["X"], weights=sample["weights"] / 9)
    np.testing.assert_allclose(brighter, latents, rtol=1e-3, atol=1e-4)
    assert model.transform(sample["X"][:0]).shape == (0, 3)
    assert model.reconstruct(sample["X"][:0]).shape == (0, 80)
    assert model.reconstruction_errors(sample["X"][:0])["chi2"].shape == (0,)


def test_decoding_undoes_the_preparation() -> None:
    sample = lines(40)
    model = small().fit(**sample)
    latents = model.transform(sample["X"], weights=sample["weights"])
    made = model.reconstruct(sample["X"], weights=sample["weights"])
    norms = np.median(sample["X"], axis=1)
    np.testing.assert_allclose(model.decode(latents, norms=norms), made, rtol=1e-4)
    np.testing.assert_allclose(model.decode(latents), made / norms[:, None], rtol=1e-4)
    for wrong in (np.zeros((2, 4)), np.zeros(3), np.array([["a"] * 3])):
        with pytest.raises(InputError, match=r"decodes \(n, 3\)"):
            model.decode(wrong)


# ---------------------------------------------------------------- the same every time


@pytest.mark.parametrize("conditioned", [False, True])
def test_same_seed_same_result_on_any_number_of_threads(conditioned: bool) -> None:
    sample = lines(300, 300)
    # Wide enough for the fast products, and batches of more than one shard.
    model = InfoVAE(4, epochs=2, batch_size=270, conditioned=conditioned, random_state=1)
    first = clone(model).set_params(n_threads=1).fit(**sample)
    both = {"X": sample["X"], "weights": sample["weights"]}
    before = torch.random.get_rng_state()
    for threads in (1, 2, 3):
        torch.set_num_threads(2)
        other = clone(model).set_params(n_threads=threads).fit(**sample)
        assert torch.get_num_threads() == 2
        assert {**other.history_, "seconds": 0} == {**first.history_, "seconds": 0}
        np.testing.assert_array_equal(other.transform(**both), first.transform(**both))
        np.testing.assert_array_equal(other.reconstruct(**sample), first.reconstruct(**sample))
    assert torch.equal(torch.random.get_rng_state(), before)  # the user's own draws are left alone
    np.testing.assert_array_equal(first.transform(**both), first.transform(**both))
    assert clone(model).set_params(random_state=2).fit(**sample).history_["loss"] != first.history_["loss"]


def test_held_out_rows_can_be_chosen() -> None:
    sample = lines(50)
    sample["X"][7] = np.nan
    first = small().fit(**sample)
    assert len(first.held_out_rows_) == 5
    assert small(epochs=1, n_latent=2).fit(**sample).held_out_rows_.tolist() == first.held_out_rows_.tolist()
    again = small().fit(**sample, held_out_rows=first.held_out_rows_[::-1])
    assert again.history_["held_out_loss"] == first.history_["held_out_loss"]
    chosen = small().fit(**sample, held_out_rows=np.arange(50) < 9)
    assert chosen.held_out_rows_.tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
    none = small().fit(**sample, held_out_rows=[])
    assert np.isnan(none.held_out_chi2_)
    assert none.facts()["held_out_chi2"] is None
    with pytest.raises(InputError, match="has held out no rows"):
        held_out_chi2(none, sample["X"])
    for wrong, message in (([50], "go from 50 to 50"), ([-1], "go from -1"), ([0.5], "give their numbers")):
        with pytest.raises(InputError, match=message):
            small().fit(**sample, held_out_rows=wrong)
    with pytest.raises(InputError, match="only 0 of 50 spectra can be learned from"):
        small().fit(**sample, held_out_rows=np.arange(50))


def test_a_callback_can_end_the_fit() -> None:
    class Enough(Exception):
        pass

    seen = []

    def stop(epoch: int, numbers: dict[str, float]) -> None:
        seen.append((epoch, numbers["held_out_chi2"]))
        if epoch == 2:
            raise Enough

    model = small()
    with pytest.raises(Enough):
        model.fit(**lines(40), on_epoch=stop, progress=False)
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert not hasattr(model, "layers_")
    both: list[int] = []
    model.fit(**lines(40), on_epoch=lambda e, n: both.append(e), progress=lambda e, n: both.append(-e))
    assert both == [-1, 1, -2, 2, -3, 3, -4, 4]
    assert model.history_["held_out_chi2"][:2] == [value for _, value in seen]


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_latent": 0}, "n_latent=0"),
        ({"n_latent": None}, "n_latent=None"),
        ({"hidden": ()}, "hidden"),
        ({"hidden": None}, "hidden=None"),
        ({"hidden": (3.5,)}, "hidden"),
        ({"alpha": 1.5}, "alpha=1.5"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"lambda_": -1.0}, "lambda_=-1"),
        ({"alpha": -2.0, "lambda_": 2.0}, "must not be below 0; raise lambda_"),
        ({"kernel": "gauss"}, "no kernel 'gauss'"),
        ({"softening": -1.0}, "softening"),
        ({"normalize": 3}, "normalize=3"),
        ({"normalize": "medain"}, "medain"),
        ({"conditioned": 1}, "conditioned=1"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"optimiser": "adm"}, "did you mean 'adam'"),
        ({"held_out": 1.0}, "held_out=1.0"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_parameters_that_are_none(parameters: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**parameters).fit(**lines(20))


def test_spectra_that_are_none() -> None:
    sample = lines(20)
    flux, ivar = sample["X"], sample["weights"]
    masked = np.ma.masked_array(flux, flux > np.median(flux))
    cases = [
        ({"X": flux[0]}, r"spectra are \(n, m\)"),
        ({"X": flux[:, :0]}, r"spectra are \(n, m\)"),
        ({"X": flux.astype(str)}, "has the type"),
        ({"X": masked}, "X is masked"),
        ({"X": flux, "weights": ivar[:, 1:]}, "weights have the shape"),
        ({"X": flux, "weights": -ivar}, "below 0"),
        ({"X": flux, "weights": 0 * ivar}, "only 0 of 20 spectra can be learned from"),
        ({"X": np.full_like(flux, np.nan)}, "only 0 of 20"),
        ({"X": flux[:1]}, "only 1 of 1"),
        ({"X": flux, "redshift": [0.1]}, "redshift has the shape"),
        ({"X": flux, "redshift": ["a"] * 20}, "redshift has the type"),
        ({"X": flux, "grid": log_grid(4000 * log_unit(), 5000 * log_unit(), 7)}, "7 wavelengths"),
    ]
    for given, message in cases:
        with pytest.raises(InputError, match=message):
            small().fit(**given)
    with pytest.raises(InputError, match="conditioned=True gives the decoder the redshift"):
        small(conditioned=True).fit(flux, weights=ivar)
    with pytest.raises(InputError, match="wavelengths"):
        small(normalize="window:5000:6000").fit(flux, weights=ivar)
    model = small().fit(flux, weights=ivar)
    for call in (model.transform, model.reconstruct, model.reconstruction_errors):
        with pytest.raises(InputError, match="have 79 pixels, and the network has learned from 80"):
            call(flux[:, 1:])


def test_before_the_fit_nothing_is_given() -> None:
    for call in (
        lambda m: m.transform(np.ones((1, 5))),
        lambda m: m.decode(np.ones((1, 3))),
        lambda m: m.facts(),
    ):
        with pytest.raises(NotFittedError, match=r"call fit\(spectra\) first"):
            call(InfoVAE())


def test_a_failed_fit_leaves_the_model_as_it_was() -> None:
    sample = lines(40)
    model = small().fit(**sample)
    latents = model.transform(sample["X"], weights=sample["weights"])
    with pytest.raises(InputError):
        model.fit(sample["X"], weights=-sample["weights"])
    np.testing.assert_array_equal(model.transform(sample["X"], weights=sample["weights"]), latents)


def test_divergence_is_said() -> None:
    with pytest.raises(InputError, match="no finite loss at all"):
        small(learning_rate=1e6, optimiser="sgd", clip=None).fit(**lines(40))


def test_spectra_that_are_normalised_are_left_alone() -> None:
    sample = lines(40)
    norms = np.median(sample["X"], axis=1)[:, None]
    done = {"X": sample["X"] / norms, "weights": sample["weights"] * norms**2}
    model = small().fit(**done, normalized=True)
    assert model.normalize_ is None
    assert model.held_out_loss_ == pytest.approx(small().fit(**sample).held_out_loss_, rel=1e-3)
    assert small(normalize="max").fit(**done, normalized=True).normalize_ == "max"


def test_facts_are_plain() -> None:
    import json

    facts = small().fit(**lines(40)).facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["n_held_out"] == 4
    assert (
        facts["n_weights"] == 80 * 16 + 16 + 16 * 8 + 8 + 8 * 6 + 6 + 3 * 8 + 8 + 8 * 16 + 16 + 16 * 80 + 80
    )
    assert {"held_out_chi2", "held_out_mse", "held_out_loss", "seconds", "stopped"} <= set(facts)
