"""The losses against brute force, the symmetries as a group."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from astro_cluster.embedding.autoencoder.augmenting import Augmentation, apply_symmetry, symmetries_of  # noqa: E402
from astro_cluster.embedding.autoencoder.batches import ImageRows  # noqa: E402
from astro_cluster.embedding.autoencoder.losses import (  # noqa: E402
    cross_entropy,
    kl_divergence,
    loss_shares,
    mmd,
    squared_error,
)
from astro_cluster.exceptions import InputError  # noqa: E402


def test_squared_error_and_cross_entropy_equal_loops() -> None:
    rng = np.random.default_rng(1)
    logits, images, weights = (
        rng.normal(size=(2, 3, 4, 5)),
        rng.uniform(size=(2, 3, 4, 5)),
        rng.uniform(size=(2, 3, 4, 5)),
    )
    squares = entropy = 0.0
    for place in np.ndindex(images.shape):
        x, w = images[place], weights[place]
        p = 1 / (1 + np.exp(-logits[place]))
        squares += w * (logits[place] - x) ** 2
        entropy -= w * (x * np.log(p) + (1 - x) * np.log(1 - p))
    tensors = [torch.from_numpy(a) for a in (logits, images, weights)]
    assert float(squared_error(*tensors)) == pytest.approx(squares, rel=1e-12)
    assert float(cross_entropy(*tensors)) == pytest.approx(entropy, rel=1e-12)
    ones = torch.ones_like(tensors[0])
    for loss in (squared_error, cross_entropy):
        assert float(loss(*tensors[:2], None)) == pytest.approx(float(loss(*tensors[:2], ones)), rel=1e-12)


def test_kl_equals_the_one_of_torch_distributions() -> None:
    rng = np.random.default_rng(2)
    mean, log_variance = (torch.from_numpy(rng.normal(size=(6, 3))) for _ in range(2))
    normal = torch.distributions.Normal
    reference = torch.distributions.kl_divergence(
        normal(mean, (log_variance / 2).exp()), normal(torch.zeros(3).double(), torch.ones(3).double())
    )
    np.testing.assert_allclose(kl_divergence(mean, log_variance), reference.sum(1), rtol=1e-12)


@pytest.mark.parametrize("scales", [(1.0,), (0.25, 1.0, 4.0)])
def test_mmd_equals_loops_over_pairs(scales: tuple[float, ...]) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(7, 2)), rng.normal(1, 2, size=(5, 2))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return np.mean([np.exp(-np.mean((a - b) ** 2) / s) for s in scales])

    within = [
        np.mean([kernel(a, b) for (i, a), (j, b) in itertools.product(enumerate(z), repeat=2) if i != j])
        for z in (x, y)
    ]
    between = np.mean([kernel(a, b) for a in x for b in y])
    found = float(mmd(torch.from_numpy(x), torch.from_numpy(y), scales=scales))
    assert found == pytest.approx(sum(within) - 2 * between, abs=1e-12)


def test_mmd_is_unbiased() -> None:
    rng = np.random.default_rng(4)
    found = [float(mmd(*torch.from_numpy(rng.normal(size=(2, 8, 3))))) for _ in range(2000)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mae", "no loss 'mae'"),
        ({"mse": -1}, "counts -1"),
        ({"mse": 0}, "no loss counts"),
        (3, "loss=3"),
        ({"mse": "1"}, "'1'"),
    ],
)
def test_losses_that_are_none(loss: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loss_shares(loss)  # type: ignore[arg-type]


def test_symmetries_are_the_group_of_the_square() -> None:
    image = torch.arange(9.0).view(1, 3, 3)
    made = {s: tuple(apply_symmetry(image, s).flatten().tolist()) for s in symmetries_of(3, 3)}
    assert len(set(made.values())) == 8
    for first, second in itertools.product(made, repeat=2):  # closed, and with an inverse each
        assert tuple(apply_symmetry(apply_symmetry(image, first), second).flatten().tolist()) in made.values()
    for first in made:
        assert any(torch.equal(apply_symmetry(apply_symmetry(image, first), s), image) for s in made)


def test_symmetries_of_a_rectangle_keep_its_shape() -> None:
    image = torch.arange(6.0).view(2, 3)
    made = [apply_symmetry(image, s) for s in symmetries_of(2, 3)]
    assert all(one.shape == (2, 3) for one in made)
    assert len({tuple(one.flatten().tolist()) for one in made}) == 4


def test_augmentation_does_what_was_drawn_to_images_and_weights() -> None:
    rng = np.random.default_rng(5)
    images, weights = rng.normal(size=(20, 6, 6, 2)).astype(np.float32), rng.uniform(1, 2, size=(20, 6, 6, 2))
    source = ImageRows(images, weights)
    source.augmentation = Augmentation(symmetries_of(6, 6), shift=2)
    rows = np.array([3, 3, 7, 19, 0, 1])
    choices = source.draw(rng, len(rows))
    shard = source.take(rows, choices)
    for place, (row, (symmetry, down, right)) in enumerate(zip(rows, choices, strict=True)):
        for found, whole in ((shard.images, images), (shard.weights, weights)):
            turned = np.rot90(whole[row], symmetry % 4)
            turned = turned[:, ::-1] if symmetry >= 4 else turned
            expected = np.zeros_like(turned)
            for y, x in np.ndindex(6, 6):
                if 0 <= y - down < 6 and 0 <= x - right < 6:
                    expected[y, x] = turned[y - down, x - right]
            np.testing.assert_allclose(found[place].permute(1, 2, 0), expected, rtol=1e-6)


def test_each_symmetry_is_drawn() -> None:
    choices = Augmentation(symmetries_of(4, 4)).draw(np.random.default_rng(1), 500)
    assert sorted(set(choices[:, 0])) == list(range(8))
    assert not choices[:, 1:].any()
