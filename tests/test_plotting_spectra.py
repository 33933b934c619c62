"""Figures of spectra and latents: what is drawn where, in which colours, and what is left out."""

from __future__ import annotations

import builtins
import io
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.path import Path as PathOfPolygon
from matplotlib.text import Text
from PIL import Image
from scipy.stats import spearmanr

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.plotting import (
    plot_corner,
    plot_density,
    plot_histogram,
    plot_leakage,
    plot_learning_curve,
    plot_spectra,
    plot_spectra_sheet,
    plot_traversal,
    plot_tuning,
)
from astro_cluster.plotting.emission import EMISSION_LINES, line_places
from astro_cluster.plotting.limits import beyond, robust_limits, suitable_scale
from astro_cluster.plotting.panels import Layout, wrapped
from astro_cluster.plotting.rows import names_of_rows, ordered_rows
from astro_cluster.plotting.shades import NO_VALUE, shades_of
from astro_cluster.plotting.spectral import FLUX, MASKED, MODEL, mark_lines
from astro_cluster.wavelengths import log_grid, note_spectra

UNIT = u.Unit("1e-17 erg / (s cm2 Angstrom)")
GRID = log_grid(3625 * u.AA, 9000 * u.AA, 300)


def draw(figure, dpi: int = 50) -> np.ndarray:
    """Draw for real: complaints come only then."""
    FigureCanvasAgg(figure.get_figure(root=True))
    with io.BytesIO() as file:
        figure.get_figure(root=True).savefig(file, format="png", dpi=dpi)
        file.seek(0)
        return np.asarray(Image.open(file).convert("RGB"))


def texts_of(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def spectra(n: int = 8, seed: int = 0) -> QTable:
    """Return spectra of the slope and level of their row, whose errors are known and so is χ²."""
    rng = np.random.default_rng(seed)
    level = np.arange(1.0, n + 1)[:, np.newaxis]
    made = level * (GRID.angstrom / 5000) ** -0.5
    sigma = 0.1 * level * np.ones(len(GRID))
    table = QTable({"source_id": [f"10656-58163-{row:04d}" for row in range(n)]})
    table["flux"] = (made + sigma * rng.normal(size=made.shape)).astype("f4") * UNIT
    table["ivar"] = (sigma**-2).astype("f4") / UNIT**2
    table["reconstruction"] = made.astype("f4") * UNIT
    table["redshift"] = np.linspace(0.5, 3.0, n)
    table["reconstruction_chi2"] = np.arange(n)[::-1].astype(float)
    note_spectra(table, GRID)
    return table


def latents(n: int = 400, d: int = 3, seed: int = 0) -> QTable:
    rng = np.random.default_rng(seed)
    table = QTable({"Z": rng.uniform(1.5, 4.0, n)})
    table["latent"] = rng.normal(size=(n, d)).astype("f4")
    table["latent"][:, 0] += 2 * table["Z"]
    table["CLASS"] = np.where(table["Z"] > 3, "QSO", "GALAXY")
    return table


@pytest.fixture(autouse=True)
def _pyplot_is_left_alone():
    before = plt.get_fignums(), dict(plt.rcParams)
    yield
    assert (plt.get_fignums(), dict(plt.rcParams)) == before


# ---------------------------------------------------------------- ends of axes


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.booleans())
@settings(max_examples=60, deadline=None)
def test_limits_rise_and_hold_most(values, log):
    values = np.array(values)
    low, high = robust_limits(values, log=log)
    assert low < high
    seen = values[values > 0] if log else values
    assert beyond(seen, (low, high)).sum() <= 0.02 * len(seen) + 2


def test_stray_values_do_not_stretch_an_axis_and_others_are_all_shown():
    values = np.append(np.random.default_rng(0).normal(size=2000), [1e9, -1e9])
    low, high = robust_limits(values)
    assert -5 < low < -2
    assert 2 < high < 5
    flat = np.random.default_rng(0).uniform(2, 7, 2000)
    assert not beyond(flat, robust_limits(flat)).any()
    assert suitable_scale(np.append(flat, 1e6)) == "log"
    assert suitable_scale(np.append(flat, 1e6), share=0.01) == "linear"
    assert suitable_scale(np.array([-1.0, 1e6])) == "linear"


@pytest.mark.parametrize("value", [0.0, 3.0, -2e7, 58163.0])
def test_limits_about_a_value_that_is_alone(value):
    low, high = robust_limits(np.full(3, value))
    assert low < value < high
    assert (low + high) / 2 == pytest.approx(value)


def test_labels_are_broken_where_words_end():
    long = "a_very_long_reconstruction_error [$\\mathrm{erg\\,s^{-1}}$]"
    lines = wrapped(long, 1.2, lines=4).split("\n")
    assert lines[-1] == "[$\\mathrm{erg\\,s^{-1}}$]"
    assert "".join(lines[:-1]) == "a_very_long_reconstruction_error"
    assert wrapped("Z", 0.3) == "Z"
    assert wrapped("x" * 400, 1.0).count("\n") <= 2


def test_a_layout_puts_panels_in_inches():
    layout = Layout(2, 1.5, [1.0, 0.5], (0.2, 0.1), left=0.5, right=0.1, top=0.3, bottom=0.4)
    figure = layout.figure(None)
    boxes = [layout.panel(figure, row, 0).get_position() for row in (0, 1)]
    width, height = figure.get_size_inches()
    assert (width, height) == pytest.approx(layout.size)
    assert boxes[0].height * height == pytest.approx(1.0)
    assert (boxes[0].y0 - boxes[1].y1) * height == pytest.approx(0.1)
    assert boxes[1].y0 * height == pytest.approx(0.4)
    with pytest.raises(InputError, match="figure= is a Axes"):
        layout.figure(Figure().add_subplot())


# ---------------------------------------------------------------- colours by value


def test_colours_follow_values_and_rows_without_one_are_grey():
    table = QTable({"Z": MaskedColumn([1.0, 2.0, 3.0, 4.0], mask=[False, False, False, True])})
    shades = shades_of(table, "Z")
    assert shades.known.tolist() == [True, True, True, False]
    assert to_hex(shades.rgba[3]) == NO_VALUE.lower()
    assert shades.scale.get_clim() == (1.0, 3.0)
    cmap = plt.colormaps["viridis"]
    assert np.allclose(shades.rgba[:3], cmap([0.0, 0.5, 1.0]))
    assert shades.label == "Z"


def test_stray_values_do_not_take_all_colours_and_the_bar_says_so():
    table = QTable({"Z": np.append(np.linspace(0, 1, 500), [900.0])})
    shades = shades_of(table, "Z")
    assert shades.scale.get_clim()[1] < 1.5
    assert shades.extend == "max" or shades.extend == "both"
    bar = shades.explain(Figure().add_subplot())
    assert bar.extend == shades.extend


def test_colours_of_many_magnitudes_are_logarithmic_unless_told():
    table = QTable({"snr": 10 ** np.linspace(-2, 3, 100) * u.mJy})
    assert isinstance(shades_of(table, "snr").scale.norm, LogNorm)
    assert not isinstance(shades_of(table, "snr", log=False).scale.norm, LogNorm)
    assert shades_of(table, "snr").label == "snr [$\\mathrm{mJy}$]"
    table["snr"][:10] = 0 * u.mJy
    shades = shades_of(table, "snr", log=True)
    assert shades.known.sum() == 90


def test_colours_of_texts_clusters_and_marks_are_groups():
    table = QTable({"CLASS": ["QSO", "STAR", "QSO"], "cluster": [0, 1, -1], "bal": [True, False, True]})
    for name, names in (("CLASS", ["QSO", "STAR"]), ("cluster", ["noise", "cluster 0", "cluster 1"])):
        shades = shades_of(table, name)
        assert shades.scale is None
        assert [group.name for group in shades.groups] == names
    assert len(shades_of(table, "bal").groups) == 2
    legend = shades_of(table, "CLASS").explain(Figure().add_subplot())
    assert [text.get_text() for text in legend.get_texts()] == ["QSO (2)", "STAR (1)"]
    assert legend.get_title().get_text() == "CLASS"


COLOUR_MISTAKES = {
    "no such column": ({"name": "ZZ"}, "there is no column 'ZZ'"),
    "several values a row": ({"name": "latent"}, "values a row"),
    "no logarithm": ({"name": "negative", "log": True}, "no value of column 'negative' is positive"),
    "no such colours": ({"name": "negative", "colour_map": "viridi"}, "did you mean 'viridis'"),
}


@pytest.mark.parametrize(("options", "message"), COLOUR_MISTAKES.values(), ids=COLOUR_MISTAKES)
def test_colours_that_cannot_be(options, message):
    table = QTable({"nothing": np.full(3, np.nan), "negative": -np.ones(3), "latent": np.ones((3, 2))})
    with pytest.raises(InputError, match=message):
        shades_of(table, **options)


@pytest.mark.parametrize("kind", [float, str])
def test_a_colour_that_no_row_has_makes_all_grey(kind):
    table = latents(30)
    table["Z"] = MaskedColumn(np.zeros(30).astype(kind), mask=np.ones(30, bool))
    with pytest.warns(AstroClusterWarning, match="'Z' has no value in any of 30 rows: all points are grey"):
        figure = plot_corner(table, color="Z")
    assert len(figure.axes) == 6
    assert "grey: 30 without Z" in "\n".join(texts_of(figure))
    draw(figure)


# ---------------------------------------------------------------- corner plots


def panels(figure) -> list:
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>" and ax.axison]


def test_a_corner_has_each_pair_once_with_its_points_and_colours():
    table = latents(80)
    figure = plot_corner(table, color="Z", contours=False)
    axes = figure.axes
    assert len(axes) == 6 + 1  # with the bar
    assert [ax.get_xlabel() for ax in axes if ax.get_xlabel()] == ["latent[0]", "latent[1]", "latent[2]", "Z"]
    assert [ax.get_ylabel() for ax in axes if ax.get_ylabel()] == ["latent[1]", "latent[2]"]
    points = axes[1].collections[0]
    values = np.asarray(table["latent"], float)
    drawn = np.asarray(points.get_offsets())
    order = np.argsort(drawn[:, 0])
    assert np.allclose(drawn[order], values[np.argsort(values[:, 0])][:, :2])
    shades = shades_of(table, "Z")
    colours = points.get_facecolors()[order][:, :3]
    assert np.allclose(colours, shades.rgba[np.argsort(values[:, 0])][:, :3])
    assert points.get_rasterized()


def test_the_diagonal_counts_the_rows():
    table = latents(300, d=2)
    figure = plot_corner(table, contours=False)
    counts = figure.axes[0].patches[0].get_data().values
    low, high = robust_limits(np.asarray(table["latent"][:, 0]))
    inside = (np.asarray(table["latent"][:, 0]) >= low) & (np.asarray(table["latent"][:, 0]) <= high)
    assert counts.sum() == inside.sum()


def test_rows_that_lack_a_number_are_out_and_counted_and_those_without_a_colour_grey():
    table = latents(200)
    table["Z"] = MaskedColumn(table["Z"], mask=np.arange(200) < 30)
    table["latent"][:7] = np.nan
    table["latent"][50] = [1e7, 0, 0]
    figure = plot_corner(table, color="Z", contours=False)
    said = "\n".join(texts_of(figure))
    assert "193 rows, 7 incomplete left out" in said
    assert "grey: 23 without Z" in said
    assert "beyond the ends of an axis" in said
    points = figure.axes[1].collections[0]
    assert len(points.get_offsets()) == 193
    grey = [to_hex(colour[:3]) == NO_VALUE.lower() for colour in points.get_facecolors()]
    assert sum(grey) == 23
    assert all(grey[:23])  # they lie below the others
    assert points.axes.get_xlim()[1] < 100


def test_contours_hold_their_shares_of_the_rows():
    pytest.importorskip("corner")
    rng = np.random.default_rng(1)
    table = QTable({"latent": rng.normal(size=(20_000, 2))})
    figure = plot_corner(table)
    (contours,) = [item for item in figure.axes[1].collections if type(item).__name__ == "QuadContourSet"]
    radii = sorted(np.median(np.hypot(*path.vertices.T)) for path in contours.get_paths())
    # One and two sigma of a Gaussian; the smoothing of corner makes them a little wider.
    assert radii == pytest.approx([1.0, 2.0], rel=0.05)
    assert "contours hold 39 % and 86 %" in "\n".join(texts_of(figure))
    assert "contours" not in "\n".join(texts_of(plot_corner(table, contours=False)))
    assert "contours" not in "\n".join(texts_of(plot_corner(table[:50])))


@pytest.mark.parametrize("n", [300, 3000])
def test_contours_of_few_rows_with_tails_do_not_hold_many_more(n):
    values = np.random.default_rng(2).standard_t(3, size=(n, 2))
    ax = plot_corner(QTable({"latent": values})).axes[1]
    (contours,) = [item for item in ax.collections if type(item).__name__ == "QuadContourSet"]
    shares = []
    for level in contours.get_paths():
        inside = sum(PathOfPolygon(polygon).contains_points(values) for polygon in level.to_polygons())
        shares.append(float(np.mean(inside % 2)))
    assert sorted(shares) == pytest.approx([0.3935, 0.8647], abs=0.09)


def test_without_corner_the_message_tells_what_to_do(monkeypatch):
    real = builtins.__import__

    def blocked(name, *rest, **more):
        if name == "corner":
            raise ModuleNotFoundError("No module named 'corner'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(InputError, match=r'pip install "astro_cluster\[spectra\]".*contours=False'):
        plot_corner(latents(200))
    assert plot_corner(latents(200), contours=False).axes
    assert plot_corner(latents(50)).axes  # too few for contours


@pytest.mark.parametrize("d", [1, 2, 3, 6, 9, 15])
def test_corners_of_all_sizes_keep_their_labels_on_the_page_and_off_each_other(d):
    table = latents(120, d=d)
    figure = plot_corner(table, color="Z")
    draw(figure)
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    labels = []
    for ax in figure.axes:
        for text in (ax.xaxis.label, ax.yaxis.label):
            if text.get_text() and ax.axison:
                labels.append(text.get_window_extent(renderer))
    for box in labels:
        assert page.x0 - 1 <= box.x0 <= box.x1 <= page.x1 + 1
        assert page.y0 - 1 <= box.y0 <= box.y1 <= page.y1 + 1
    for number, box in enumerate(labels):
        assert not any(box.overlaps(other) for other in labels[number + 1 :])
    note = next(text for text in figure.texts if "rows" in text.get_text())
    box = note.get_window_extent(renderer)
    for ax in panels(figure):
        if d > 1:
            assert not box.overlaps(ax.get_window_extent(renderer))


def test_columns_of_a_corner_may_be_of_any_kind():
    table = latents(150)
    table["snr"] = 10 ** np.linspace(-2, 3, 150)
    table["constant"] = 3.0
    table["error"] = np.linspace(1, 9, 150) * 1e-17 * u.erg / u.s
    names = ["latent[1]", "Z", "snr", "constant", "error"]
    figure = plot_corner(table, names, color="CLASS")
    draw(figure)
    labels = [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()]
    assert labels[:4] == ["latent[1]", "Z", "log₁₀ snr", "constant"]
    assert labels[4].replace("\n", " ") == "error [$10^{-17}$ $\\mathrm{erg\\,s^{-1}}$]"
    last = [ax for ax in panels(figure) if ax.get_xlabel()][4]
    assert last.get_xlim()[1] < 12
    assert {"GALAXY", "QSO"} <= {text.partition(" (")[0] for text in texts_of(figure)}


def test_a_corner_of_one_row():
    figure = plot_corner(latents(1), color="Z")
    draw(figure)
    assert "1 row" in texts_of(figure)


def test_a_corner_in_a_part_of_a_figure():
    whole = Figure(figsize=(9, 4))
    left, right = whole.subfigures(1, 2)
    assert plot_corner(latents(60), figure=left) is whole
    assert len(left.axes) == 6
    assert not right.axes


CORNER_MISTAKES = {
    "no such column": (("Latent",), "did you mean 'latent'"),
    "no such number": (("latent[7]",), "has 3 values a row"),
    "texts": (("CLASS",), "no numbers"),
    "too many": ((["latent"] * 7,), "from 1 to 20"),
    "none": (([],), "from 1 to 20"),
    "images": (("image",), "a corner plot takes one row of them"),
    "all missing": (("nothing",), "no row of the table has all of nothing"),
}


@pytest.mark.parametrize(("arguments", "message"), CORNER_MISTAKES.values(), ids=CORNER_MISTAKES)
def test_corners_that_cannot_be(arguments, message):
    table = latents(20)
    table["image"] = np.zeros((20, 3, 3))
    table["nothing"] = np.nan
    with pytest.raises(InputError, match=message):
        plot_corner(table, *arguments)


def test_a_corner_of_no_rows():
    with pytest.raises(InputError, match="no row to draw"):
        plot_corner(latents(5)[:0])


# ---------------------------------------------------------------- emission lines


def test_lines_are_at_their_redshift_in_the_medium_of_the_grid():
    places = line_places(GRID, 2.5)
    assert places["C IV"] == pytest.approx(1549.06 * 3.5)
    assert set(places) == {"Lyα", "Si IV", "C IV", "C III]"}
    assert "[O III]" in line_places(GRID, 0.0)
    air = line_places(log_grid(3625 * u.AA, 9000 * u.AA, 300, medium="air"), 0.0)
    assert air["[O III]"] == pytest.approx(5006.84, abs=0.01)
    rest = log_grid(1000 * u.AA, 3000 * u.AA, 300, frame="rest")
    assert line_places(rest, 9.0) == line_places(rest, np.nan)
    assert line_places(rest, 9.0)["Lyα"] == EMISSION_LINES["Lyα"]
    assert line_places(GRID, np.nan) == {}
    assert line_places(GRID, -1.5) == {}


@pytest.mark.parametrize("z", [0.0, 0.3, 0.8, 1.5, 2.3, 3.2])
def test_names_of_lines_do_not_lie_on_each_other(z):
    figure = plot_spectra(spectra(4), [0], columns=2)
    ax = figure.axes[0]
    for text in list(ax.texts):
        text.remove()
    mark_lines(ax, GRID, z)
    draw(figure, dpi=100)
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in ax.texts]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


# ---------------------------------------------------------------- spectra and reconstructions


def line_of(ax, colour: str) -> np.ndarray:
    (line,) = [line for line in ax.lines if line.get_color() == colour and len(line.get_xdata()) == len(GRID)]
    return np.asarray(line.get_ydata(), float)


def test_a_spectrum_its_error_its_reconstruction_and_what_remains():
    table = spectra()
    figure = plot_spectra(table, [2])
    ax, rest = figure.axes
    flux, made = (np.asarray(table[name][2].value, float) for name in ("flux", "reconstruction"))
    sigma = np.asarray(table["ivar"][2].value, float) ** -0.5
    assert np.allclose(line_of(ax, FLUX), flux)
    assert np.allclose(line_of(ax, MODEL), made)
    assert np.allclose(line_of(rest, FLUX), (flux - made) / sigma, rtol=1e-4)
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx((flux - sigma).min(), rel=1e-5)
    assert heights.max() == pytest.approx((flux + sigma).max(), rel=1e-5)
    chi2 = np.mean(((flux - made) / sigma) ** 2)
    assert ax.get_title("left") == "10656-58163-0002"
    assert ax.get_title("right") == f"z = {table['redshift'][2]:.3f}, χ² {chi2:.2f} per pixel"
    assert "Å^{-1}" in ax.get_ylabel()
    assert "10^{-17}" in ax.get_ylabel()
    assert rest.get_xlabel() == "observed wavelength in vacuum [Å]"
    assert rest.get_ylabel() == "residual\n[σ]"
    assert ax.get_xlim() == pytest.approx((3625, 9000))
    assert {text.get_text() for text in ax.texts} <= set(EMISSION_LINES)


def test_pixels_that_do_not_count_are_grey_and_not_in_chi2():
    table = spectra()
    table["flux"][1, 100:120] = 1e6 * UNIT
    table["ivar"][1, 100:120] = 0
    table["flux"][1, 200:210] = np.nan
    table["ivar"][1, 200:210] = 0
    figure = plot_spectra(table, [1])
    ax, rest = figure.axes
    assert np.isnan(line_of(ax, FLUX)[100:120]).all()
    grey = line_of(ax, MASKED)
    assert np.isfinite(grey[100:120]).all()
    assert np.isnan(grey[:98]).all()
    assert np.isnan(line_of(rest, FLUX)[200:210]).all()
    spans = sorted(patch.get_x() for patch in ax.patches)
    assert spans == pytest.approx([GRID.edges[100], GRID.edges[200]])
    assert ax.get_ylim()[1] < 10
    counts = np.ones(300, bool)
    counts[100:120] = counts[200:210] = False
    flux, made = (np.asarray(table[name][1].value, float)[counts] for name in ("flux", "reconstruction"))
    expected = np.mean((flux - made) ** 2 * np.asarray(table["ivar"][1].value, float)[counts])
    assert f"χ² {expected:.2f}" in ax.get_title("right")
    assert "does not count" in texts_of(figure)
    draw(figure)


def test_rows_go_from_the_best_to_the_worst():
    figure = plot_spectra(spectra(), n=3)
    names = [ax.get_title("left") for ax in figure.axes if ax.get_title("left")]
    assert names == ["10656-58163-0007", "10656-58163-0003", "10656-58163-0000"]
    table = spectra()
    del table["reconstruction_chi2"]
    figure = plot_spectra(table, n=2)
    names = [ax.get_title("left") for ax in figure.axes if ax.get_title("left")]
    assert names == ["10656-58163-0000", "10656-58163-0007"]


def test_spectra_that_could_not_be_read_are_not_chosen():
    table = spectra()
    table["flux"][0] = np.nan
    table["ivar"][0] = 0
    table["spectrum_bad"] = np.arange(8) == 7
    figure = plot_spectra(table, n=8)
    names = [ax.get_title("left")[-1] for ax in figure.axes if ax.get_title("left")]
    assert sorted(names) == list("123456")
    with pytest.raises(InputError, match="row 7 has no spectrum that can be used"):
        plot_spectra(table, [7])


def test_reconstructions_come_from_a_column_a_model_or_nowhere():
    table = spectra()
    table["other_reconstruction"] = 2 * table["reconstruction"].to(1e-16 * UNIT / 1e-17)
    model = SimpleNamespace(reconstruct=lambda flux, *, weights: flux * 0 + weights.max())
    for given_, factor in ((None, 2), ("reconstruction", 1), (True, 2)):
        made = line_of(plot_spectra(table, [3], reconstruction=given_).axes[0], MODEL)
        assert np.allclose(made, factor * table["reconstruction"][3].value)
    made = line_of(plot_spectra(table, [3], reconstruction=model).axes[0], MODEL)
    assert np.allclose(made, table["ivar"][3].value.max())
    figure = plot_spectra(table, [3], reconstruction=False)
    assert len(figure.axes) == 1
    assert figure.axes[0].get_title("right") == f"z = {table['redshift'][3]:.3f}"
    conditioned = SimpleNamespace(
        conditioned=True, reconstruct=lambda flux, *, weights, redshift: flux * 0 + redshift[:, None]
    )
    made = line_of(plot_spectra(table, [3], reconstruction=conditioned).axes[0], MODEL)
    assert np.allclose(made, table["redshift"][3])


def test_spectra_without_errors_units_or_redshift():
    table = QTable({"flux": np.ones((2, 300)), "reconstruction": np.full((2, 300), 0.75)})
    note_spectra(table, GRID, ivar=None, normalized={"by": "median"})
    figure = plot_spectra(table, [1])
    ax, rest = figure.axes
    assert ax.get_ylabel() == "flux, normalised by median"
    assert rest.get_ylabel() == "residual"
    assert np.allclose(line_of(rest, FLUX), 0.25)
    assert ax.get_title("right") == ""
    assert ax.get_title("left") == "row 1"
    assert not ax.texts
    draw(figure)


def test_fluxes_of_unhandy_size_have_their_power_in_the_label():
    table = spectra(3)
    plain = QTable({name: table[name].to(UNIT / 1e-17) for name in ("flux", "reconstruction")})
    plain["ivar"] = table["ivar"].to((UNIT / 1e-17) ** -2)
    note_spectra(plain, GRID)
    ax, rest = plot_spectra(plain, [1]).axes
    scaled, scaled_rest = plot_spectra(table, [1]).axes
    assert ax.get_ylabel() == scaled.get_ylabel()
    assert np.allclose(line_of(ax, FLUX), line_of(scaled, FLUX))
    assert np.allclose(line_of(rest, FLUX), line_of(scaled_rest, FLUX), atol=1e-4)
    assert ax.get_title("right") == scaled.get_title("right").partition(", ")[2]


def test_spectra_of_a_linked_table_are_those_of_its_file(tmp_path):
    from astro_cluster.cli.files import read, write

    ac.write(spectra(), tmp_path / "qso.fits")
    table = read([tmp_path / "qso.fits"])
    write(table[[5, 2, 3]], tmp_path / "part.ecsv", False)
    linked = ac.read(tmp_path / "part.ecsv")
    assert "flux" not in linked.colnames
    ax = plot_spectra(linked, [1]).axes[0]
    assert np.allclose(line_of(ax, FLUX), spectra()["flux"][2].value)
    assert np.allclose(line_of(ax, MODEL), spectra()["reconstruction"][2].value)
    assert ax.get_title("left").endswith("0002")


@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_pages_of_spectra_keep_all_on_the_page(n):
    table = spectra(8)
    table["source_id"] = [f"spec-with-an-unreasonably-long-name-of-a-file-in-a-folder-{i}" for i in range(8)]
    figure = plot_spectra(table, n=n)
    draw(figure, dpi=100)
    renderer = figure.canvas.get_renderer()
    for ax in figure.axes:
        # A tick label may touch the edge of the page, titles and labels not.
        for text in (ax.xaxis.label, ax.yaxis.label, ax._left_title, ax._right_title):
            if text.get_text():
                box = text.get_window_extent(renderer)
                assert box.x0 >= -1
                assert box.x1 <= figure.bbox.x1 + 1
                assert box.y0 >= -1
        if ax.get_title("left"):
            left, right = (text.get_window_extent(renderer) for text in (ax._left_title, ax._right_title))
            assert left.x1 < right.x0


def test_names_are_no_formulas():
    table = spectra(2)
    table["name"] = ["$\\frac$ of a", "100 %"]
    for function in (plot_spectra, plot_spectra_sheet):
        draw(figure := function(table, [0, 1], labels="name"))
        titles = [ax.get_title("left").replace("\\$", "$") for ax in figure.axes]
        assert {"$\\frac$ of a", "100 %"} <= set(titles)


SPECTRA_MISTAKES = {
    "no such row": (([9],), {}, "rows= go up to 7, and 9"),
    "no rows": (([],), {}, "numbers of rows"),
    "nothing": ((), {"n": 0}, "n=0 shows nothing"),
    "no columns": ((), {"columns": 0}, "columns=0"),
    "no such column": ((), {"reconstruction": "reconstructions"}, "did you mean 'reconstruction'"),
    "another shape": ((), {"reconstruction": "short"}, "short"),
    "another unit": ((), {"reconstruction": "lengths"}, "'lengths' is in m, and the flux in"),
    "no model": ((), {"reconstruction": object()}, "object does not reconstruct spectra"),
    "no redshifts": ((), {"redshift": "zz"}, "there is no column 'zz'"),
    "no names": ((), {"labels": "flux"}, "several values a row"),
    "a model of other spectra": (
        (),
        {"reconstruction": SimpleNamespace(reconstruct=lambda flux, *, weights: flux[:, :7])},
        "the reconstructions have 7 pixels, and the spectra 300",
    ),
}


@pytest.mark.parametrize(("arguments", "options", "message"), SPECTRA_MISTAKES.values(), ids=SPECTRA_MISTAKES)
def test_spectra_that_cannot_be(arguments, options, message):
    table = spectra()
    table["short"] = np.ones((8, 5))
    table["lengths"] = np.ones((8, 300)) * u.m
    with pytest.raises(InputError, match=message):
        plot_spectra(table, *arguments, **options)


def test_a_table_without_spectra():
    for function in (plot_spectra, plot_spectra_sheet):
        with pytest.raises(InputError, match="read them with read_spectra"):
            function(QTable({"x": [1.0]}))
    table = spectra(2)
    table["ivar"][:] = 0
    for function in (plot_spectra, plot_spectra_sheet):
        with pytest.raises(InputError, match="no row of the table has a usable spectrum"):
            function(table)


# ---------------------------------------------------------------- sheets of spectra


def test_a_sheet_is_in_the_order_of_a_column():
    table = spectra()
    table["outlier_rank"] = [3, 1, 2, 8, 7, 6, 5, 4]
    figure = plot_spectra_sheet(table, order="outlier_rank", n=3)
    assert [ax.get_title("left")[-1] for ax in figure.axes] == ["1", "2", "0"]
    figure = plot_spectra_sheet(table, order="-outlier_rank", n=2, labels="outlier_rank")
    assert [ax.get_title("left") for ax in figure.axes] == ["8", "7"]
    assert "2 of 8 spectra, largest outlier_rank first" in texts_of(figure)
    assert "observed wavelength in vacuum [Å]" in texts_of(figure)


def test_a_sheet_draws_flux_and_reconstruction_each_on_its_scale():
    table = spectra()
    table["spectrum_bad"] = np.arange(8) == 7
    figure = plot_spectra_sheet(table, columns=3)
    assert len(figure.axes) == 7
    for row, ax in enumerate(figure.axes):
        assert np.allclose(line_of(ax, FLUX), table["flux"][row].value)
        assert np.allclose(line_of(ax, MODEL), table["reconstruction"][row].value)
        assert ax.get_ylim()[1] < 3 * (row + 1)
    assert any("1 more cannot be drawn" in text for text in texts_of(figure))
    lefts = {round(ax.get_position().x0, 4) for ax in figure.axes}
    assert len(lefts) == 3
    draw(figure)


def test_rows_without_a_rank_come_last():
    table = QTable({"rank": MaskedColumn([2.0, 1.0, 5.0], mask=[False, False, True])})
    assert ordered_rows(table, np.ones(3, bool), "rank").tolist() == [1, 0, 2]
    assert ordered_rows(table, np.ones(3, bool), "-rank").tolist() == [0, 1, 2]
    names = names_of_rows(table, np.array([2, 0]), "rank", [])
    assert names == ["–", "2"]


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 401}, {"columns": 0}])
def test_sheets_that_cannot_be(options):
    with pytest.raises(InputError, match="give 1 to 400"):
        plot_spectra_sheet(spectra(), **options)


# ---------------------------------------------------------------- traversals


def decoder(size: int = 3, **more) -> SimpleNamespace:
    """Return a model whose spectra are the values of their latents, one behind the other."""

    def decode(values, **_):
        return np.repeat(np.asarray(values, float), len(GRID) // size, axis=1)

    return SimpleNamespace(n_latent_=size, grid_=GRID, decode=decode, stem="latent", **more)


def test_a_traversal_changes_one_latent_over_the_percentiles_of_the_rows():
    table = latents(500)
    values = np.asarray(table["latent"], float)
    figure = plot_traversal(decoder(), table, n=5, percentiles=(10, 90))
    ax = figure.axes[1]
    low, middle, high = np.percentile(values, [10, 50, 90], axis=0)
    assert len(ax.lines) == 5
    spectra_ = np.array([line.get_ydata() for line in ax.lines])
    assert np.allclose(spectra_[:, 150], np.linspace(low[1], high[1], 5))
    assert np.allclose(spectra_[:, 0], middle[0])
    assert np.allclose(spectra_[:, 299], middle[2])
    colours = [to_hex(line.get_color()) for line in ax.lines]
    assert len(set(colours)) == 5
    assert colours[0] == to_hex(plt.colormaps["viridis"](0.0))
    assert ax.get_title("left") == f"latent 1: {low[1]:.2f} to {high[1]:.2f}".replace("-", "−")
    assert figure.axes[0].get_ylabel() == "normalised flux"
    assert {"10 %", "90 %"} <= set(texts_of(figure))
    draw(figure)


def test_a_traversal_without_a_table_is_that_of_the_prior():
    figure = plot_traversal(decoder(), latents=[2], n=3)
    (ax, _) = figure.axes
    values = [line.get_ydata()[-1] for line in ax.lines]
    assert values == pytest.approx([-1.6449, 0, 1.6449], abs=1e-3)
    assert any("percentiles of N(0, 1)" in text for text in texts_of(figure))


def test_a_traversal_of_principal_components_adds_them_to_the_mean():
    mean, components = np.linspace(1, 2, 300), np.eye(2, 300)
    model = SimpleNamespace(components_=components, mean_=mean, grid_=GRID, stem="pca")
    table = QTable({"pca": np.random.default_rng(0).normal(size=(100, 2))})
    ax = plot_traversal(model, table, n=3).axes[1]
    high = np.percentile(table["pca"][:, 1], 95)
    middle = np.percentile(table["pca"][:, 0], 50)
    assert ax.lines[-1].get_ydata() == pytest.approx(mean + middle * components[0] + high * components[1])
    assert ax.get_title("left").startswith("pca 1: ")


def test_a_conditioned_model_gets_the_median_redshift_and_the_lines_are_there():
    asked = []

    def decode(values, *, redshift):
        asked.append(redshift)
        return np.ones((len(values), len(GRID)))

    model = SimpleNamespace(n_latent_=3, grid_=GRID, decode=decode, stem="latent", conditioned=True)
    table = latents(101)
    figure = plot_traversal(model, table)
    assert asked == [np.median(table["Z"])] * 3
    assert figure.axes[0].texts
    assert not plot_traversal(decoder(), table).axes[0].texts
    assert plot_traversal(decoder(), table, redshift=2.5).axes[0].texts
    assert not plot_traversal(decoder(), table, redshift=2.5, lines=False).axes[0].texts


TRAVERSAL_MISTAKES = {
    "no decoder": ((object(), latents(5)), {}, "object does not decode latents"),
    "another size": ((decoder(2), latents(5)), {}, "the model has 2 latents, and the table 3"),
    "no latents": ((decoder(), QTable({"x": [1.0]})), {}, "there is no column 'latent'"),
    "features without a table": ((decoder(),), {"features": "latent"}, "give the table"),
    "no such latent": ((decoder(),), {"latents": [3]}, "numbers from 0 to 2"),
    "one spectrum": ((decoder(),), {"n": 1}, "n=1 spectra"),
    "no percentiles": ((decoder(),), {"percentiles": (95, 5)}, "percentiles="),
    "one percentile": ((decoder(),), {"percentiles": 5}, "percentiles=5"),
    "no redshift": ((decoder(),), {"redshift": -2.0}, "redshift=-2.0 is none"),
    "no wavelengths": (
        (SimpleNamespace(n_latent_=3, decode=len, grid_=None), latents(5)),
        {},
        "at which wavelengths",
    ),
    "other pixels": (
        (SimpleNamespace(n_latent_=1, grid_=GRID, decode=lambda z: z),),
        {},
        "the model decodes 1 pixels, and the grid has 300",
    ),
}


@pytest.mark.parametrize(
    ("arguments", "options", "message"), TRAVERSAL_MISTAKES.values(), ids=TRAVERSAL_MISTAKES
)
def test_traversals_that_cannot_be(arguments, options, message):
    with pytest.raises(InputError, match=message):
        plot_traversal(*arguments, **options)


# ---------------------------------------------------------------- densities and histograms


def test_a_density_counts_every_row_and_tells_the_rank_correlation():
    rng = np.random.default_rng(3)
    table = QTable({"Z": rng.normal(size=3000)})
    table["chi2"] = table["Z"] + rng.normal(size=3000)
    ax = plot_density(table, "Z", "chi2")
    (hexagons,) = ax.collections
    outside = beyond(table["Z"], ax.get_xlim()) | beyond(table["chi2"], ax.get_ylim())
    assert hexagons.get_array().sum() == 3000 - outside.sum()
    assert isinstance(hexagons.norm, LogNorm)
    rho = spearmanr(table["Z"], table["chi2"]).statistic
    assert ax.get_title("left").startswith(f"ρ = {rho:.2f} (")
    low, high = (
        float(part) for part in ax.get_title("left").splitlines()[0][:-1].partition("(")[2].split(" to ")
    )
    assert low < rho < high
    assert ax.get_xlabel() == "Z"
    median = next(line for line in ax.lines if line.get_label() == "running median")
    for x, y in median.get_xydata():
        near = np.abs(table["Z"] - x) < 0.15
        assert y == pytest.approx(np.median(table["chi2"][near]), abs=0.4)
    draw(ax)


def test_a_density_leaves_out_and_counts_what_has_no_value():
    table = QTable({"BAL_PROB": np.tile([-1.0, 0.25, 0.5, 0.75], 200), "y": np.arange(800.0)})
    table["y"][:8] = np.nan
    ax = plot_density(table, "BAL_PROB", "y", missing={"BAL_PROB": -1})
    assert ax.get_title("left").splitlines()[1] == "594 of 800 rows"
    assert ax.get_xlim()[0] > 0
    reverse = plot_density(table, "y", "BAL_PROB", missing={"BAL_PROB": -1})
    assert reverse.get_title("left") == ax.get_title("left")


def test_few_rows_are_points_and_a_constant_has_no_correlation():
    table = latents(40)
    table["constant"] = 1.0
    ax = plot_density(table, "Z", "latent[0]")
    assert np.allclose(ax.collections[0].get_offsets(), np.column_stack([table["Z"], table["latent"][:, 0]]))
    assert ax.get_ylabel() == "latent, component 0"
    ax = plot_density(table, "Z", "constant")
    assert ax.get_title("left") == "no rank correlation\n40 rows"
    draw(ax)
    assert plot_density(table, "Z", "Z").get_title("left").startswith("ρ = 1.00")
    assert plot_density(table[:1], "Z", "constant").get_title("left") == "no rank correlation\n1 row"


def test_axes_of_a_density_are_logarithmic_where_that_suits_or_is_asked():
    table = QTable({"snr": 10 ** np.random.default_rng(0).uniform(-2, 3, 2000)})
    table["z"] = np.random.default_rng(1).uniform(1, 3, 2000)
    ax = plot_density(table, "z", "snr")
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    ax = plot_density(table, "z", "snr", xscale="log", yscale="linear")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    draw(ax)


def test_a_histogram_counts_the_rows_and_marks_the_median():
    values = np.append(np.random.default_rng(0).normal(-26, 1, 1000), [np.nan, 5000.0])
    table = QTable({"M_I": values * u.mag})
    table["M_I"].info.description = "Absolute magnitude in i"
    ax = plot_histogram(table, "M_I", bins=20)
    heights, edges, _ = ax.patches[0].get_data()
    expected, _ = np.histogram(values[np.isfinite(values)], edges)
    assert np.array_equal(heights, expected)
    assert len(heights) == 20
    assert ax.get_xlim()[1] < -20
    lines = ax.get_title("right").split("\n")
    assert lines[0] == "1,001 of 1,002 rows"
    assert lines[1] == f"{1001 - expected.sum()} beyond the axes"
    assert ax.lines[0].get_xdata()[0] == pytest.approx(np.nanmedian(values))
    assert ax.get_xlabel() == "Absolute magnitude in i [$\\mathrm{mag}$]"
    draw(ax)


def test_a_histogram_of_magnitudes_of_size_is_logarithmic():
    table = QTable({"error": 10 ** np.random.default_rng(0).normal(-2, 1, 3000)})
    ax = plot_histogram(table, "error")
    assert ax.get_xscale() == "log"
    heights, edges, _ = ax.patches[0].get_data()
    assert np.allclose(np.diff(np.log(edges)), np.diff(np.log(edges))[0])
    assert heights.sum() == 3000 - beyond(table["error"], ax.get_xlim()).sum()
    draw(ax)
    assert plot_histogram(QTable({"x": np.full(9, 2.0)}), "x").patches[0].get_data().values.sum() == 9


DENSITY_MISTAKES = {
    "no such column": (plot_density, ("Z", "y"), {}, "there is no column 'y'"),
    "texts": (plot_density, ("Z", "CLASS"), {}, "no numbers"),
    "several values": (plot_density, ("Z", "latent"), {}, "values a row"),
    "no such scale": (plot_density, ("Z", "Z"), {"xscale": "symlog"}, "xscale='symlog'"),
    "no logarithm": (plot_density, ("negative", "Z"), {"xscale": "log"}, "no value is positive"),
    "nothing": (plot_density, ("Z", "nothing"), {}, "no row of the table has both 'Z' and 'nothing'"),
    "no nulls": (plot_density, ("Z", "Z"), {"missing": -1}, "missing=-1"),
    "nulls of no column": (plot_density, ("Z", "Z"), {"missing": {"z": -1}}, "did you mean 'Z'"),
    "no bins": (plot_histogram, ("Z",), {"bins": 0}, "bins=0"),
    "no values": (plot_histogram, ("nothing",), {}, "no row of the table has a value"),
}


@pytest.mark.parametrize(
    ("function", "arguments", "options", "message"), DENSITY_MISTAKES.values(), ids=DENSITY_MISTAKES
)
def test_densities_that_cannot_be(function, arguments, options, message):
    table = latents(30)
    table["nothing"], table["negative"] = np.nan, -1.0
    with pytest.raises(InputError, match=message):
        function(table, *arguments, **options)


# ---------------------------------------------------------------- leaks


def test_a_leak_shows_in_the_panel_of_its_latent_and_in_the_title():
    table = latents(600)
    figure = plot_leakage(table, "Z")
    titles = [ax.get_title("left") for ax in figure.axes]
    rho = spearmanr(table["Z"], table["latent"][:, 0]).statistic
    assert titles[0].startswith(f"ρ = {rho:.2f} (")
    assert abs(float(titles[1][4:].split()[0].replace("−", "-"))) < 0.15
    (found,) = [text for text in texts_of(figure) if text.startswith("Z from latent (3 values): R² = ")]
    told = ac.predictability(
        table, ["Z"], features=["latent"], kinds={"Z": "number"}, most_rows=10_000, random_state=0
    )
    assert f"R² = {told['r2'][0]:.2f} ± {told['r2_error'][0]:.2f}" in found
    assert told["r2"][0] > 0.5
    assert [ax.get_ylabel() for ax in figure.axes] == ["latent[0]", "latent[1]", "latent[2]"]
    assert any("lines: running median" in text and "colour: log of rows" in text for text in texts_of(figure))
    draw(figure)


def test_a_leak_that_cannot_be_judged_is_drawn_all_the_same():
    table = latents(12)
    assert any("no R²" in text for text in texts_of(plot_leakage(table, "Z")))
    assert not any("R²" in text for text in texts_of(plot_leakage(table, "Z", judged=False)))
    table["Z"][:5] = -1
    figure = plot_leakage(table, "Z", judged=False, missing={"Z": -1})
    assert any(text.startswith("7 of 12 rows") for text in texts_of(figure))
    assert len(figure.axes[0].collections[0].get_offsets()) == 7
    # Seven points have neither lines nor colours, so nothing says what these would mean.
    assert not any("running median" in text or "colour" in text for text in texts_of(figure))


@pytest.mark.parametrize("d", [1, 2, 5, 15])
def test_leaks_of_all_sizes_keep_labels_apart(d):
    figure = plot_leakage(latents(250, d=d), "Z", judged=False)
    assert len(figure.axes) == d
    draw(figure, dpi=100)
    renderer = figure.canvas.get_renderer()
    boxes = [ax.yaxis.label.get_window_extent(renderer) for ax in figure.axes]
    for number, box in enumerate(boxes):
        others = [ax.get_window_extent(renderer) for k, ax in enumerate(figure.axes) if k != number]
        assert not any(box.overlaps(other) for other in others)
        assert box.x0 >= 0


def test_leaks_that_cannot_be():
    table = latents(30)
    table["nothing"] = np.nan
    for arguments, message in (
        (("redshift",), "there is no column 'redshift'"),
        (("nothing",), "no row of the table has both 'latent' and 'nothing'"),
    ):
        with pytest.raises(InputError, match=message):
            plot_leakage(table, *arguments)
    table["wide"] = np.zeros((30, 40))
    with pytest.raises(InputError, match="up to 30 latents"):
        plot_leakage(table, "Z", features="wide")


# ---------------------------------------------------------------- tuning


def trials() -> QTable:
    rows = []
    for d in (3, 6, 9):
        for k in range(4):
            rows.append(("infovae", d, 0.01 * (4 - k) + 0.1 / d, 1 + 1 / d + 0.1 * k, "complete", k == 0))
        rows.append(("infovae", d, np.nan, 0.1, "pruned", False))
        rows.append(("weighted-pca", d, 0.2 / d, 1 + 2 / d, "complete", True))
    names = ["model", "n_latent", "held_out_mse", "held_out_chi2", "state", "best"]
    return QTable(rows=rows, names=names)


def test_trials_are_points_and_the_best_of_each_size_a_line():
    figure = plot_tuning(trials())
    mse, chi2 = figure.axes
    labelled = {line.get_label(): line.get_xydata() for line in chi2.lines if line.get_label()[0] != "_"}
    assert list(labelled) == ["InfoVAE, best of each size (12 trials)", "PCA", "noise alone"]
    best, pca, noise = labelled.values()
    assert np.allclose(np.asarray(noise)[:, 1], 1)
    assert np.allclose(best, [[d, 1 + 1 / d] for d in (3, 6, 9)])
    assert np.allclose(pca, [[d, 1 + 2 / d] for d in (3, 6, 9)])
    faint = chi2.lines[0]
    assert len(faint.get_xdata()) == 9
    assert faint.get_ydata().min() > 1  # what was pruned is not there
    # The error of the trial with the best χ² is shown, not the best error.
    line = next(line for line in mse.lines if line.get_label().startswith("InfoVAE"))
    assert np.allclose(line.get_ydata(), [0.04 + 0.1 / d for d in (3, 6, 9)])
    assert [ax.get_xlabel() for ax in figure.axes] == ["number of latents"] * 2
    assert chi2.get_xticks().tolist() == [3, 6, 9]
    draw(figure)


def test_without_marks_the_least_chi2_is_the_best():
    table = trials()
    del table["best"]
    chi2 = plot_tuning(table).axes[1]
    line = next(line for line in chi2.lines if line.get_label().startswith("InfoVAE"))
    assert np.allclose(line.get_ydata(), [1 + 1 / d for d in (3, 6, 9)])


def test_the_chosen_trial_has_a_ring():
    table = trials()
    table.rename_column("best", "best_of_size")
    table["best"] = np.arange(len(table)) == 6  # the best of 6 latents
    for ax, name in zip(plot_tuning(table).axes, ("held_out_mse", "held_out_chi2"), strict=True):
        (ring,) = [line for line in ax.lines if line.get_label() == "chosen"]
        assert ring.get_xydata().tolist() == [[6.0, table[name][6]]]
    line = next(line for line in ax.lines if line.get_label().startswith("InfoVAE"))
    assert np.allclose(line.get_ydata(), [1 + 1 / d for d in (3, 6, 9)])


def test_tuning_that_cannot_be():
    with pytest.raises(InputError, match="no result of tune, for it has no column 'n_latent'"):
        plot_tuning(QTable({"model": ["a"]}))
    table = trials()
    table["state"] = "fail"
    with pytest.raises(InputError, match="no trial of the table came to an end"):
        plot_tuning(table)


# ---------------------------------------------------------------- learning curves with terms


HISTORY = {
    "epoch": [1, 2, 3, 4], "loss": [900.0, 500.0, 400.0, 390.0],
    "held_out_loss": [950.0, 520.0, 450.0, 460.0],
    "reconstruction": [890.0, 480.0, 380.0, 370.0], "held_out_reconstruction": [940.0, 500.0, 430.0, 440.0],
    "kl": [1.0, 5.0, 8.0, 9.0], "held_out_kl": [1.1, 5.1, 8.1, 9.1],
    "mmd": [0.2, 0.1, -0.01, 0.0], "held_out_mmd": [0.2, 0.1, 0.0, -0.02],
    "held_out_chi2": [3.0, 1.5, 1.1, 1.2], "learning_rate": [1e-3] * 4,
}  # fmt: skip


def test_terms_of_the_loss_have_axes_of_their_own():
    ax = plot_learning_curve(HISTORY)
    figure = ax.get_figure()
    assert [one.get_ylabel() for one in figure.axes] == ["loss", "reconstr.", "KL", "MMD", "χ² per pixel"]
    for one, term in zip(figure.axes[1:4], ("reconstruction", "kl", "mmd"), strict=True):
        drawn = {line.get_label(): list(line.get_ydata()) for line in one.lines}
        assert drawn[term] == HISTORY[term]
        assert drawn[f"held_out_{term}"] == HISTORY[f"held_out_{term}"]
    assert list(figure.axes[4].lines[0].get_ydata()) == HISTORY["held_out_chi2"]
    assert figure.axes[3].get_yscale() == "linear"  # it is below 0 at times
    assert figure.axes[-1].get_xlabel() == "epoch"
    assert [bool(one.get_xlabel()) for one in figure.axes[:-1]] == [False] * 4
    assert "kept: epoch 3, 450" in [text.get_text() for text in ax.get_legend().get_texts()]
    draw(ax)


def test_terms_divide_axes_of_a_grid_and_leave_others_alone():
    figure = Figure(figsize=(8, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_learning_curve(HISTORY, ax=left)
    assert len(figure.axes) == 6
    draw(left)
    assert all(one.get_position().x1 < right.get_position().x0 for one in figure.axes if one is not right)
    alone = Figure().add_axes((0.1, 0.1, 0.8, 0.8))
    plot_learning_curve(HISTORY, ax=alone)
    assert len(alone.get_figure().axes) == 1


def test_a_term_of_another_length_is_refused():
    with pytest.raises(InputError, match="kl 3"):
        plot_learning_curve(HISTORY | {"kl": [1.0, 2.0, 3.0]})
