"""
Quasar spectra by an InfoVAE
============================

Weiss & Hui (2024) asked what a neural network makes of the spectra of quasars if nobody tells it what a
quasar is: 21,771 spectra of SDSS DR16Q with a signal-to-noise ratio above 10, brought to 1500
wavelengths, each reduced to 3 to 15 numbers by an InfoVAE, a variational autoencoder.  They then compared
these numbers with what the catalogue knows: redshift, luminosity, broad absorption lines.  This page goes
the same way, from files to figures.

.. important::

   **Every spectrum on this page is simulated** by `astro_cluster.simulate.quasars`: power laws, emission
   lines, iron, dust, the Lyman-α forest, broad absorption, and the noise of the BOSS spectrographs.  No
   number here is a measurement.  There are 1000 spectra and few epochs, so that the page is built in a
   minute; what changes for 20,000 stands at the end.
"""

# sphinx_gallery_thumbnail_number = 4

# %%
# From files to a table
# ---------------------
#
# The survey has a FITS file for each spectrum, with 4600 pixels that begin and end elsewhere in each.
# Simulated ones are written in the same form.

import tempfile
from pathlib import Path

import numpy as np
from astropy import units as u

import astro_cluster as ac

folder = Path(tempfile.mkdtemp())
truth = ac.simulate.quasars(1000, grid=ac.simulate.native_grid(), random_state=2)
paths = ac.simulate.write_spectra(truth, folder / "spec")
print(f"{len(paths)} files: {paths[0].name}, {paths[1].name}, …")

# %%
# One call reads them all and brings them to the grid of the study.  Its way was a polynomial through five
# pixels and the larger of two errors; ours conserves flux and carries the variances along.  A spectrum that
# does not cover the grid keeps its row, with no weight where it has no data, and so do pixels of its mask.

qso = ac.read_spectra(str(folder / "spec" / "*.fits"), grid="3625:9000:1500", mask="and")
print(qso["flux"].shape, qso["flux"].unit)
first = qso["source_id", "ra", "dec", "redshift", "coverage", "snr_median"][:4]
first.round(4)
first.pprint(max_width=-1)
print(f"{np.sum(qso['coverage'] < 1)} do not cover the grid, {qso['spectrum_bad'].sum()} could not be read")

# %%
# What else is known of the quasars stands in a catalogue, as DR16Q does for real ones.  It is joined by
# position:

catalogue = truth["ra", "dec", "M_I", "bal", "dla", "ew_civ", "blueshift", "slope", "reddening"]
qso = ac.crossmatch(qso, catalogue, radius=1 * u.arcsec, find="each")
rows = np.argsort(qso["redshift"])[[20, 300, 500, 700, 900, 990]]
figure = ac.plotting.plot_spectra(qso, rows)

# %%
# The Lyman-α line moves from the blue end to the middle, and the forest with it.  This is what makes it
# hard: most of the difference between two observed spectra is redshift, which no sum of a few fixed spectra
# can follow.
#
# A baseline
# ----------
#
# Principal components that mind errors and missing pixels are the best that a linear method can do.  Both
# models divide each spectrum by its median first.

pca = ac.embed(qso, "weighted-pca", n_components=6, prefix="linear_", random_state=1)
print(f"χ² per pixel of 6 components: {np.median(pca['linear_reconstruction_chi2']):.1f}")

# %%
# How many latents?
# -----------------
#
# ``tune`` trains InfoVAEs of several sizes, with the weight λ of the term that keeps the latents close to a
# normal distribution found by optuna.  All are judged by the same spectra, which none has learned from, and
# principal components of each size stand beside them.  What is done is kept in the folder: if it is
# interrupted, the same call goes on.

trials = ac.tune(
    "infovae", qso, n_latent=(3, 6), trials=2, epochs=60, folder=folder / "tuned", random_state=1
)
trials["model", "n_latent", "lambda_", "held_out_mse", "held_out_chi2", "epochs", "best"].pprint(max_width=-1)
figure = ac.plotting.plot_tuning(trials)

# %%
# Three latents of the network do better than six components.
#
# Latents
# -------
#
# The best one gives each spectrum its latents, and draws it again from them:

best = folder / "tuned" / "best.safetensors"
qso = ac.embed(qso, best, reconstruction=True)
print(qso["latent"].shape, f"χ² per pixel: {np.median(qso['reconstruction_chi2']):.1f}")
ax = ac.plotting.plot_learning_curve(ac.embedding.load_model(best).history_)

# %%
figure = ac.plotting.plot_corner(qso, "latent", color="redshift")

# %%
# As in the study, the latents are sorted by redshift first of all.  How well can it be told from them, and
# what else?

figure = ac.plotting.plot_leakage(qso, "redshift")

# %%
found = ac.predictability(qso, "redshift,M_I,bal,ew_civ,slope,blueshift", random_state=1)
found["column", "kind", "r2", "r2_error", "roc_auc", "count"].pprint(max_width=-1)

# %%
# A share of what is left is in the noise and in the forest, which nobody can know.  Where the redshift itself
# is not of interest, ``InfoVAE(conditioned=True)`` gives it to the decoder, or ``read_spectra(frame="rest")``
# brings the spectra to the rest frame first.
#
# What does a latent do?  One is moved from its 5 % to its 95 % quantile, the others stay at their medians:

figure = ac.plotting.plot_traversal(best, qso, latents=[0, 1, 2])

# %%
# Samples, from the best to the worst reconstruction:

order = np.argsort(qso["reconstruction_chi2"])
figure = ac.plotting.plot_spectra(qso, order[[10, 250, 500, 750, 950, 998]], reconstruction="reconstruction")

# %%
# Outliers
# --------
#
# A spectrum is strange if the model cannot draw it, or if its latents lie alone.  The highest redshifts are
# rare and have the longest forests, and would fill the list by themselves; ``given`` compares the
# reconstruction of each with those of others at its redshift.

qso = ac.outliers(qso, given="redshift", random_state=1)
strangest = qso[np.argsort(qso["inspection_rank"])]
figure = ac.plotting.plot_spectra_sheet(
    strangest, range(16), reconstruction="reconstruction", labels="outlier_reason"
)

# %%
# Since the truth is known here, it can be asked what these are:

for what, those in (
    ("broad absorption", strangest["bal"]),
    ("a damped Lyman-α absorber", strangest["dla"] > 0),
    ("a reddening above 0.1 mag", strangest["reddening"] > 0.1 * u.mag),
):
    print(f"with {what}: {np.mean(those):.0%} of all, {np.mean(those[:50]):.0%} of the first 50")

# %%
# Further
# -------
#
# The table with its spectra, latents and its whole history goes into one file, and TOPCAT gets it by
# ``ac.send(qso)``.

ac.write(qso, folder / "latent.fits")
print(f"{(folder / 'latent.fits').stat().st_size / 1e6:.0f} MB")

# %%
# The same from the command line
# ------------------------------
#
# .. code-block:: console
#
#    $ astro-cluster spectra "spec/*.fits" -o qso.fits --grid 3625:9000:1500
#    $ astro-cluster tune qso.fits --model infovae --latent 3,6,9,12,15 --trials 10 -o tuned/
#    $ astro-cluster embed qso.fits --model tuned/best.safetensors -o latent.vot
#    $ astro-cluster match latent.vot dr16q.fits --radius 1arcsec --find each -o latent_dr16q.vot
#    $ astro-cluster plot latent_dr16q.vot --corner latent --color Z -o corner.png
#
# With 20,000 spectra
# -------------------
#
# - The files are read in a stream: 21,771 of them fit in 2 GB.
# - 3, 6, 9, 12 and 15 latents, ten trials of each.  A training takes minutes on two cores.
# - More spectra help more than more latents: see the numbers in :doc:`/user_guide/infovae`.

# sphinx_gallery_start_ignore
import shutil

shutil.rmtree(folder)
# sphinx_gallery_end_ignore
