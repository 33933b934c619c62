"""Show an image and regions in DS9, and make sure that it shows them."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from astro_cluster.exceptions import InputError, ServiceError, did_you_mean
from astro_cluster.tables import Source, as_qtable, beside
from astro_cluster.vo.groups import groups_of_rows, places_of
from astro_cluster.vo.hub import LEFT, Client, HubConnection, connect
from astro_cluster.vo.images import Picture, picture_of
from astro_cluster.vo.images import inside as lie_inside
from astro_cluster.vo.lockfile import NoHubError
from astro_cluster.vo.samp import outbox, seconds_of, wanted_of
from astro_cluster.vo.shapes import region_text, serialize

if TYPE_CHECKING:
    from astropy.units import Quantity
    from regions import Region, Regions

__all__ = ["Shown", "show"]

SET, GET, LOAD = "ds9.set", "ds9.get", "image.load.fits"
FRAMES = ("new", "current")
FUNCTIONS = ("linear", "log", "pow", "sqrt", "squared", "asinh", "sinh", "histequ")
LIMITS = ("minmax", "zscale", "zmax")
_POLL = 0.25
_SETTLE = 3.0  # seconds in which an image that DS9 has said yes to should be there
_MOST = 1 << 28  # bytes of an answer
# pyvo's hub loses an answer that comes too fast.  A question can be asked again; what an order has
# done is seen by asking.
_FIRST_TRY = 5.0
_REGION = re.compile(r"^(?:# ?)?[-+]?[a-z]+ ?\(", re.MULTILINE)
_LIST = "regions -format ds9 -system wcs -sky icrs -skyformat degrees"


@dataclass(frozen=True, slots=True)
class Shown:
    """What DS9 says that it shows.

    Parameters
    ----------
    program : str
        Its name and its identifier at the SAMP hub.
    file : str
        The file of the image.
    frame : str
        The number of the frame.
    regions : int
        How many regions of ours it has taken.
    outside : int
        How many rows were left out since they lie outside the image.
    centre : `~astropy.coordinates.SkyCoord` or None
        The middle of the display, if the image has celestial coordinates.
    """

    program: str
    file: str
    frame: str
    regions: int
    outside: int
    centre: SkyCoord | None


def show(
    image: Any,
    table: Source | None = None,
    *,
    by: str | None = None,
    regions: Regions | list[Region] | None = None,
    inside: bool = True,
    to: str = "ds9",
    frame: str = "new",
    hdu: int | str | None = None,
    scale: str | float | None = "zscale",
    colormap: str | None = None,
    timeout: Quantity | float = 60.0,
    start_hub: bool = False,
    **shapes: Any,
) -> Shown:
    """Show an image in DS9, the rows or clusters of a table on it, and make sure that it does.

    Parameters
    ----------
    image : path, HDU, CCDData, Cutout2D, array, tuple of array and WCS, or None
        What to show; None draws on the image that DS9 shows.
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path, optional
        A table with positions, whose regions are drawn.
    by : str, optional
        As for `regions`.
    regions : `~regions.Regions`, optional
        Drawn too, or instead.
    inside : bool, optional
        Draw only rows that lie in the image, and hulls of clusters that have a row there.
    to : str, optional
        ``"ds9"``, another name of a program as the hub shows it, or its identifier at the hub
        if several are open.
    frame : {"new", "current"}, optional
        Where to; the current frame's image and regions are replaced, unless ``image`` is None.
    hdu : int or str, optional
        Which HDU of a file; the first with an image if not given.
    scale : str, float or None, optional
        Limits of the display (minmax, zscale, zmax, or a percentage such as 99.5), a function
        (linear, log, pow, sqrt, squared, asinh, sinh, histequ) or both, ``"log zscale"``.  None
        leaves what is set.
    colormap : str, optional
        One that DS9 knows: grey, viridis, heat, …
    timeout : `~astropy.units.Quantity` [time] or float, optional
        Longest wait for each answer, in seconds if it has no unit.
    start_hub : bool, optional
        Run a SAMP hub in this process if there is none, and wait for DS9 to connect to it (it
        looks for a hub when it starts; later File > SAMP > Connect).
    **shapes
        Further parameters of `regions`: ``shape``, ``radius``, ``errors``, ``n_sigma``, ``fraction``,
        ``trim``, ``text``, ``position``, ``rows``.

    Returns
    -------
    Shown
        What DS9 has said when it was asked.

    Raises
    ------
    InputError
        If there is no image or no table, no row lies in the image, or a parameter makes no sense.
    ServiceError
        If there is no hub or no DS9, it does not answer, or shows something else.

    Notes
    -----
    DS9 says yes to a file that it cannot read, and drops regions without a word if the image has no
    coordinates; so it is asked which file it shows, and its regions are counted before and after.
    An error opens a dialog there, and until someone closes it DS9 answers nothing.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> ac.show("field.fits", "clustered.vot", shape="hull")  # doctest: +SKIP
    Shown(program='SAOImageDS9 (cli#2)', file='/data/field.fits', frame='1', regions=6, …)
    """
    seconds, wanted = seconds_of(timeout), wanted_of(to)
    settings = _settings(scale, colormap)
    if frame not in FRAMES:
        raise InputError(
            f"frame={frame!r} is not known{did_you_mean(frame, FRAMES)} It is 'new' or 'current'"
        )
    if image is None and table is None and regions is None:
        raise InputError("there is nothing to show: give an image, a table, or both")
    if table is None and (shapes or by is not None):
        raise InputError(f"{', '.join(['by'] * (by is not None) + list(shapes))} go with a table; give one")
    picture = None if image is None else picture_of(image, hdu)
    others = _others(regions)
    text, number, outside = "", 0, 0
    if regions is not None or table is not None:
        _check_coordinates(picture)
    if table is not None:
        text, number, outside = _of_table(as_qtable(table), picture, by, inside, shapes)
    if others:
        text, number = text + serialize(others), number + len(others)
    file = _region_file(text) if number else None
    with connect(seconds, start=start_hub) as hub:
        hub.declare("astro_cluster", "Groups in astronomical tables")
        ds9 = _Ds9(hub, _find(hub, wanted, wait=seconds if start_hub else 0.0), seconds)
        if picture is not None:
            ds9.load(picture, new=frame == "new")
            for command in settings:
                ds9.set(command)
        taken = ds9.draw(file, number) if file else 0
        return Shown(ds9.name, ds9.get("file"), ds9.get("frame"), taken, outside, ds9.centre())


# ---------------------------------------------------------------- what is sent


def _settings(scale: str | float | None, colormap: str | None) -> list[str]:
    """Return commands made of known words only."""
    commands = []
    for word in ("" if scale is None else str(scale)).split():
        if word in FUNCTIONS:
            commands.append(f"scale {word}")
        elif word in LIMITS or (re.fullmatch(r"\d{1,3}(\.\d{1,4})?", word) and 0 < float(word) <= 100):
            commands.append(f"scale mode {word}")
        else:
            known = (*LIMITS, *FUNCTIONS)
            raise InputError(
                f"scale={scale!r} is not understood{did_you_mean(word, known)} Give one of "
                f"{', '.join(known)}, or a percentage such as '99.5'"
            )
    if colormap is not None:
        if not (isinstance(colormap, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", colormap)):
            raise InputError(
                f"colormap={colormap!r} is not the name of a colour map, such as grey or viridis"
            )
        commands.append(f"cmap {colormap}")
    return [*commands, "zoom to fit"]


def _others(regions: Any) -> list[Region]:
    from regions import Region

    given = [] if regions is None else [regions] if isinstance(regions, Region) else regions
    try:
        found = list(given)
    except TypeError:
        found = [given]
    if alien := [one for one in found if not isinstance(one, Region)]:
        raise InputError(f"regions= takes regions of the package regions, not a {type(alien[0]).__name__}")
    return found


def _check_coordinates(picture: Picture | None) -> None:
    if picture is not None and picture.wcs is None:
        raise InputError(
            f"{picture.name} has no celestial coordinates (WCS): nothing can be drawn on it by position"
        )


def _of_table(
    table: Any, picture: Picture | None, by: str | None, only_inside: bool, shapes: dict[str, Any]
) -> tuple[str, int, int]:
    """Return the region file of a table, how many regions it has, and how many rows are left out."""
    if picture is None or not only_inside:
        return *region_text(table, by=by, **shapes), 0
    places = places_of(table, shapes.get("position"), shapes.get("rows"))
    here = np.zeros(len(table), dtype=bool)
    here[places.has] = lie_inside(picture, places.coord[places.has])
    if not here.any():
        first = places.coord[np.flatnonzero(places.has)[0]].to_string("decimal", precision=4)
        raise InputError(
            f"none of {int(places.has.sum()):,} positions lies in {picture.name} (the first is at {first} "
            "deg): is it the right image? inside=False (--all) draws them all the same"
        )
    outside = int((places.has & ~here).sum())
    if shapes.get("shape") == "hull":  # whole clusters, or the hull would be another one
        groups = [group.rows for group in groups_of_rows(table, by, places.has) if here[group.rows].any()]
        here = np.zeros(len(table), dtype=bool)
        here[np.concatenate(groups)] = True
        outside = int((places.has & ~here).sum())
    # Rows without a position stay, so that they are told of.
    return *region_text(table, by=by, **(shapes | {"rows": here | places.lost})), outside


def _region_file(text: str) -> Path:
    path = outbox() / f"{uuid.uuid4().hex[:12]}.reg"
    with beside(path, overwrite=False) as new:
        new.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- the program


def _find(hub: HubConnection, wanted: str, *, wait: float) -> Client:
    """Return the one DS9 that is meant."""
    end = time.monotonic() + wait
    while True:
        clients = hub.clients(SET)
        able = [client for client in clients if client.subscribed]
        meant = [c for c in able if wanted in (c.name.casefold(), c.identifier.casefold())]
        if len(meant) == 1:
            return meant[0]
        if meant:
            ids = " or ".join(f"to={client.identifier!r}" for client in meant)
            raise ServiceError(
                f"{len(meant)} programs called {meant[0].name} are connected to the SAMP hub: say which, "
                f"{ids}"
            )
        if time.monotonic() >= end:
            shown = ", ".join(c.name if c.subscribed else f"{c.name} (is no DS9)" for c in clients)
            raise ServiceError(
                f"no DS9 called {wanted!r} is connected to the SAMP hub; connected: {shown or 'nothing'}. "
                "Start DS9 when the hub (TOPCAT, say) runs already, or connect it with File > SAMP > Connect"
            )
        time.sleep(_POLL)


class _SilenceError(ServiceError):
    """A program does not answer."""


class _Ds9:
    """A DS9 that is asked after every order."""

    def __init__(self, hub: HubConnection, client: Client, seconds: float) -> None:
        self._hub, self._client, self._seconds = hub, client, seconds
        self.name = f"{client.name} ({client.identifier})"

    def _ask(self, mtype: str, params: dict[str, str], doing: str, *, again: bool = True) -> dict[str, Any]:
        first = min(_FIRST_TRY, self._seconds)
        rest = self._seconds - first
        tries = [first, rest] if again and rest > 0 else [self._seconds]
        while True:
            start, patience = time.monotonic(), tries.pop(0)
            try:
                answer = self._hub.ask(self._client, mtype, params, patience)
                break
            except NoHubError:
                raise
            except ServiceError as error:
                if tries and time.monotonic() - start >= patience:
                    continue
                raise _SilenceError(
                    f"{self.name} does not answer ({doing}): {error.reason}. It may show a dialog, which has "
                    "to be closed there, or have been closed itself"
                ) from error
        if answer.get("samp.status") == "samp.ok":
            result = answer.get("samp.result")
            return result if isinstance(result, dict) else {}
        error_text = answer.get("samp.error")
        text = error_text.get("samp.errortxt") if isinstance(error_text, dict) else None
        if text == LEFT:
            raise _SilenceError(f"{self.name} does not answer ({doing}): {LEFT}")
        raise ServiceError(f"{self.name} refuses ({doing}): {text or 'it gives no reason'}")

    def set(self, command: str) -> None:
        self._ask(SET, {"cmd": command}, command)

    def _order(self, mtype: str, params: dict[str, str], doing: str) -> _SilenceError | None:
        """Give an order that must not be given twice; return that there was no answer."""
        try:
            self._ask(mtype, params, doing, again=False)
        except _SilenceError as silence:
            return silence
        return None

    def get(self, command: str) -> str:
        result = self._ask(GET, {"cmd": command}, command)
        if "url" in result:
            return self._read(str(result["url"]))
        return str(result.get("value", "")).strip()

    def _read(self, url: str) -> str:
        """Read a long answer from the file that DS9 has put it into."""
        parts = urlparse(url)
        path = Path(unquote(parts.path))
        if parts.scheme != "file" or parts.hostname not in (None, "", "localhost") or not path.is_file():
            raise ServiceError(f"{self.name} answers with the address {url[:200]!r}, where there is no file")
        with path.open("rb") as file:
            text = file.read(_MOST + 1)
        if len(text) > _MOST:
            raise ServiceError(f"{self.name} answers with a file of more than {_MOST >> 20} MB")
        return text.decode("utf-8", "replace")

    def load(self, picture: Picture, *, new: bool) -> None:
        """Have an image shown, and make sure of it."""
        wanted, silence = picture.path.as_posix(), None
        # What was there before proves nothing, even if it is the same file.
        before = self.get("frame") if new and self._file() == wanted else None
        if new:
            url = f"{picture.path.as_uri()}{picture.extension}"
            silence = self._order(LOAD, {"url": url, "name": picture.path.name, "image-id": url}, LOAD)
        else:
            self.set("regions delete all")
            self.set(f"fits {wanted}{picture.extension}")
        end = time.monotonic() + min(_SETTLE, self._seconds)
        while (seen := self._file()) != wanted or (before is not None and self.get("frame") == before):
            if silence:
                raise silence
            if time.monotonic() > end:
                raise ServiceError(
                    f"{self.name} said yes to {picture.name}, but shows {seen or 'no image'}: it could not "
                    "read the file, or was told to show another one meanwhile"
                )
            time.sleep(_POLL)

    def _file(self) -> str:
        return self.get("file").partition("[")[0]

    def draw(self, file: Path, number: int) -> int:
        """Have regions drawn, and make sure of it."""
        before = self._count()
        silence = self._order(SET, {"cmd": "regions", "url": file.as_uri()}, "regions")
        taken = self._count() - before
        if taken != number and silence:
            raise silence
        if taken != number:
            bare = self.get("frame has wcs celestial") != "yes"
            reason = (
                "the image in its frame has no celestial coordinates"
                if bare
                else "DS9 leaves out what its image cannot hold, such as the far side of the sky; give the "
                "image, or only rows that lie there (rows=)"
            )
            raise ServiceError(f"{self.name} has taken {taken:,} of {number:,} regions: {reason}")
        return taken

    def _count(self) -> int:
        return len(_REGION.findall(self.get(_LIST)))

    def centre(self) -> SkyCoord | None:
        numbers = self.get("pan wcs icrs degrees").split()
        try:
            lon, lat = (float(number) for number in numbers)
            return (
                SkyCoord(lon * u.deg, lat * u.deg) if self.get("frame has wcs celestial") == "yes" else None
            )
        except ValueError:
            return None
