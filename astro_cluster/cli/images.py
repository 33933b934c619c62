"""The verb cutouts: image files, or stamps from a large image, to a table with an image a row."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import check_free, read, write
from astro_cluster.cli.options import (
    Output,
    Overwrite,
    OverwriteColumns,
    Position,
    angle_of,
    fail,
    names_of,
)
from astro_cluster.cli.printing import say

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["Colour", "Resize", "Scaling", "cutouts"]


class Resize(StrEnum):
    """How images come to one size."""

    AREA = "area"
    FLUX = "flux"
    LANCZOS = "lanczos"
    CROP = "crop"
    PAD = "pad"
    NONE = "none"


class Scaling(StrEnum):
    """How the brightness of an image becomes 0 to 1."""

    NONE = "none"
    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ASINH = "asinh"
    LOG = "log"
    ZSCALE = "zscale"


class Colour(StrEnum):
    """What becomes of channels."""

    AUTO = "auto"
    GREY = "grey"
    RGB = "rgb"


def cutouts(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="PNG, JPEG, TIFF, FITS files, tars and zips, folders, patterns; with --around a table."
        ),
    ],
    output: Output,
    size: Annotated[
        str | None,
        typer.Option(
            help="Of each image in pixels: 128 or 100x600 (height first); around a position 3arcsec too."
        ),
    ] = None,
    scale: Annotated[
        Scaling, typer.Option(help="How the brightness of each image becomes 0 to 1.")
    ] = Scaling.NONE,
    resize: Annotated[Resize, typer.Option(help="How images come to one size.")] = Resize.AREA,
    percentiles: Annotated[
        str | None, typer.Option(help="Limits of the scale, as 1,99: percentile, asinh, log.")
    ] = None,
    colour: Annotated[Colour, typer.Option(help="Keep channels, make grey or all three.")] = Colour.AUTO,
    pattern: Annotated[
        str | None, typer.Option(help="Identifiers in the names: '*z{redshift}_{source_id:d}_F*'.")
    ] = None,
    identifier: Annotated[str | None, typer.Option(help="Header key that identifies an image.")] = None,
    headers: Annotated[
        str | None, typer.Option(help="Header keys that become columns, by commas; all; RA,DEC by default.")
    ] = None,
    hdu: Annotated[str | None, typer.Option(help="Which HDU of FITS files.")] = None,
    plane: Annotated[int | None, typer.Option(help="Which plane of a cube, from 0.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Table of labels to put beside the images: CSV, VOTable, xlsx.")
    ] = None,
    labels_on: Annotated[
        str | None, typer.Option(help="Identifier to join the labels on, or identifier,column.")
    ] = None,
    around: Annotated[
        list[str] | None,
        typer.Option(help="Large FITS image to cut from around the table's positions; name=file of several."),
    ] = None,
    position: Position = None,
    quality: Annotated[bool, typer.Option(help="Measure gaps, edges, saturation, spikes.")] = True,
    saturation: Annotated[
        float | None, typer.Option(help="Brightness from which on a pixel is saturated.")
    ] = None,
    panels: Annotated[
        str | None, typer.Option(help="Stamps side by side in each image, for the quality: a number or auto.")
    ] = None,
    inverted: Annotated[
        bool, typer.Option("--inverted", help="Sources are darker than the sky, for the quality.")
    ] = False,
    detect: Annotated[bool, typer.Option("--detect", help="Count the sources in each image.")] = False,
    memmap: Annotated[
        Path | None, typer.Option(help="Keep the images in this .npy file, if they exceed the memory.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads to use; all cores by default.")] = None,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Make a table with an image a row of image files, or cut stamps around positions."""
    import astro_cluster as ac

    _check_output(output, memmap, overwrite)
    many = _panels(panels)
    if around:
        _only_for_files(
            scale is not Scaling.NONE, resize is not Resize.AREA, colour is not Colour.AUTO, percentiles,
            pattern, identifier, headers, plane, labels, labels_on, memmap,
        )  # fmt: skip
        table = ac.cutouts_from(
            _images_of(around),
            read([Path(source) for source in sources]),
            _size_around(size),
            position=names_of(position),
            hdu=_hdu(hdu),
            quality=quality and many == 1 and not inverted,
            saturation=saturation,
            n_jobs=threads,
            overwrite=overwrite_columns,
        )
        if quality and (many != 1 or inverted):  # stamps are measured as they are cut
            table = ac.image_quality(
                table,
                saturation=saturation,
                panels=many,
                inverted=inverted,
                n_jobs=threads,
                overwrite=overwrite_columns,
            )
        if detect:
            table = ac.image_sources(table, n_jobs=threads, overwrite=overwrite_columns)
    else:
        if position is not None:
            fail("--position is for --around; the images have their positions in their headers (--headers)")
        table = ac.read_cutouts(
            sources if len(sources) > 1 else sources[0],
            size=_size(size),
            resize=resize.value,
            scale=scale.value,
            percentiles=_percentiles(percentiles),
            colour=colour.value,
            pattern=pattern,
            identifier=identifier,
            hdu=_hdu(hdu),
            plane=plane,
            labels=labels,
            labels_on=names_of(labels_on),
            quality=quality,
            **({"saturation": saturation, "panels": many, "inverted": inverted} if quality else {}),
            detect=detect,
            memmap=memmap,
            overwrite=overwrite,
            n_jobs=threads,
            **({} if headers is None else {"headers": _keys(headers)}),
        )
    write(table, output, overwrite)
    _print_images(table)


# ---------------------------------------------------------------- what options mean


def _check_output(output: Path, memmap: Path | None, overwrite: bool) -> None:
    """Refuse before the work to write where that cannot be, the file of the images included."""
    from astro_cluster.leaving import keeps_inside, place_beside
    from astro_cluster.linked import IMAGES

    images = None if keeps_inside(output) else place_beside(output, IMAGES)
    check_free(overwrite, output=output, images=images)
    if memmap is not None and memmap.exists() and not overwrite:
        fail(f"{memmap} exists already; give --overwrite to replace it")


def _only_for_files(*given: Any) -> None:
    """Refuse options that have no meaning for stamps."""
    names = (
        "scale", "resize", "colour", "percentiles", "pattern", "identifier", "headers", "plane", "labels",
        "labels-on", "memmap",
    )  # fmt: skip
    wrong = [f"--{name}" for name, value in zip(names, given, strict=True) if value not in (None, False)]
    if wrong:
        fail(f"{', '.join(wrong)}: for image files, not for stamps around positions (--around)")


def _size(text: str | None) -> int | tuple[int, int] | None:
    """Return the pixels that a text means.

    Parameters
    ----------
    text : str or None
        ``128`` or ``100x600``, the height first.

    Returns
    -------
    int, (int, int) or None

    Examples
    --------
    >>> _size("128"), _size("100x600")
    (128, (100, 600))
    """
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        fail(f"--size {text} is no size; give pixels, 128 or 100x600 (height first)")
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _size_around(text: str | None) -> Any:
    """Return the pixels or the angle of a stamp."""
    if text is None:
        fail("--around needs the size of the stamps: --size 64 (pixels) or --size 3arcsec")
    plain = text.lower().replace("×", "x").replace("x", "")  # type: ignore[union-attr]
    return _size(text) if plain.strip().isdecimal() else angle_of(str(text))


def _images_of(texts: list[str]) -> Any:
    """Return the images to cut from: one, several, or several by name.

    Parameters
    ----------
    texts : list of str
        Paths, or name=path.

    Returns
    -------
    str, list of str or dict of str to str

    Examples
    --------
    >>> _images_of(["field.fits"]), _images_of(["F115W=a.fits", "F444W=b.fits"])
    ('field.fits', {'F115W': 'a.fits', 'F444W': 'b.fits'})
    """
    named = [text.partition("=") for text in texts]
    if not any(separator for _, separator, _ in named) or any(Path(text).exists() for text in texts):
        return texts if len(texts) > 1 else texts[0]
    if not all(name and path for name, _, path in named):
        fail("--around names some of the images and not others; give name=file for each, or files only")
    found = {name: path for name, _, path in named}
    if len(found) < len(named):
        fail("--around gives two images the same name")
    return found


def _percentiles(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        fail(f"--percentiles {text} should be two numbers, such as 1,99")
    return low, high


def _keys(text: str) -> Any:
    """Return header keys; none of them for ``none``."""
    if text.strip().lower() in ("none", ""):
        return None
    return "all" if text.strip().lower() == "all" else [key.strip() for key in text.split(",")]


def _hdu(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.strip().isdecimal() else text


def _panels(text: str | None) -> int | str:
    if text is None:
        return 1
    if text != "auto" and not (text.isdecimal() and int(text) > 0):
        fail(f"--panels {text} is no number of stamps; give one, or auto")
    return "auto" if text == "auto" else int(text)


# ---------------------------------------------------------------- what is printed

_WORTH_TELLING = (
    ("zero_fraction", lambda values: values > 0, "have pixels that are exactly 0 (zero_fraction)"),
    ("nan_fraction", lambda values: values > 0, "have missing pixels (nan_fraction)"),
    ("saturated_fraction", lambda values: values > 0, "have saturated pixels (saturated_fraction)"),
    ("edge_asymmetry", lambda values: values > 0.5, "may be cut by an edge (edge_asymmetry above 0.5)"),
    ("peak_offset", lambda values: values > 0.5, "are brightest off the middle (peak_offset above 0.5)"),
)


def _print_images(table: QTable) -> None:
    """Say what images there are, and which of them may be bad."""
    import numpy as np

    from astro_cluster.cutouts.stack import image_column

    images = table[image_column(table)]
    n, bad = len(table), int(np.sum(np.asarray(table["image_bad"])))
    shape = " × ".join(map(str, images.shape[1:]))
    say(f"  {n:,} image{'s' * (n != 1)} of {shape} pixels, {images.dtype.name}; {bad:,} cannot be used")
    if "image_partial" in table.colnames:
        partial = int(np.ma.filled(np.ma.asarray(table["image_partial"]), False).sum())
        say(f"  {partial:,} reach beyond the image (image_partial)")
    for name, is_worth, what in _WORTH_TELLING:
        if name in table.colnames:
            values = np.ma.filled(np.ma.asarray(table[name]).astype(float), np.nan)
            if count := int(np.sum(is_worth(np.nan_to_num(values)))):
                say(f"  {count:,} {what}")
