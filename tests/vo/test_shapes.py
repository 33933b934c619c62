from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked
from regions import (
    CircleSkyRegion,
    EllipseSkyRegion,
    PointSkyRegion,
    PolygonSkyRegion,
    Regions,
    TextSkyRegion,
)

import astro_cluster as ac
from astro_cluster.plotting.parts import PALETTE
from astro_cluster.vo.groups import plain_text
from astro_cluster.vo.shapes import region_text, regions, serialize

HOSTILE = [
    "a{b}c", "}", "a}\ncircle(1,2,3)", "x\r\nglobal color=red", "# text", "a;b", '"quoted"', "it's", "a\\",
    "[exit]", "$env(HOME)", "\x00\x1b[31m", "χ Pléiades 中", "🙂", "\u2028circle(1,2,3)", "\u202ertl", " ",
    "x" * 500, "é" * 100, "} tag={y} color=red text={z", "-1e5", "a||b",
]  # fmt: skip


@pytest.fixture
def cat():
    return QTable(
        {
            "name": ["a", "b", "c", "d"],
            "ra": [10.0, 11.0, 12.0, 13.0] * u.deg,
            "dec": [-1.0, 0.0, 1.0, 89.0] * u.deg,
            "cluster": MaskedColumn([3, -1, 3, 0], mask=[False, False, False, True]),
        }
    )


def square(lon=10.0, lat=0.0, size=1.0, **columns):
    step = np.array([-0.5, 0.5, 0.5, -0.5, 0.1]) * size
    turn = np.array([-0.5, -0.5, 0.5, 0.5, 0.1]) * size
    return QTable(
        {"ra": (lon + step) % 360 * u.deg, "dec": (lat + turn) * u.deg, "cluster": [0] * 5} | columns
    )


def tags(found):
    return [region.meta["tag"] for region in found]


# ---------------------------------------------------------------- rows


def test_a_circle_a_row(cat):
    found = regions(cat, radius=3 * u.arcsec)
    assert isinstance(found, Regions)
    assert all(isinstance(region, CircleSkyRegion) for region in found)
    assert tags(found) == [["no_cluster"], ["noise"], ["cluster_3"], ["cluster_3"]]
    assert [region.visual["color"] for region in found] == ["#B5B5B5", "#B5B5B5", PALETTE[0], PALETTE[0]]
    assert [region.center.ra.deg for region in found] == [13, 11, 10, 12]
    assert {region.radius.to_value(u.arcsec) for region in found} == {3.0}


def test_ours_is_the_public_one():
    assert ac.regions is regions


def test_the_table_is_untouched(cat):
    before = cat.copy()
    regions(cat, text="name")
    assert cat.colnames == before.colnames
    assert all(np.all(cat[name] == before[name]) for name in ("name", "ra", "dec"))


def test_without_clusters_all_are_one_group():
    found = regions(QTable({"ra": [1.0], "dec": [2.0]}))
    assert tags(found) == [["all"]]


def test_by_types(cat):
    cat["type"] = ["QSO", "", "Star {x}", "QSO"]
    found = regions(cat, by="type")
    assert tags(found) == [["no_cluster"], ["QSO"], ["QSO"], ["Star (x)"]]
    assert len({region.visual["color"] for region in found}) == 3


def test_colours_do_not_depend_on_the_rows(cat):
    cat["cluster"] = [0, 1, 2, 3]
    assert [r.visual["color"] for r in regions(cat, rows=[2])] == [PALETTE[2]]


def test_colours_are_those_of_the_figures():
    cat = QTable({"ra": np.arange(4.0), "dec": np.zeros(4), "cluster": [5, -1, 2, 9]})
    figure = ac.plotting.plot_sky(cat, panels=False)
    drawn = [handle.get_color() for handle in figure.axes[0].get_legend().legend_handles]
    assert [region.visual["color"] for region in regions(cat)] == drawn


def test_a_column_of_radii_and_of_texts(cat):
    cat["r"] = Masked([1.0, np.nan, -2.0, 4.0] * u.arcmin, mask=[False, False, False, False])
    with pytest.warns(
        ac.AstroClusterWarning, match="^2 rows have no size of their circle and are drawn as points"
    ):
        found = regions(cat, radius="r", text="name")
    kinds = {region.meta["text"]: type(region) for region in found}
    assert kinds == {"a": CircleSkyRegion, "b": PointSkyRegion, "c": PointSkyRegion, "d": CircleSkyRegion}
    assert [r.radius.to_value(u.arcmin) for r in found if isinstance(r, CircleSkyRegion)] == [4, 1]


def test_rows_without_a_position(cat):
    cat["ra"] = Masked(cat["ra"], mask=[True, False, False, False])
    cat["dec"][1] = np.nan
    with pytest.warns(ac.AstroClusterWarning, match="^2 rows have no position"):
        assert len(regions(cat)) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(regions(cat, rows=[2, 3])) == 2


@pytest.mark.parametrize("rows", [[True, False, True, False], np.array([0, 2]), [0, -2], [2, 0, 0]])
def test_some_rows(cat, rows):
    assert sorted(region.center.ra.deg for region in regions(cat, rows=rows)) == [10, 12]


@pytest.mark.parametrize(
    ("frame", "names"), [("galactic", ("l", "b")), ("fk5", None), ("icrs", ("RAJ2000", "DEJ2000"))]
)
def test_any_frame_becomes_icrs(frame, names):
    coord = SkyCoord([10.0, 359.9] * u.deg, [41.0, -89.9] * u.deg).transform_to(frame)
    if names is None:
        cat = QTable({"coord": coord})
    else:
        lonlat = coord.spherical.lon.to(u.hourangle), coord.spherical.lat.to(u.rad)
        cat = QTable(dict(zip(names, lonlat, strict=True)))
    for region, wanted in zip(regions(cat), coord, strict=True):
        assert region.center.frame.name == "icrs"
        assert region.center.separation(wanted.icrs).mas < 1e-3


def test_ellipses(cat):
    cat["ra_error"], cat["dec_error"] = [1, 2, 3, np.nan] * u.mas, [2, 1, 1, 1] * u.mas
    with pytest.warns(ac.AstroClusterWarning, match="1 rows have no size of their ellipse"):
        found = regions(cat, shape="ellipse", n_sigma=3, rows=[0, 3])
    assert isinstance(found[0], PointSkyRegion)
    ellipse = found[1]
    assert isinstance(ellipse, EllipseSkyRegion)
    assert ellipse.angle.to_value(u.deg) == 0
    assert ellipse.height.to_value(u.mas) == pytest.approx(12)  # along the meridian, both sides
    assert ellipse.width.to_value(u.mas) == pytest.approx(6)


def test_points(cat):
    assert all(isinstance(region, PointSkyRegion) for region in regions(cat, shape="point"))


# ---------------------------------------------------------------- hulls


@pytest.mark.parametrize("lon", [10.0, 0.0])
def test_a_hull(lon):
    (found,) = regions(square(lon, size=0.9), shape="hull", text="name")
    assert isinstance(found, PolygonSkyRegion)
    assert found.meta == {"tag": ["cluster_0"], "text": "cluster 0 (5)"}
    corners = found.vertices
    assert len(corners) == 4
    assert SkyCoord(lon * u.deg, 0 * u.deg).separation(corners).deg == pytest.approx(
        0.9 * np.sqrt(0.5), rel=1e-3
    )


def test_a_hull_about_the_pole():
    cat = QTable({"ra": np.arange(0.0, 360, 30), "dec": np.full(12, 89.5), "cluster": np.zeros(12, int)})
    (found,) = regions(cat, shape="hull")
    assert len(found.vertices) == 12
    assert found.vertices.dec.deg == pytest.approx(89.5)


def test_noise_has_no_hull():
    cat = square()
    cat["cluster"] = [0, 0, 0, -1, -1]
    assert tags(regions(cat, shape="hull")) == [["cluster_0"]]
    cat["cluster"] = -1
    with pytest.raises(ac.InputError, match="no cluster to draw a hull of"):
        regions(cat, shape="hull")


def test_few_rows_have_a_circle():
    cat = QTable({"ra": [1.0, 5.0, 5.2, 8.0, 8.0, 8.0], "dec": [0, 0, 0, 1.0, 2.0, 3.0]})
    cat["cluster"] = [0, 1, 1, 2, 2, 2]
    one, two, line = regions(cat, shape="hull", radius=7 * u.arcsec)
    assert (one.radius.to_value(u.arcsec), one.center.ra.deg) == pytest.approx((7, 1))
    assert (two.radius.deg if hasattr(two.radius, "deg") else two.radius.to_value(u.deg)) == pytest.approx(
        0.1
    )
    assert two.center.ra.deg == pytest.approx(5.1)
    assert (line.radius.to_value(u.deg), line.center.dec.deg) == pytest.approx((1, 2))


def test_all_members_are_within_their_hull():
    rng = np.random.default_rng(2)
    cat = QTable({"ra": rng.normal(0, 0.5, 400) % 360, "dec": rng.normal(40, 0.5, 400)})
    cat["cluster"] = rng.integers(0, 3, 400)
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [0, 40], [-1e-3, 1e-3]
    coord = SkyCoord(cat["ra"], cat["dec"], unit="deg")
    for label, region in enumerate(regions(cat, shape="hull")):
        members = coord[cat["cluster"] == label]
        grown = region.to_pixel(wcs)
        x, y = members.to_pixel(wcs)
        centre = np.mean(x), np.mean(y)
        # A corner is on the edge: look a little inside of it.
        inner = SkyCoord.from_pixel(*(c + (v - c) * 0.9999 for c, v in zip(centre, (x, y), strict=True)), wcs)
        assert np.all(region.contains(inner, wcs))
        assert grown.area < (x.max() - x.min()) * (y.max() - y.min())


def test_a_share_of_a_cluster():
    cat = square(prob_max=np.array([0.9, 0.9, 0.9, 0.1, 0.9]))
    cat["ra"][2] = 20 * u.deg
    (trimmed,) = regions(cat, shape="hull", fraction=0.8)
    assert trimmed.vertices.ra.deg.max() < 11
    (sure,) = regions(cat, shape="hull", fraction=0.8, trim="prob_max")
    assert sure.vertices.ra.deg.max() == pytest.approx(20)
    assert SkyCoord(9.5 * u.deg, 0.5 * u.deg).separation(sure.vertices).deg.min() > 0.5


def test_too_wide_clusters():
    wide = QTable({"ra": np.arange(0.0, 360, 10) * u.deg, "dec": np.zeros(36) * u.deg})
    wide["cluster"] = 1
    with pytest.raises(ac.InputError, match=r"cluster 1 does not fit into a circle of 80 deg.*fraction"):
        regions(wide, shape="hull")
    from astropy.table import vstack

    with pytest.warns(ac.AstroClusterWarning, match="cluster 1 does not fit"):
        found = regions(vstack([wide, square()]), shape="hull")
    assert tags(found) == [["cluster_0"]]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("shape", ["circle", "ellipse", "point", "hull"])
def test_written_and_read(tmp_path, shape, fast):
    rng = np.random.default_rng(3)
    cat = QTable({"ra": rng.uniform(0, 360, 60) * u.deg, "dec": rng.uniform(70, 90, 60) * u.deg})
    cat["cluster"], cat["name"] = rng.integers(-1, 3, 60), [f"row {i}" for i in range(60)]
    for name in ("ra_error", "dec_error"):
        cat[name] = rng.uniform(0.01, 1, 60) * u.mas
    cat["ra_dec_corr"] = rng.uniform(-1, 1, 60)
    found = regions(cat, shape=shape, text="name")
    path = tmp_path / "a.reg"
    content, number = region_text(cat, shape=shape, text="name") if fast else (serialize(found), len(found))
    assert number == len(found)
    path.write_text(content, encoding="utf-8")
    back = Regions.read(path, format="ds9")
    assert len(back) == len(found)
    for one, other in zip(found, back, strict=True):
        assert type(one) is type(other)
        assert other.meta["tag"] == one.meta["tag"]
        assert other.meta["text"] == one.meta["text"]
        colour = (
            other.visual["edgecolor"] if shape in ("circle", "ellipse", "hull") else other.visual["color"]
        )
        assert colour == one.visual["color"]
        if shape == "hull":
            assert one.vertices.separation(other.vertices).mas.max() < 1e-3
            continue
        assert one.center.separation(other.center).mas < 1e-3
        for name in {"radius", "width", "height", "angle"} & set(one._params):
            values = getattr(one, name).to_value(u.deg), getattr(other, name).to_value(u.deg)
            assert values[0] == pytest.approx(values[1], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_stays_in_its_line(tmp_path, text, fast):
    cat = QTable({"ra": [1.0, 2.0], "dec": [2.0, 3.0], "name": [text, "next"], "type": [text, "b"]})
    path = tmp_path / "a.reg"
    how = {"text": "name", "by": "type"}
    content = region_text(cat, **how)[0] if fast else serialize(regions(cat, **how))
    path.write_text(content, encoding="utf-8")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "(" in line.partition("#")[0]]
    assert len(lines) == 2
    assert all(re.fullmatch(r"circle\([\d.,]+\) # [^\n]*", line) for line in lines)
    assert sum(line.count("{") for line in lines) == sum(line.count("}") for line in lines)
    back = Regions.read(path, format="ds9")
    assert sorted(region.center.ra.deg for region in back) == [1, 2]
    assert len({region.radius for region in back}) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_a_plain_text(text):
    plain = plain_text(text)
    assert not set(plain) & set("{}\\;\n\r\x00\u2028")
    assert len(plain.encode("utf-8")) <= 76
    assert plain_text(plain) == plain


def test_texts_of_others_are_made_plain():
    circle = CircleSkyRegion(SkyCoord(1 * u.deg, 2 * u.deg), 1 * u.arcsec)
    circle.meta["text"], circle.meta["tag"] = "}\nbox(1,2,3,4)", ["a}\n#"]
    word = TextSkyRegion(SkyCoord(1 * u.deg, 2 * u.deg), "}\ncircle(1,2,3)")
    lines = serialize([circle, word]).splitlines()
    assert len([line for line in lines if re.match(r"(# )?(box|circle|text)\(", line)]) == 2
    assert circle.meta["text"] == "}\nbox(1,2,3,4)"


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"shape": "circl"}, "shape='circl' is not known; did you mean 'circle'"),
        ({"radius": 5}, "radius=5 is no angle"),
        ({"radius": 5 * u.s}, "is no angle"),
        ({"radius": -5 * u.arcsec}, "is not one angle above 0"),
        ({"radius": [1, 2] * u.arcsec}, "is not one angle"),
        ({"radius": np.nan * u.arcsec}, "is not one angle"),
        ({"radius": "r"}, "no column 'r'"),
        ({"radius": "name"}, "'name' holds no numbers"),
        ({"radius": "dec"}, "none of 1 rows has a radius in column 'dec'"),
        ({"n_sigma": 0, "shape": "ellipse"}, "n_sigma=0 is not a positive number"),
        ({"fraction": 0, "shape": "hull"}, "fraction=0 is no share"),
        ({"fraction": 1.5, "shape": "hull"}, "fraction=1.5 is no share"),
        ({"fraction": 0.5, "trim": "x", "shape": "hull"}, "no column 'x'"),
        ({"shape": "ellipse"}, "no columns that are known to be errors of positions"),
        ({"by": "clust"}, "no column 'clust'; did you mean 'cluster'"),
        ({"by": "ra"}, "'ra' holds no cluster numbers"),
        ({"by": "coord"}, "'coord' holds no cluster numbers"),
        ({"by": "pairs"}, "'pairs' holds no cluster numbers"),
        ({"text": "nme"}, "no column 'nme'"),
        ({"position": "name"}, "does not give a position"),
        ({"rows": [4]}, "rows= gives no rows of the table.*numbers from 0 to 3"),
        ({"rows": [0.5]}, "rows= gives no rows"),
        ({"rows": [True]}, "rows= gives no rows"),
        ({"rows": []}, "none of 0 rows has a position"),
    ],
)
def test_what_is_wrong_is_said(cat, how, words):
    if how.get("radius") == "dec":
        how = how | {"rows": [0]}
    cat["coord"], cat["pairs"] = SkyCoord(cat["ra"], cat["dec"]), np.full((4, 2), "a")
    if how.get("by") == "ra":
        cat["ra"][0] = 10.5 * u.deg
    with pytest.raises(ac.InputError, match=words):
        regions(cat, **how)


def test_a_masked_row_number_is_no_row(cat):
    """And not row 0."""
    rows = np.ma.array([1, 2], mask=[False, True])
    assert [r.center.ra.deg for r in regions(cat, rows=rows)] == [cat["ra"][1].value]


def test_no_positions(cat):
    del cat["ra"]
    with pytest.raises(ac.InputError, match="no columns that are known to be a position"):
        regions(cat)
    with pytest.raises(ac.InputError, match="there is no file"):
        regions("nothing.vot")
