"""Make the picture of the README: ``python docs/make_picture.py``."""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
from matplotlib.figure import Figure

import astro_cluster as ac

HERE = Path(__file__).parent


def main() -> None:
    """Draw simulated sources, clustered and matched, into ``_static/overview.png``."""
    catalogue = ac.cluster(
        ac.simulate.chandra(6000),
        "gmm",
        features=ac.recipes.CSC2,
        n_components=6,
        random_state=42,
        prefix="gmm6_",
    )
    catalogue = ac.crossmatch(catalogue, ac.simulate.simbad(catalogue), radius=1 * u.arcsec)
    figure = Figure(figsize=(14.5, 5.0), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
    ac.plotting.plot_clusters(catalogue, "hard_hs", "var_ratio_b", ax=left)
    left.get_legend().remove()
    left.set_title("Groups in 35 descriptors, four in ten rows incomplete", fontsize=11)
    ac.plotting.plot_types(ac.summarize(catalogue, by="main_type"), ax=right)
    right.set_title("and what SIMBAD calls their members (simulated)", fontsize=11)
    for number, label in enumerate(right.get_yticklabels()):
        label.set_color(ac.plotting.PALETTE[number])
    figure.savefig(HERE / "_static" / "overview.png", dpi=110)


if __name__ == "__main__":
    main()
