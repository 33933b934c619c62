"""The figures of images from the command line: what the issue writes, and what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import QTable
from PIL import Image

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.cutouts import link_images


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(item) for item in arguments])
        said = capsys.readouterr()
        return int(left.value.code), said.out, said.err

    return call


@pytest.fixture
def table(run, tmp_path):
    """Return a table as the command line writes one: the images are in another file."""
    rng = np.random.default_rng(0)
    n = 40
    out = QTable({"source_id": np.arange(n), "tsne_1": rng.normal(size=n), "tsne_2": rng.normal(size=n)})
    out["cluster"] = np.arange(n) % 3
    out["spurious"] = np.arange(n) % 9 == 0
    out["reason"] = np.where(out["spurious"], "spike", "")
    out["outlier_score"] = rng.normal(size=n) + out["spurious"]
    out["inspection_rank"] = 1 + np.argsort(np.argsort(-out["outlier_score"]))
    np.save("stack.npy", rng.gamma(1.0, size=(n, 16, 16)).astype("f4"))
    ac.write(link_images(out, "stack.npy"), "tsne.vot")
    return tmp_path / "tsne.vot"


FIGURES = {
    "the issue's own": ["--thumbnails"],
    "thumbnails by name": ["thumbnails"],
    "thumbnails with options": [
        "thumbnails", "-x", "outlier_score", "-y", "tsne_1", "--by", "reason", "--width", "0.08",
        "--max-images", "5", "--overlap", "--stretch", "zscale", "--colour-map", "viridis",
        "--origin", "upper",
    ],
    "thumbnails of one group": ["--thumbnails", "--ungrouped"],
    "sheet": ["--sheet"],
    "sheet with options": [
        "sheet", "--by", "reason", "--per-cluster", "4", "--columns", "2", "--order", "-outlier_score",
        "--labels", "source_id",
    ],
    "the first to be looked at": ["--sheet", "--ungrouped", "--order", "inspection_rank"],
    "region": ["--region", "--label", "spurious", "--threshold", "0.1"],
    "region by a text": ["region", "--label", "reason", "--value", "spike"],
    "recall": ["--recall", "--label", "spurious"],
    "recall with options": [
        "recall", "--label", "reason", "--value", "spike", "--score", "outlier_score, tsne_1",
        "--cluster", "cluster", "--threshold", "0.1", "--fraction",
    ],
}  # fmt: skip


@pytest.mark.parametrize("options", FIGURES.values(), ids=FIGURES)
def test_figures_of_images(run, table, options):
    code, out, err = run("plot", table, *options, "-o", "figure.png")
    assert (code, out, err) == (0, "wrote figure.png\n", "")
    with Image.open("figure.png") as drawn:
        assert min(drawn.size) > 100
        assert len(drawn.convert("RGB").getcolors(2**24)) > 20


def test_pixels_an_inch(run, table):
    sizes = []
    for dpi in (50, 100):
        assert run("plot", table, "--thumbnails", "--dpi", dpi, "-o", f"{dpi}.png")[0] == 0
        with Image.open(f"{dpi}.png") as drawn:
            sizes.append(drawn.size)
    assert sizes[1] == pytest.approx((2 * sizes[0][0], 2 * sizes[0][1]), abs=2)


def test_images_inside_of_a_table(run, table):
    whole = ac.read(table)
    from astro_cluster.cutouts import images_of

    whole["image"] = images_of(whole)
    ac.write(whole["tsne_1", "tsne_2", "cluster", "image"], "whole.fits")
    for ending in ("png", "pdf", "svg"):
        assert run("plot", "whole.fits", "--thumbnails", "-o", f"f.{ending}")[0] == 0


def test_a_recall_curve_that_was_written(run, table):
    ac.write(ac.recall_curve(ac.read(table), "spurious"), "curve.ecsv")
    assert run("plot", "curve.ecsv", "--recall", "-o", "recall.png")[0] == 0


def test_a_learning_curve_of_the_record(run, table):
    with_record = ac.read(table)
    history = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "held_out_loss": [3.0, 2.0, 2.5]}
    with_record.meta["astro_cluster"].append(
        {"function": "embed", "parameters": {}, "embedding": {"history": history}}
    )
    ac.write(with_record, "latent.ecsv")
    assert run("plot", "latent.ecsv", "--learning", "-o", "learning.png")[0] == 0


MISTAKES = {
    "no figure": ([], "say what to draw: clusters, sky"),
    "two figures": (["sheet", "--thumbnails"], "give one figure, not sheet and thumbnails"),
    "the same figure twice": (["sheet", "--sheet", "--per-cluster", "0"], "give 1 or more"),
    "an option of another figure": (
        ["--sheet", "--overlap"],
        "--overlap has no meaning for the figure sheet",
    ),
    "residuals of a sheet": (["--sheet", "--no-residuals"], "--no-residuals has no meaning"),
    "no label for the region": (["--region"], "--label spurious"),
    "no label for the recall": (["--recall"], "--label spurious"),
    "no such label": (["--recall", "--label", "spurious_"], "did you mean 'spurious'"),
    "no model": (["--reconstructions"], "--model ae.safetensors"),
    "rows that are none": (
        ["--reconstructions", "--model", "a", "--rows", "1,x"],
        "--rows 1,x are no numbers",
    ),
    "no history": (["--learning"], "no step of the table has a history"),
    "no such column": (["--thumbnails", "-x", "tsne_3", "-y", "tsne_1"], "tsne_3"),
    "one coordinate": (["--thumbnails", "-x", "tsne_1"], "both coordinates"),
    "too fine": (["--thumbnails", "--dpi", "100000"], "--dpi 100000 is out of range"),
    "no such colours": (["--thumbnails", "--colour-map", "grayy"], "did you mean 'gray'"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(run, table, options, message):
    code, _, err = run("plot", table, *options, "-o", "figure.png")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not list(table.parent.glob("*.png"))


def test_images_that_have_gone(run, table):
    (table.parent / "stack.npy").unlink()
    code, _, err = run("plot", table, "--thumbnails", "-o", "figure.png")
    assert code == 2
    assert "stack.npy" in err
