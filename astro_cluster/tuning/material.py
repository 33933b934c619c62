"""What all trials of a search share: the spectra, those that are held out, and the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.embedding.autoencoder.batches import held_out_split
from astro_cluster.embedding.autoencoder.checkpoint import fingerprint_of
from astro_cluster.embedding.fluxes import REDSHIFTS, redshift_column, redshifts_of, weights_of
from astro_cluster.embedding.infovae.parameters import plain_normalize
from astro_cluster.embedding.infovae.rows import noise_of
from astro_cluster.exceptions import InputError
from astro_cluster.spectra.holding import BAD, spectra_of
from astro_cluster.spectra.normalising import normalization_of, norms_of
from astro_cluster.wavelengths import Grid

__all__ = ["Material", "material_of"]


@dataclass(frozen=True)
class Material:
    """Spectra of a table, ready for any model.

    Parameters
    ----------
    flux, weights : (n, m) array
        Fluxes, and inverse variances, 0 where a pixel does not count.
    redshift : (n,) array or None
        Redshifts, if the model wants them.
    grid : Grid
        Wavelengths.
    normalized : bool
        Whether the spectra are normalised already.
    usable : array of int
        Rows that can be learned from.
    columns : list of str
        Columns that they are from.
    """

    flux: np.ndarray
    weights: np.ndarray
    redshift: np.ndarray | None
    grid: Grid
    normalized: bool
    usable: np.ndarray
    columns: list[str]

    def fingerprint(self) -> str:
        """Return a word that tells whether spectra are the same as before.

        Returns
        -------
        str
        """
        arrays = self.flux, self.weights, self.redshift, self.grid.angstrom
        return fingerprint_of(*arrays, most_rows=None)  # a search is long, and looking at all is not

    def held_out(self, share: float, seed: int) -> np.ndarray:
        """Return the rows that no model learns from.

        Parameters
        ----------
        share : float
            Share of the usable ones.
        seed : int
            Seed.

        Returns
        -------
        array of int

        Raises
        ------
        InputError
            If there are too few.
        """
        learned, held_out = held_out_split(self.usable, share, np.random.default_rng([seed, 0]))
        if len(held_out) < 1 or len(learned) < 2:
            raise InputError(
                f"{len(self.usable)} spectra can be used, too few to learn from some and be judged by others"
            )
        return held_out

    def given(self) -> dict[str, Any]:
        """Return what the fit of a model is given beside the fluxes.

        Returns
        -------
        dict
        """
        return {"weights": self.weights, "redshift": self.redshift} | {
            "grid": self.grid,
            "normalized": self.normalized,
        }

    def judged_by(self, model: Any, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the errors of a model for some rows.

        Parameters
        ----------
        model : estimator
            Fitted.
        rows : array of int
            Which.

        Returns
        -------
        dict of str to array
            ``mse`` and ``chi2``, of each row for each pixel that counts.
        """
        redshift = None if self.redshift is None else self.redshift[rows]
        return model.reconstruction_errors(self.flux[rows], weights=self.weights[rows], redshift=redshift)


def material_of(table: QTable, model: Any) -> Material:
    """Return the spectra of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        From `~astro_cluster.read_spectra`.
    model : InfoVAE
        What they are for.

    Returns
    -------
    Material

    Raises
    ------
    InputError
        If there are no spectra, none can be used, or redshifts are wanted and not there.
    """
    spectra = spectra_of(table)
    flux = spectra.flux if spectra.flux.dtype.kind == "f" else spectra.flux.astype(np.float32)
    usable = spectra.usable.copy()
    columns = [spectra.flux_column]
    if spectra.ivar is None:
        # As the InfoVAE does; here, so that all models are judged by the same.
        noise = noise_of(flux)[:, np.newaxis]
        weights = np.where(np.isfinite(flux) & (noise > 0), 1 / np.where(noise > 0, noise, 1) ** 2, 0)
        with np.errstate(over="ignore"):
            small = weights.astype(flux.dtype)
        weights = small if np.isfinite(small).all() else weights  # 1e-20 of a unit is too little for it
    else:
        weights = weights_of(spectra.ivar)
        columns.append(str(spectra.ivar_column))
    redshift = None
    if model.conditioned:
        if not any(name in table.colnames for name in REDSHIFTS):
            raise InputError(
                "conditioned=True gives the decoder the redshift, and the table has no column "
                f"{', '.join(map(repr, REDSHIFTS[:-1]))} or {REDSHIFTS[-1]!r}; rename the one that it is"
            )
        name = redshift_column(table)
        redshift = redshifts_of(table, name)
        usable &= np.isfinite(redshift)
        columns.append(name)
    if BAD in table.colnames:
        columns.append(BAD)
    normalized = normalization_of(table) is not None
    usable &= _normalisable(flux, weights, spectra.grid, model.normalize, normalized)
    if not usable.all():
        weights = np.where(usable[:, np.newaxis], weights, 0).astype(weights.dtype)
    if not usable.any():
        raise InputError(
            f"none of the {len(table)} spectra can be used: they are marked as bad, have no pixel that "
            "counts, or cannot be normalised"
        )
    return Material(
        flux,
        weights,
        redshift,
        spectra.grid,
        normalized,
        np.flatnonzero(usable),
        columns,
    )


def _normalisable(
    flux: np.ndarray, weights: np.ndarray, grid: Grid, how: Any, normalized: bool
) -> np.ndarray:
    """Tell which spectra have a positive number to be divided by."""
    how = plain_normalize(how)
    if how == "auto":
        how = None if normalized else "median"
    if how is None:
        return np.ones(len(flux), dtype=bool)
    norms = norms_of(flux, weights, grid, how)
    return np.isfinite(norms) & (norms > 0)
