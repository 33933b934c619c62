"""InfoVAE: a variational autoencoder of spectra with errors, trained with torch.

Arrays only, no table: ``embed`` knows tables.  PyTorch (the extra ``torch``) is imported when a
network is made and not before.
"""

from __future__ import annotations

from astro_cluster.embedding.infovae.estimator import InfoVAE
from astro_cluster.embedding.infovae.using import held_out_chi2

__all__ = ["InfoVAE", "held_out_chi2"]
