"""Latents of mean 0 and variance 1, without any change of the reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astro_cluster.embedding.autoencoder.batches import pieces_of
from astro_cluster.embedding.autoencoder.devices import one_thread_each, require_torch

if TYPE_CHECKING:
    from astro_cluster.embedding.infovae.objective import InfoVAEObjective
    from astro_cluster.embedding.infovae.rows import SpectrumRows

__all__ = ["standardise_latents"]


def standardise_latents(objective: InfoVAEObjective, source: SpectrumRows, rows: np.ndarray) -> None:
    """Move and scale each latent to where the divergence from the prior is least.

    The last layer of the encoder and the first of the decoder are linear: what is subtracted and divided
    by in the one can be undone in the other.  Reconstructions stay what they are, and of all such scales
    s² = ⟨(μ − ⟨μ⟩)² + σ²⟩ gives the lowest KL.  Gradient descent gets there in the end, but slowly
    where χ² is large beside KL.

    Parameters
    ----------
    objective : InfoVAEObjective
        Trained; its layers are changed in place.
    source : SpectrumRows
        Where the rows are.
    rows : array of int
        Rows that were learned from.
    """
    torch = require_torch()
    n_latent = objective.network.n_latent
    codes = []
    with torch.no_grad(), one_thread_each():
        for piece in pieces_of(len(rows), objective.shard_rows):
            codes.append(objective.encode(source.take(rows[piece])).double().cpu().numpy())
    mean, log_variance = np.split(np.concatenate(codes), 2, axis=1)
    centre = mean.mean(axis=0)
    scale = np.sqrt(((mean - centre) ** 2 + np.exp(log_variance)).mean(axis=0))
    if not (np.isfinite(centre).all() and np.isfinite(scale).all() and (scale > 0).all()):
        return
    last, first = objective.layers["encoder"][-1], objective.layers["decoder"][0]
    c, s = torch.from_numpy(centre).to(last.weight.device), torch.from_numpy(scale).to(last.weight.device)
    with torch.no_grad():
        weight, bias = last.weight.double(), last.bias.double()
        weight[:n_latent] /= s[:, None]
        bias[:n_latent] = (bias[:n_latent] - c) / s
        bias[n_latent:] -= 2.0 * s.log()
        last.weight.copy_(weight)
        last.bias.copy_(bias)
        weight, bias = first.weight.double(), first.bias.double()
        bias += weight[:, :n_latent] @ c
        weight[:, :n_latent] *= s
        first.weight.copy_(weight)
        first.bias.copy_(bias)
