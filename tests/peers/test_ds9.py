from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from regions import Regions

import astro_cluster as ac
from astro_cluster.vo.groups import plain_text

from . import programs

pytestmark = pytest.mark.peers

HOSTILE = [
    "plain", "a{b}c", "}\ncircle(1,2,3)", "# color=red", "a;b", '"quoted"', "it's", "a\\", "[exit]",
    "$env(HOME)", '"; exit; "', "} tag={y} color=red text={z", "\x1b[31m", "χ Pléiades 中", "🙂", "x" * 500,
    "é" * 100, "-7", "a||b",
]  # fmt: skip


class Ds9:
    """What a test asks of a running DS9, by pyvo alone."""

    def __init__(self, client, process):
        self.client, self.process = client, process
        self.id = programs.wait_for(self._find, 60, "DS9")

    def _find(self):
        ready = self.client.get_subscribed_clients("ds9.get")
        return next(iter(ready), None)

    def get(self, command):
        message = {"samp.mtype": "ds9.get", "samp.params": {"cmd": command}}
        answer = self.client.call_and_wait(self.id, message, "20")
        assert answer["samp.status"] == "samp.ok", answer
        result = answer["samp.result"]
        return Path(urlparse(result["url"]).path).read_text() if "url" in result else result.get("value", "")

    def text(self, system="-system wcs -sky icrs -skyformat degrees"):
        """Return its region file."""
        return self.get(f"regions -format ds9 {system}")

    def lines(self, *system):
        """Return the lines of its regions."""
        return [line for line in self.text(*system).splitlines() if re.match(r"[a-z]+\(", line)]

    def regions(self):
        """Return its regions, as that package reads them."""
        return Regions.parse(self.text(), format="ds9")


@pytest.fixture(scope="module")
def ds9_lock(display, require_program, tmp_path_factory):
    require_program("ds9")
    with programs.samp_hub(tmp_path_factory.mktemp("hub")) as lock:
        yield lock


@pytest.fixture(scope="module")
def ds9_process(display, ds9_lock, tmp_path_factory):
    with programs.ds9(display, tmp_path_factory.mktemp("ds9"), ds9_lock) as process:
        yield process


@pytest.fixture
def ds9(ds9_process, ds9_lock, samp_client, monkeypatch):
    """A running DS9, whose hub is the user's as far as the package can see."""
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{ds9_lock.as_uri()}")
    return Ds9(samp_client(ds9_lock), ds9_process)


def field(rows=300, angle=0.0, mirrored=False, lon=150.0, lat=2.0):
    """Simulate an image of three groups of galaxies, and their table."""
    rng = np.random.default_rng(5)
    turn = np.radians(angle)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [lon, lat], [256.5, 256.5]
    east = 1 if mirrored else -1
    wcs.wcs.cd = [
        [east * np.cos(turn) * 2e-3, -east * np.sin(turn) * 2e-3],
        [np.sin(turn) * 2e-3, np.cos(turn) * 2e-3],
    ]
    label = rng.integers(-1, 3, rows)
    middle = np.array([[256, 256], [130, 160], [380, 170], [250, 390]])[label + 1]
    x, y = (rng.normal(middle, np.where(label < 0, 150, 28)[:, None]).clip(5, 505)).T
    rows_of, columns = np.mgrid[:512, :512]
    data = rng.normal(10, 1, (512, 512))
    for one_x, one_y in zip(x, y, strict=True):
        near = (
            slice(max(int(one_y) - 12, 0), int(one_y) + 13),
            slice(max(int(one_x) - 12, 0), int(one_x) + 13),
        )
        size, flux, flat = rng.uniform(1, 3), rng.exponential(20) + 4, rng.uniform(0.4, 1)
        tilt = rng.uniform(0, np.pi)
        dx, dy = columns[near] - one_x, rows_of[near] - one_y
        a, b = dx * np.cos(tilt) + dy * np.sin(tilt), (dy * np.cos(tilt) - dx * np.sin(tilt)) / flat
        data[near] += flux * np.exp(-(a**2 + b**2) / 2 / size**2)
    coord = SkyCoord.from_pixel(x, y, wcs)
    table = QTable(
        {"name": [f"G{i}" for i in range(rows)], "ra": coord.ra, "dec": coord.dec, "cluster": label}
    )
    table["err_maj"] = rng.uniform(10, 60, rows) * u.arcsec
    table["err_min"] = table["err_maj"] * rng.uniform(0.2, 0.9, rows)
    table["err_ang"] = rng.uniform(0, 180, rows) * u.deg
    return (data.astype("f4"), wcs), table


def by_tag(found):
    return {
        tag: sum(region.meta["tag"] == [tag] for region in found) for tag in {r.meta["tag"][0] for r in found}
    }


def test_circles(ds9, tmp_path):
    (data, wcs), table = field()
    path = tmp_path / "my field ä [1].fits"
    fits.PrimaryHDU(data, wcs.to_header()).writeto(path)
    shown = ac.show(path, table, radius=9 * u.arcsec, text="name")
    assert shown.program.startswith("SAOImageDS9 (")
    assert Path(shown.file).samefile(path)
    assert shown.file == ds9.get("file")
    assert (shown.regions, shown.outside) == (300, 0)
    # DS9 has the middle of a pixel where we have it, to half a pixel of its zoom.
    assert shown.centre.separation(SkyCoord(150 * u.deg, 2 * u.deg)).deg < 3e-3
    assert ds9.get("scale mode") == "zscale"
    sent, back = ac.regions(table, radius=9 * u.arcsec, text="name"), ds9.regions()
    for one, other in zip(sent, back, strict=True):
        assert one.center.separation(other.center).mas < 1
        assert other.radius.to_value(u.arcsec) == pytest.approx(9, abs=2e-3)
        assert other.meta["text"] == one.meta["text"]
        assert other.meta["tag"] == one.meta["tag"]
        assert other.visual["edgecolor"] == one.visual["color"]
    assert sorted(ds9.get("regions groups").split()) == sorted(by_tag(sent))


@pytest.mark.parametrize(
    ("angle", "mirrored", "lat"), [(0, False, 2.0), (35, False, 60.0), (35, True, -75.0)]
)
def test_ellipses_point_where_they_should(ds9, angle, mirrored, lat):
    """The end of the major axis is where astropy has the point in that direction, in pixels."""
    image, table = field(40, angle, mirrored, lat=lat)
    assert ac.show(image, table, shape="ellipse", n_sigma=2).regions == 40
    sky, lines = ds9.regions(), ds9.lines("-system image")
    sent = ac.regions(table, shape="ellipse", n_sigma=2)
    for one, other, line in zip(sent, sky, lines, strict=True):
        assert other.height.to_value(u.arcsec) == pytest.approx(one.height.to_value(u.arcsec), abs=5e-3)
        assert other.angle.to_value(u.deg) == pytest.approx(one.angle.to_value(u.deg), abs=1e-5)
        x, y, _, major, turned = (float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", line)[:5])
        end = one.center.directional_offset_by(one.angle, one.height / 2).to_pixel(image[1], origin=1)
        way = major * np.array([np.cos(np.radians(turned + 90)), np.sin(np.radians(turned + 90))])
        real = np.array([end[0] - x, end[1] - y])
        # DS9 takes North to be where it is in the middle of the image.
        assert abs(way @ real) / np.hypot(*way) / np.hypot(*real) > 0.995
        assert np.hypot(*way) == pytest.approx(np.hypot(*real), rel=0.01)


def test_hulls(ds9, display, tmp_path):
    image, table = field()
    shown = ac.show(image, table, shape="hull", fraction=0.95, text="cluster", colormap="grey")
    sent, back = ac.regions(table, shape="hull", fraction=0.95), ds9.regions()
    assert shown.regions == len(back) == len(sent) == 3
    for one, other in zip(sent, back, strict=True):
        assert one.vertices.separation(other.vertices).mas.max() < 1
        assert other.meta["text"].startswith("cluster ")
    assert ac.show(None, table, radius=12 * u.arcsec).regions == 300
    assert len(ds9.lines()) == 303
    programs.screenshot(display, tmp_path / "ds9.png")
    assert (tmp_path / "ds9.png").stat().st_size > 20_000


@pytest.mark.parametrize("shape", ["circle", "point"])
def test_texts_that_try_to_get_out(ds9, shape):
    image, table = field(len(HOSTILE))
    table["name"], table["kind"] = HOSTILE, HOSTILE
    assert ac.show(image, table, by="kind", shape=shape, text="name").regions == len(HOSTILE)
    lines = ds9.lines()
    found = {re.search(r"text=\{(.*?)\}", line)[1] for line in lines}
    assert found == {plain_text(text) for text in HOSTILE}
    assert {re.search(r"tag=\{(.*?)\}", line)[1] for line in lines} == found
    assert not any("color=red" in line.partition("text=")[0] for line in lines)


def test_ten_thousand(ds9):
    image, _ = field(2)
    rng = np.random.default_rng(0)
    many = QTable(
        {"ra": rng.uniform(149.6, 150.4, 10_000) * u.deg, "dec": rng.uniform(1.6, 2.4, 10_000) * u.deg}
    )
    many["cluster"] = rng.integers(-1, 20, 10_000)
    assert ac.show(image, many).regions == 10_000
    assert len(ds9.lines()) == 10_000


def test_the_current_frame_and_settings(ds9):
    image, table = field(20)
    first = ac.show(image, table)
    again = ac.show(image, table[:5], frame="current", scale="log 99", colormap="viridis")
    assert (again.frame, again.regions, len(ds9.lines())) == (first.frame, 5, 5)
    assert (ds9.get("scale"), ds9.get("scale mode")) == ("log", "99")
    with pytest.raises(ac.ServiceError, match=r"refuses .cmap nonsense.: Unknown Colormap nonsense"):
        ac.show(image, colormap="nonsense")


def test_files_of_several_hdus(ds9, tmp_path):
    (data, wcs), table = field(10)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(data[:50, :60], name="SMALL")]
    fits.HDUList([*hdus, fits.CompImageHDU(data, wcs.to_header(), name="SCI")]).writeto(tmp_path / "all.fits")
    assert ac.show(tmp_path / "all.fits").centre is None
    assert ds9.get("fits size").split() == ["60", "50"]
    assert ac.show(tmp_path / "all.fits", table, hdu="SCI").regions == 10
    assert ds9.get("fits size").split() == ["512", "512"]


def test_an_image_without_coordinates(ds9):
    image, table = field(3)
    assert ac.show(image[0]).centre is None
    with pytest.raises(
        ac.ServiceError, match=r"has taken 0 of 3 regions: the image .* no celestial coordinates"
    ):
        ac.show(None, table)


def test_a_file_that_it_cannot_read(ds9, tmp_path, monkeypatch):
    """It says yes all the same."""
    image, _ = field(3)
    from astro_cluster.vo import display

    picture = display.picture_of(image)
    picture.path.write_text("not any more")
    monkeypatch.setattr(display, "picture_of", lambda *_: picture)
    with pytest.raises(ac.ServiceError, match="said yes to the image, but shows no image"):
        ac.show(image)


def test_it_is_killed(display, ds9_lock, require_program, samp_client, tmp_path, monkeypatch):
    """A DS9 that is gone, and one that hangs as behind a dialog."""
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{ds9_lock.as_uri()}")
    image, table = field(5)
    client = samp_client(ds9_lock)
    before = set(client.get_registered_clients())
    with programs.ds9(display, tmp_path, ds9_lock) as process:
        fresh = programs.wait_for(
            lambda: set(client.get_subscribed_clients("ds9.get")) - before, 60, "another DS9"
        )
        (name,) = fresh
        assert name in ac.show(image, table, to=name).program
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            os.killpg(process.pid, sign)
            start = time.monotonic()
            with pytest.raises(ac.ServiceError, match=r"SAOImageDS9 .* does not answer .*dialog"):
                ac.show(image, table, to=name, timeout=1)
            assert time.monotonic() - start < 15
