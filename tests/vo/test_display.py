from __future__ import annotations

import re
import stat
import threading
import time
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D
from astropy.table import QTable
from astropy.wcs import WCS
from pyvo.samp import SAMPIntegratedClient
from regions import CircleSkyRegion, Regions

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.vo.images import inside, picture_of

LOAD = "image.load.fits"


class Ds9:
    """A DS9 as far as SAMP sees it, which can be told to misbehave.

    It holds what the real one was seen to do: it says yes to a file that is not there, drops regions
    if there is no image, and answers nothing more after an error.
    """

    def __init__(self, folder, name="SAOImageDS9", **faults):
        self.orders, self.file, self.regions, self.frame, self._folder = [], "", [], 0, folder
        self.silent_to = faults.pop("silent_to", "nothing")
        self.blind = faults.pop("blind", False)
        self.forgets = faults.pop("forgets", 0)
        self.error = faults.pop("error", "")
        self.leaves_after = faults.pop("leaves_after", "")
        self.odd = faults.pop("odd", {})
        assert not faults
        self.client = SAMPIntegratedClient(name=name, addr="127.0.0.1")
        self.client.connect()
        for mtype in ("ds9.set", "ds9.get", LOAD):
            self.client.bind_receive_call(mtype, self._answer)

    def _answer(self, key, sender, message, mtype, params, extra):
        command = params.get("cmd", mtype)
        self.orders.append(f"{mtype} {command}" if mtype != LOAD else LOAD)
        if re.search(self.silent_to, command):
            return
        time.sleep(0.03)  # pyvo's hub loses an answer that comes at once
        if self.error and re.search(self.error, command):
            problem = {"samp.errortxt": f"Unknown {command}"}
            self.client.reply(message, {"samp.status": "samp.error", "samp.error": problem})
            return
        result = self._get(command) if mtype == "ds9.get" else self._set(command, params)
        self.client.reply(message, {"samp.status": "samp.ok", "samp.result": result})
        if command == self.leaves_after:
            threading.Thread(target=self.client.disconnect).start()

    def _set(self, command, params):
        url = params.get("url", "")
        if command == LOAD:
            self.frame += 1
            self.regions = []
            self._open(urlparse(url).path)
        elif command.startswith("fits "):
            self._open(command[5:])
        elif command == "regions":
            found = Regions.read(urlparse(url).path, format="ds9")
            self.regions += list(found)[self.forgets :]
        elif command == "regions delete all":
            self.regions = []
        return {}

    def _open(self, path):
        self.file = path if Path(path.partition("[")[0]).is_file() and not self.blind else ""

    def _get(self, command):
        if command in self.odd:
            return self.odd[command]
        if command.startswith("regions "):
            path = self._folder / f"ds9{len(self.orders)}.rgn"
            path.write_text("# Region file\nicrs\n" + "circle(1,2,3)\n" * len(self.regions))
            return {"url": f"file://localhost/{path}"}
        known = {"file": self.file, "frame": str(self.frame), "pan wcs icrs degrees": "10.5 -1.0"}
        return {"value": known.get(command, "yes")}


@pytest.fixture
def ds9(hub, tmp_path):
    """Return a function that connects a DS9."""
    connected = []
    (tmp_path / "ds9").mkdir()

    def connect(**how):
        connected.append(Ds9(tmp_path / "ds9", **how))
        return connected[-1]

    yield connect
    for one in connected:
        if one.client.is_connected:
            one.client.disconnect()


def wcs_at(lon=10.0, lat=0.0, pixel=0.01):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [lon, lat]
    wcs.wcs.crpix, wcs.wcs.cdelt = [50.5, 50.5], [-pixel, pixel]
    return wcs


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "field.fits"
    fits.PrimaryHDU(np.zeros((100, 100), "f4"), wcs_at().to_header()).writeto(path)
    return path


@pytest.fixture
def cat():
    ra, dec = [9.8, 10.0, 10.2, 10.0, 80.0], [0.0, 0.2, 0.0, -0.2, 3.0]
    return QTable({"ra": ra * u.deg, "dec": dec * u.deg, "cluster": [0, 0, 0, -1, 1]})


# ---------------------------------------------------------------- what is shown


def test_image_and_regions(ds9, image, cat):
    program = ds9()
    shown = ac.show(image, cat)
    assert (shown.file, shown.frame, shown.regions, shown.outside) == (str(image), "1", 4, 1)
    assert shown.program == f"SAOImageDS9 ({program.client.get_public_id()})"
    assert shown.centre.separation(SkyCoord(10.5 * u.deg, -1 * u.deg)).mas < 1e-3
    assert sorted({region.meta["tag"][0] for region in program.regions}) == ["cluster_0", "noise"]


def test_it_leaves(ds9, image):
    program = ds9()
    ac.show(image)
    others = [i for i in program.client.get_registered_clients() if i != "cli#hub"]
    assert others == []


def test_rows_outside(ds9, image, cat):
    ds9()
    assert ac.show(image, cat, inside=False).regions == 5
    with pytest.raises(ac.InputError, match=r"none of 1 positions lies in field.fits .*80.0000 3.0000"):
        ac.show(image, cat, rows=[4])


def test_hulls_are_those_of_whole_clusters(ds9, image, cat):
    cat["ra"][2] = 11 * u.deg  # outside
    program = ds9()
    shown = ac.show(image, cat, shape="hull")
    assert (shown.regions, shown.outside) == (1, 1)
    assert program.regions[0].vertices.ra.deg.max() == pytest.approx(11)


def test_rows_without_a_position_are_told_of_once(ds9, image, cat):
    ds9()
    cat["ra"][0] = np.nan
    with pytest.warns(ac.AstroClusterWarning, match="1 rows have no position") as caught:
        shown = ac.show(image, cat)
    assert len(caught) == 1
    assert (shown.regions, shown.outside) == (3, 1)


def test_regions_of_others(ds9, image, cat):
    program = ds9()
    mine = Regions([CircleSkyRegion(SkyCoord(50 * u.deg, 50 * u.deg), 1 * u.arcsec)])
    assert ac.show(image, regions=mine).regions == ac.show(image, regions=mine[0]).regions == 1
    assert ac.show(image, cat, regions=mine).regions == 5
    assert len(program.regions) == 5


def test_on_what_is_shown(ds9, cat):
    program = ds9()
    program.regions = [None] * 7
    assert ac.show(None, cat).regions == 5
    assert len(program.regions) == 12
    assert LOAD not in program.orders


def test_the_current_frame(ds9, image, cat):
    program = ds9()
    ac.show(image, cat)
    shown = ac.show(image, cat, frame="current")
    assert (shown.frame, shown.regions, len(program.regions)) == ("1", 4, 4)


def test_settings(ds9, image):
    program = ds9()
    ac.show(image, scale="log 99.5", colormap="viridis")
    ac.show(image, scale=99)
    orders = [order.removeprefix("ds9.set ") for order in program.orders if order.startswith("ds9.set")]
    assert orders == [
        "scale log",
        "scale mode 99.5",
        "cmap viridis",
        "zoom to fit",
        "scale mode 99",
        "zoom to fit",
    ]


# ---------------------------------------------------------------- images


def test_an_image_of_a_later_hdu(ds9, tmp_path):
    ds9()
    path = tmp_path / "several.fits"
    small, large = np.zeros((3, 4), "f4"), np.zeros((100, 100), "f4")
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(small, name="A"),
        fits.ImageHDU(large, wcs_at().to_header(), name="SCI"),
    ]
    fits.HDUList(hdus).writeto(path)
    assert ac.show(path).file == f"{path}[1]"
    assert ac.show(path, hdu="SCI").file == ac.show(path, hdu=2, frame="current").file == f"{path}[2]"
    for hdu in ("sky", 9):
        with pytest.raises(ac.InputError, match=rf"no HDU {hdu!r}; it has 0 PRIMARY, 1 A, 2 SCI"):
            ac.show(path, hdu=hdu)
    with pytest.raises(ac.InputError, match=r"HDU 0 of several\.fits is no image; images are 1, 2"):
        ac.show(path, hdu=0)


@pytest.mark.parametrize("name", ["a b.fits", "ä.fits", "x[1].fits", "$(ls).fits", "a;b {c}.fits", "-x.fits"])
def test_names_that_mean_something_to_ds9(ds9, image, tmp_path, name):
    program = ds9()
    path = image.rename(tmp_path / name)
    shown = ac.show(path)
    assert shown.file == program.file
    assert Path(shown.file).samefile(path)
    assert re.fullmatch(r"[A-Za-z0-9_./-]+\.fits", shown.file)


def in_memory():
    data, wcs = np.arange(10000.0).reshape(100, 100), wcs_at()
    yield "hdu", fits.ImageHDU(data, wcs.to_header())
    yield "hdus", fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, wcs.to_header())])
    yield "compressed", fits.CompImageHDU(data, wcs.to_header())
    yield "ccd", CCDData(data, wcs=wcs, unit="adu")
    yield "cutout", Cutout2D(np.tile(data, (2, 2)), (49.5, 49.5), 100, wcs=wcs)
    yield "array and wcs", (data, wcs)
    yield "quantity", (data * u.Jy, wcs)
    yield "whole numbers", (data.astype(np.int16), wcs)
    yield "half", (data.astype(np.float16), wcs)
    yield "bool", (data > 50, wcs)
    yield "masked", (np.ma.masked_less(data, 50), wcs)


@pytest.mark.parametrize("image", [pytest.param(image, id=name) for name, image in in_memory()])
def test_an_image_in_memory(ds9, image, cat):
    ds9()
    shown = ac.show(image, cat)
    assert shown.regions == 4
    path = Path(shown.file.partition("[")[0])
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    with fits.open(path) as hdus:
        assert hdus[-1].data.shape == (100, 100)


def test_an_array_alone(ds9, cat):
    ds9(odd={"frame has wcs celestial": {"value": "no"}})
    shown = ac.show(np.zeros((4, 5)))
    assert shown.centre is None
    with pytest.raises(ac.InputError, match=r"the image has no celestial coordinates"):
        ac.show(np.zeros((4, 5)), cat)


@pytest.mark.parametrize(
    "image", [3, np.zeros(4), np.array([["a"]]), np.zeros((0, 3)), (np.zeros((3, 3)), "x"), {}]
)
def test_what_is_no_image(image):
    with pytest.raises(ac.InputError, match="cannot show"):
        ac.show(image)


def test_a_file_that_is_none(tmp_path, image):
    with pytest.raises(ac.InputError, match=r"there is no file nothing\.fits"):
        ac.show("nothing.fits")
    (tmp_path / "text.fits").write_text("no image at all")
    with pytest.raises(ac.InputError, match="cannot be read as FITS"):
        ac.show(tmp_path / "text.fits")
    ac.write(QTable({"x": [1]}), tmp_path / "table.fits")
    with pytest.raises(ac.InputError, match="has no image of two dimensions"):
        ac.show(tmp_path / "table.fits")


def test_an_image_that_was_there_before(ds9, image):
    """An image of the same name proves nothing."""
    program = ds9()
    program.file, program.blind = str(image), False
    program._set = lambda command, params: {}
    with pytest.raises(ac.ServiceError, match=r"said yes to field\.fits, but shows .*field"):
        ac.show(image, timeout=1)


@pytest.mark.parametrize("projection", ["TAN", "CAR", "AIT", "SIN"])
@pytest.mark.parametrize("pixel", [0.01, 0.5])
def test_what_lies_inside(projection, pixel):
    wcs = wcs_at(0.0, 0.0, pixel)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    picture = picture_of((np.zeros((100, 100)), wcs))
    x, y = np.meshgrid(np.linspace(-20, 120, 57), np.linspace(-20, 120, 57))
    coord = SkyCoord.from_pixel(x, y, wcs).ravel()
    known = np.isfinite(coord.ra.deg)
    wanted = ((np.abs(x - 49.5) < 50) & (np.abs(y - 49.5) < 50)).ravel()
    assert np.array_equal(inside(picture, coord[known]), wanted[known])
    assert not inside(picture, SkyCoord([180, 179.9, 100] * u.deg, [0, 0.1, 80] * u.deg)).any()


def test_galactic_images(tmp_path):
    wcs = wcs_at()
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    centre = SkyCoord(10 * u.deg, 0 * u.deg, frame="galactic").icrs
    assert inside(picture_of((np.zeros((100, 100)), wcs)), centre.reshape(1)).all()


# ---------------------------------------------------------------- what goes wrong


def test_yes_to_an_image_that_it_cannot_read(ds9, image):
    ds9(blind=True)
    with pytest.raises(ac.ServiceError, match=r"said yes to field.fits, but shows no image"):
        ac.show(image, timeout=1)


@pytest.mark.parametrize(
    "command", [LOAD, "^file$", "^scale", "^regions$", "^regions -format", "^frame$", "^pan"]
)
def test_no_answer(ds9, image, cat, command):
    ds9(silent_to=command)
    start = time.monotonic()
    with pytest.raises(ac.ServiceError, match=r"does not answer \(.*no answer within 1 s.*a dialog"):
        ac.show(image, cat, timeout=1)
    assert time.monotonic() - start < 8


def test_it_leaves_in_between(ds9, image, cat):
    ds9(leaves_after="zoom to fit")
    with pytest.raises(ac.ServiceError, match=r"SAOImageDS9 .* does not answer"):
        ac.show(image, cat, timeout=2)


def test_regions_that_it_does_not_take(ds9, image, cat):
    ds9(forgets=2)
    with pytest.raises(ac.ServiceError, match="has taken 2 of 4 regions"):
        ac.show(image, cat)


def test_its_errors_are_told(ds9, image):
    ds9(error="cmap")
    with pytest.raises(ac.ServiceError, match=r"refuses \(cmap nonsense\): Unknown cmap nonsense"):
        ac.show(image, colormap="nonsense")


@pytest.mark.parametrize(
    "answer",
    [
        {"url": "http://example.org/x"},
        {"url": "file:///nowhere/at/all"},
        {"url": "file://example.org/etc/passwd"},
    ],
)
def test_answers_that_are_none(ds9, image, cat, answer):
    ds9(odd={"regions -format ds9 -system wcs -sky icrs -skyformat degrees": answer})
    with pytest.raises(ac.ServiceError, match="where there is no file"):
        ac.show(image, cat)


def test_two_of_them(ds9, image):
    first, second = ds9(), ds9()
    ids = [program.client.get_public_id() for program in (first, second)]
    with pytest.raises(
        ac.ServiceError, match=rf"2 programs called SAOImageDS9.*to='{ids[0]}' or to='{ids[1]}'"
    ):
        ac.show(image)
    assert ids[1] in ac.show(image, to=ids[1]).program
    assert (len(first.orders), second.frame) == (0, 1)


def test_nobody_is_there(ds9, receiver, image):
    receiver("topcat")
    with pytest.raises(
        ac.ServiceError, match=r"no DS9 called 'saoimageds9'.*connected: topcat \(is no DS9\)"
    ):
        ac.show(image)
    ds9(name="ds9 of mine")
    assert ac.show(image, to="DS9 of mine").frame == "1"


def test_no_hub(lockfile, image):
    with pytest.raises(ac.ServiceError, match="no SAMP hub is running"):
        ac.show(image)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"scale": "zscal"}, "scale='zscal' is not understood; did you mean 'zscale'"),
        ({"scale": "mode; exit"}, "is not understood"),
        ({"scale": "0"}, "is not understood"),
        ({"colormap": "grey; exit"}, "colormap='grey; exit' is not the name"),
        ({"regions": 3}, "regions= takes regions of the package regions, not a int"),
        ({"regions": ["circle(1,2,3)"]}, "not a str"),
        ({"frame": "old"}, "frame='old' is not known"),
        ({"timeout": 0}, "timeout=0"),
        ({"to": ""}, "to=''"),
        ({"shape": "hull"}, "shape go with a table"),
        ({"by": "x"}, "by go with a table"),
    ],
)
def test_what_is_wrong_is_said(image, how, words):
    with pytest.raises(ac.InputError, match=words):
        ac.show(image, **how)


def test_nothing_to_show():
    with pytest.raises(ac.InputError, match="there is nothing to show"):
        ac.show(None)


# ---------------------------------------------------------------- on the command line


def test_the_verb(ds9, image, cat, tmp_path, capsys):
    program = ds9()
    table = ac.write(cat, tmp_path / "cat.vot")
    with pytest.raises(SystemExit) as left:
        main(["show", str(image), str(table), "--shape", "hull", "--scale", "log 99", "--text", "name"])
    assert left.value.code == 0
    said = capsys.readouterr()
    assert said.out.startswith(
        f"SAOImageDS9 ({program.client.get_public_id()}) shows {image} in frame 1, with 1 "
    )
    assert "note: 1 rows lie outside the image (--all draws them)" in said.err
    with pytest.raises(SystemExit) as left:
        main(
            [
                "show",
                str(image),
                str(table),
                "--radius",
                "3arcsec",
                "--all",
                "--hdu",
                "0",
                "--frame",
                "current",
            ]
        )
    assert left.value.code == 0
    assert len(program.regions) == 5
    with pytest.raises(SystemExit) as left:
        main(["show", str(image), "--to", "topkat"])
    assert left.value.code == 1
    assert "no DS9 called 'topkat'" in capsys.readouterr().err
