"""
Galaxies by an autoencoder
==========================

Bickley (2020) asked whether mock images of galaxies sort themselves: 40,000 images of IllustrisTNG
galaxies as the Canada–France Imaging Survey would see them (RealSimCFIS), each reduced to a few numbers
by a convolutional autoencoder, k-means in these numbers, and t-SNE to look at the result.  Gaps, bright
neighbours and other artefacts were left in on purpose, to see whether they end up together.  This page
goes the same way.

.. important::

   **Every galaxy on this page is simulated** by `astro_cluster.simulate.galaxies`, which draws Sérsic
   profiles, spirals, bars and mergers with neighbours, seeing and noise, and a few artefacts.  No number
   here is a measurement. There are 400 images of 48 × 48 pixels and few epochs, so that the page is built
   in a minute; what changes for 40,000 stands at the end.
"""

# sphinx_gallery_thumbnail_number = 4

# %%
# The images
# ----------
#
# The study's files are tars of four FITS images each, one for each side from which a galaxy is seen.
# Simulated ones are written in the same form: of different sizes, with such headers, and with zeros where
# there are no data.

import tempfile
from pathlib import Path

import numpy as np

import astro_cluster as ac

folder = Path(tempfile.mkdtemp())
truth = ac.simulate.galaxies(400, size=48, artefacts=0.1, random_state=2)
tars = ac.simulate.write_tars(truth, folder / "sci")
print(f"{len(tars)} tars: {tars[0].name}, {tars[1].name}, …")

# %%
# One call reads them all, without unpacking anything to disk.  Each image gets 48 × 48 pixels, and its
# brightness is brought to 0 … 1.  The study scales by minimum and maximum, after which a galaxy with a
# bright core is a dot on black; the inverse hyperbolic sine keeps the outskirts.

galaxies = ac.read_cutouts(
    str(folder / "sci" / "*.tar"), size=48, scale="asinh", headers=("RA", "DEC", "SIMID")
)
print(galaxies["image"].shape, galaxies["image"].dtype, f"{galaxies['image_bad'].sum()} could not be read")
first = galaxies["simid", "ra", "dec", "original_width", "zero_fraction", "concentration"][:4]
first.round(4)
first.pprint(max_width=-1)

# %%
# The autoencoder
# ---------------
#
# A convolutional autoencoder turns each image into sixteen numbers, the latents, from which it has to
# make the image again.  The images are turned and mirrored at random while it learns, and a tenth of them
# is held out: their loss decides which epoch is kept.  ``average_symmetries`` takes the mean of the
# latents over all turned and mirrored images, so that they do not tell how a galaxy lies.

autoencoder = ac.ConvAutoencoder(
    n_latent=16, epochs=20, batch_size=32, average_symmetries=True, random_state=1
)
galaxies = ac.embed(galaxies, autoencoder, save=folder / "ae.safetensors")
ax = ac.plotting.plot_learning_curve(galaxies)

# %%
# The history is in the record of the table, so that the figure can be drawn from the table alone.  What
# do the latents keep?  From the best reconstructed image to the worst:

ax = ac.plotting.plot_reconstructions(galaxies, folder / "ae.safetensors")

# %%
# Smooth galaxies come back whole.  Arms and neighbours are blurred, which stays in the residuals.  That
# is no failure: what is rare is not worth a latent, and where the error is large there is something that
# most images do not have.
#
# Clusters
# --------
#
# Six clusters by k-means, as in the study, in the latents: not on a plane of t-SNE, where distances mean
# little.

galaxies = ac.cluster(galaxies, "kmeans", features="latent", n_clusters=6, random_state=1)
ax = ac.plotting.plot_contact_sheet(galaxies)

# %%
# Then the plane, to look at:

galaxies = ac.embed(galaxies, "tsne", features="latent", random_state=1)
ax = ac.plotting.plot_thumbnails(galaxies)

# %%
# The clusters go by brightness of the sky, size and concentration much more than by kind.  So they did in
# the study: an autoencoder keeps what changes many pixels.  Since the truth is known here, it can be
# asked:

truth = truth[np.argsort(truth["source_id"])]
row = np.searchsorted(truth["source_id"], galaxies["simid"])
galaxies["galaxy_type"] = truth["galaxy_type"][row]
galaxies["artefact"] = truth["artefact"][row]
types = ac.summarize(galaxies, by="galaxy_type")
types["cluster", "galaxy_type", "count", "fraction_of_cluster", "enrichment", "fdr"][
    types["fdr"] < 0.05
].pprint()

# %%
# Gaps
# ----
#
# The study looks for gaps by the share of pixels with zero flux, but counts those above 1, and finds that
# it "doesn't help".  Counted rightly, on the original pixels, it does: these are the images in which it
# is not zero.

with_zeros = galaxies[galaxies["zero_fraction"] > 0]
ax = ac.plotting.plot_contact_sheet(
    with_zeros, cluster=False, order="-zero_fraction", columns=8, labels="artefact"
)

# %%
# All images with a gap or an edge are among them, and no other:

for artefact in np.unique(galaxies["artefact"]):
    rows = galaxies["artefact"] == artefact
    zeros = np.sum(galaxies["zero_fraction"][rows] > 0)
    print(f"{artefact or 'none':<18} {rows.sum():>3} images, {zeros:>2} with zeros")

# %%
# The other artefacts have no zeros.  `rank` puts all that is unusual first, by the latents and the
# quality columns together, and `recall_curve` tells, where the truth is known, how many artefacts are
# found by looking at so many images:

galaxies["spurious"] = galaxies["artefact"] != ""
galaxies = ac.rank(galaxies, features="latent", random_state=1)
curves = {
    "rank": ac.recall_curve(galaxies, "spurious"),
    "reconstruction error": ac.recall_curve(galaxies, "spurious", score="reconstruction_error"),
}
ax = ac.plotting.plot_recall(
    curves, region={"clusters": ac.inspect(galaxies, label="spurious", threshold=0.2)}
)

# %%
# The same from the command line
# ------------------------------
#
# .. code-block:: console
#
#    $ astro-cluster cutouts "sci/*.tar" -o gal.fits --size 48 --scale asinh
#    $ astro-cluster embed gal.fits --model conv-autoencoder --epochs 20 -o latent.vot
#    $ astro-cluster plot latent.vot --learning -o learning.png
#    $ astro-cluster cluster latent.vot --features latent --method kmeans -n 6 -o km6.vot
#    $ astro-cluster embed km6.vot --model tsne --features latent -o tsne.vot
#    $ astro-cluster plot tsne.vot --sheet -o sheet.png
#    $ astro-cluster plot tsne.vot --thumbnails -o tsne.png
#
# The images stay in ``gal.fits``; the VOTables hold the row of each image there, and TOPCAT may sort or
# cut them.
#
# With 40,000 images
# ------------------
#
# - ``size=128`` and ``memmap="gal.npy"`` keep the images (2.6 GB) in a file instead of in memory.
# - A hundred epochs; ``patience`` ends them earlier when nothing is gained.  An interrupted training goes on
#   from a ``checkpoint``, and ``device="cuda"`` moves it to a graphics card.
# - ``architecture="study"`` is the network of the study, ``"dense-autoencoder"`` its first one.
# - Decide on the number of clusters by ``choose`` and ``stability``, not by eye: :doc:`/user_guide/choosing`.

# sphinx_gallery_start_ignore
import shutil

shutil.rmtree(folder)
# sphinx_gallery_end_ignore
