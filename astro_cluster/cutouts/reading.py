"""Image files to a table with an image a row."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, QTable, Table
from astropy.utils.masked import Masked

from astro_cluster.columns import REGISTRY, add_column
from astro_cluster.cutouts.decoding import Decoder
from astro_cluster.cutouts.detecting import DETECTIONS, add_detections
from astro_cluster.cutouts.filling import Filled, Plan, fill, planned, quiet, stack_for, surveyed
from astro_cluster.cutouts.measuring import Measures
from astro_cluster.cutouts.quality import QUALITIES, add_quality_columns
from astro_cluster.cutouts.shaping import COLOURS, RESIZINGS, check_word, size_of
from astro_cluster.cutouts.stretching import SCALINGS, check_percentiles
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.filing.headers import HeaderColumn, column_of, header_columns, wanted_keys
from astro_cluster.filing.labels import Joined, joined
from astro_cluster.filing.members import Item
from astro_cluster.filing.naming import Pattern, stem_of
from astro_cluster.filing.sources import containers_of, printable
from astro_cluster.provenance import OMIT, Step, content_hash, step
from astro_cluster.threads import available_threads

__all__ = ["add_images", "read_cutouts"]

_SHOWN = 5  # names in a message
_KEPT = 1000  # names in the record

PathLike = str | os.PathLike[str]


@step
def read_cutouts(
    source: PathLike | Sequence[PathLike],
    *,
    size: int | tuple[int, int] | None = None,
    resize: str = "area",
    scale: str = "none",
    percentiles: tuple[float, float] | None = None,
    colour: str = "auto",
    pattern: str | None = None,
    identifier: str | None = None,
    headers: str | Sequence[str] | None = ("RA", "DEC"),
    hdu: int | str | None = None,
    plane: int | None = None,
    labels: PathLike | Table | None = None,
    labels_on: str | tuple[str, str] | None = None,
    quality: bool = True,
    saturation: float | None = None,
    panels: int | str = 1,
    inverted: bool = False,
    detect: bool = False,
    memmap: PathLike | None = None,
    overwrite: bool = False,
    n_jobs: int | None = None,
) -> Step:
    """Read image files into a table with an image a row.

    Parameters
    ----------
    source : str, path or list of these
        PNG, JPEG, TIFF and FITS files (``.fz``, ``.gz``, ``.bz2`` and ``.xz`` too), tars (packed ones too)
        and zips of them, folders (with what is below them) and patterns such as ``"sci/*.tar"``.  Archives
        are read as they are, and nothing is unpacked to disk.
    size : int or (int, int), optional
        Height and width of all images; one number for a square.  If not given, images of one size keep it.
    resize : {"area", "flux", "lanczos", "crop", "pad", "none"}, optional
        The exact mean over the area of each new pixel; the sum, so that the total flux stays the same;
        the Lanczos filter of Pillow; or the middle of the image, cut out or with NaN around it (``size``
        is then that of the smallest, or of the largest, image if not given).
    scale : {"none", "minmax", "percentile", "asinh", "log", "zscale"}, optional
        How the brightness of each image becomes 0 … 1, after resizing; see `stretched`.
    percentiles : (float, float), optional
        Limits for the scalings ``"percentile"`` (1 and 99 if not given), ``"asinh"`` and ``"log"``.
    colour : {"auto", "grey", "rgb"}, optional
        Make all images grey, by the mean of their channels, or give all three channels; ``"auto"`` does
        so only where some images are grey and others are not: then the grey value stands in each channel.
    pattern : str, optional
        Identifiers in the names of the files, such as ``"*z{redshift}_{source_id:d}_F*"``; see
        `~astro_cluster.filing.naming.Pattern`.  Each becomes a column.
    identifier : str, optional
        Header key that identifies an image; it becomes a column too.
    headers : str or sequence of str, optional
        Header keys that become columns, their names in small letters; ``"all"`` for all, None for none.
        ``RA`` and ``DEC``, in degrees, are taken if they are there.
    hdu : int or str, optional
        Number or name of the HDU of FITS files; the first one with an image if not given.
    plane : int, optional
        Plane of a FITS cube (page of a TIFF, colour of a picture), from 0; if not given, the planes are
        the channels.
    labels : str, path or `~astropy.table.Table`, optional
        A table (CSV, ECSV, VOTable, FITS, Parquet or the first sheet of an ``.xlsx`` file) whose other
        columns are put beside the images that they belong to.
    labels_on : str or (str, str), optional
        Identifier of the images and column of the labels that are to be the same; if not given, the one
        name that both have, else the names of the files.
    quality : bool, optional
        Measure the original pixels as `image_quality` does.
    saturation : float, optional
        Brightness from which on a pixel is saturated, for the quality.
    panels : int or "auto", optional
        Number of stamps that stand side by side in each image, for the quality; see `image_quality`.
        Where they stand is told from some of the images of each size.
    inverted : bool, optional
        Sources are darker than the sky, for the quality.
    detect : bool, optional
        Count the sources in each original image, by photutils.
    memmap : str or path, optional
        A ``.npy`` file that the images are kept in, for more than fit into memory.
    overwrite : bool, optional
        Replace an existing ``.npy`` file.
    n_jobs : int, optional
        Threads; as many as cores (or OMP_NUM_THREADS) if not given, or -1 for all cores.  The result
        is the same.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each image, in the natural order of the names: ``source_file`` and ``member``, the
        identifiers, header keys and labels, ``original_height`` and ``original_width``, the measures of
        quality, ``image_bad`` and ``image``: (n, h, w) or (n, h, w, c), float32 with NaN for missing
        pixels; uint8 if all files have 8 bits and nothing asks for more.  An image that cannot be read has
        ``image_bad`` set, NaN (0 in uint8) for pixels and what would come from its pixels or header masked.

    Raises
    ------
    InputError
        If there are no images, none can be read, sizes differ and ``size`` is not given, or a parameter
        is wrong.

    Warns
    -----
    AstroClusterWarning
        Which images cannot be read, and why; what of an archive is left out; which labels have no image.

    Notes
    -----
    Files are read twice: first their headers, then, by threads, their pixels, each image straight into its
    place in one array.

    Examples
    --------
    >>> from PIL import Image
    >>> folder = getfixture("tmp_path")
    >>> for i in (2, 10):
    ...     Image.new("L", (8, 6), 20 * i).save(folder / f"field_{i}.png")
    >>> images = read_cutouts(folder, size=(3, 4), pattern="*_{source_id:d}")
    >>> images["source_id"].tolist(), images["image"].shape, images["image"][1, 0, 0]
    ([2, 10], (2, 3, 4), np.uint8(200))
    """
    for what, word, allowed in (
        ("resize", resize, RESIZINGS),
        ("scale", scale, SCALINGS),
        ("colour", colour, COLOURS),
    ):
        check_word(what, word, allowed)
    wanted_size, limits = size_of(size), check_percentiles(percentiles, scale)
    names = None if pattern is None else Pattern(pattern)
    keys = wanted_keys(headers)
    key = _identifier_key(identifier)
    threads = _threads(n_jobs)
    hdu, plane = _number_of_hdu(hdu), _plane(plane)
    _check_file(memmap, overwrite=overwrite)
    wanted = Measures(quality, detect, saturation, panels, inverted)
    wanted.check()

    containers, notes = containers_of(source)
    decoder = Decoder(hdu, plane, keys if keys is None or key is None else tuple(dict.fromkeys((*keys, key))))
    with quiet():
        found = surveyed(containers, decoder, threads)
        items = found.items
        notes += found.notes
        _check_any(items, notes)
        plan, more = planned(
            items, size=wanted_size, resize=resize, scale=scale, percentiles=limits, colour=colour
        )
        notes += more
    # What can be wrong about names, headers and labels is said before the slow part.
    table = _table_of(items, containers)
    texts = _identify(table, items, names, keys, key)
    label = joined(texts, labels, labels_on) if labels is not None else Joined()
    _add_labels(table, label)
    with stack_for(len(items), plan, memmap, overwrite=overwrite) as stack:
        with quiet():
            measure = wanted.of_image(items, decoder)
            filled = fill(items, plan, decoder, stack, measure=measure, threads=threads)
        _check_any(items, notes)
    bad = np.array([bool(item.problem) for item in items])
    _add_measures(table, items, filled, bad)
    add_images(table, filled.stack, bad, how=_how(plan, size=wanted_size))
    _warn(items, [*notes, label.warning] if label.warning else notes)
    facts = {
        "repeatable": True,
        "files": _files(items),
        "image_shape": list(plan.shape),
        "image_dtype": str(plan.dtype),
    }
    facts |= {"labels_joined": {**label.facts, **_origin(labels)}} if label.facts else {}
    # Where the images are kept and how many threads there are changes nothing.
    left_out = dict.fromkeys(("memmap", "overwrite", "n_jobs"), OMIT)
    inputs = [name for name in table.colnames if name != "image"]
    return Step(table, inputs=inputs, facts=facts, parameters={**left_out, "source": _recorded(source)})


# ---------------------------------------------------------------- what was asked for


def _identifier_key(identifier: Any) -> str | None:
    if identifier is None:
        return None
    if not isinstance(identifier, str) or not identifier.strip():
        raise InputError(
            f"identifier={identifier!r} is no name of a header key such as 'OBJECT'; "
            "of names of files give pattern="
        )
    return identifier.strip().upper()


def _threads(n_jobs: Any) -> int:
    if n_jobs is None:
        return available_threads()
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or (n_jobs < 1 and n_jobs != -1):
        raise InputError(f"n_jobs={n_jobs!r} is no number of threads; give 1 or more, or -1 for all cores")
    return int(n_jobs) if n_jobs > 0 else os.cpu_count() or 1


def _number_of_hdu(hdu: Any) -> int | str | None:
    if hdu is None or (isinstance(hdu, str) and not hdu.strip().isdecimal()):
        return hdu
    try:
        number = int(hdu)
    except (TypeError, ValueError):
        number = -1
    if number < 0 or isinstance(hdu, (bool, float)):
        raise InputError(f"hdu={hdu!r} is neither the number of an HDU, from 0, nor its name")
    return number


def _plane(plane: Any) -> int | None:
    if plane is None:
        return None
    if isinstance(plane, bool) or not isinstance(plane, (int, np.integer)):
        raise InputError(f"plane={plane!r} is no whole number; planes are counted from 0")
    return int(plane)


def _check_file(memmap: Any, *, overwrite: bool) -> None:
    """Make sure, before the slow part, that the file of images can be written."""
    if memmap is None:
        return
    path = Path(memmap)
    if path.suffix != ".npy":
        raise InputError(f"memmap={os.fspath(memmap)!r} has to end in .npy")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give overwrite=True (--overwrite) to replace it")


def _recorded(source: Any) -> Any:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return [_recorded(one) for one in source]


# ---------------------------------------------------------------- columns


def _table_of(items: Sequence[Item], containers: Sequence[Any]) -> QTable:
    """Return a table of the names of files, and of members if there are archives."""
    table = QTable()
    add_column(table, "source_file", np.array([printable(item.container.path) for item in items]))
    if any(container.kind != "file" for container in containers):
        members = np.array([printable(item.member) for item in items])
        add_column(table, "member", members, mask=members == "")
    return table


def _identify(
    table: QTable,
    items: Sequence[Item],
    pattern: Pattern | None,
    keys: tuple[str, ...] | None,
    key: str | None,
) -> dict[str, Any]:
    """Add identifiers and header keys to the table; return what labels may be joined on."""
    texts: dict[str, Any] = {"": np.ma.array([stem_of(printable(item.name)) for item in items])}
    if pattern is not None:
        found = pattern.columns([printable(item.name) for item in items])
        _check_names(table, found, "pattern")
        for name, values in found.items():
            mask = np.ma.getmaskarray(values)
            add_column(table, "image_identifier", values.data, mask=mask, name=name, pattern=pattern.text)
            texts[name] = values
        _judge_names(items, found, pattern)
    found_headers = [None if item.look is None else item.look.header for item in items]
    columns = []
    if key is not None:
        columns = header_columns(found_headers, [key])
        texts[columns[0].name] = columns[0].values
        columns[0].ucd = "meta.id"
    taken = set(table.colnames) | _OURS | {column.name for column in columns}
    for column in header_columns(found_headers, keys):
        if column.key != key:
            if column.name in taken:  # as an identifier of the pattern, say
                column = column_of(found_headers, column.key, taken)
            columns.append(column)
    _check_names(table, [column.name for column in columns], "identifier")
    for column in columns:
        _add_header(table, column)
    return texts


_OURS = {"image", "image_bad", "image_row", "member", "source_file", "original_height", "original_width"}
_OURS |= {*QUALITIES, *DETECTIONS}


def _check_names(table: QTable, names: Any, what: str) -> None:
    for name in names:
        if name in _OURS or name in table.colnames:
            raise InputError(
                f"{what} makes a column {name!r}, which is a name of ours or is there already; "
                "use another one"
            )


def _judge_names(items: Sequence[Item], found: dict[str, np.ma.MaskedArray], pattern: Pattern) -> None:
    """Say which names do not fit the pattern; none at all is an error."""
    missing = np.flatnonzero(np.ma.getmaskarray(next(iter(found.values()))))
    if len(missing) == len(items):
        raise InputError(
            f"no name fits pattern={pattern.text!r}; the first is {stem_of(items[0].name)!r}. "
            "* stands for any text, and the ending of the file may be left out"
        )
    if missing.size:
        names = _first([printable(items[i].name) for i in missing])
        warnings.warn(
            f"{missing.size} of {len(items)} names do not fit pattern={pattern.text!r} "
            f"and have no identifier: {names}",
            AstroClusterWarning,
            stacklevel=5,
        )


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _add_header(table: QTable, column: HeaderColumn) -> None:
    mask = np.ma.getmaskarray(column.values)
    add_column(table, "image_header", column.values.data, mask=mask, name=column.name, word=column.key)
    if column.unit:
        quantity = u.Quantity(column.values.data, column.unit, dtype=float)
        info = table[column.name].info
        description, meta = info.description, info.meta
        table.replace_column(column.name, Masked(quantity, mask=mask) if mask.any() else quantity)
        table[column.name].info.description, table[column.name].info.meta = description, meta
    table[column.name].info.meta = {"ucd": column.ucd}


def _add_labels(table: QTable, label: Joined) -> None:
    for name, column in label.columns.items():
        is_taken = name in table.colnames or name in _OURS
        table[f"label_{name}" if is_taken else name] = column


def _add_measures(table: QTable, items: Sequence[Item], filled: Filled, bad: np.ndarray) -> None:
    looks = [None if item.problem else item.look for item in items]
    for name, values in (
        ("original_height", [0 if look is None else look.height for look in looks]),
        ("original_width", [0 if look is None else look.width for look in looks]),
    ):
        add_column(table, name, np.array(values, dtype=np.int64), mask=bad)
    found = {name: filled.measures[name] for name in QUALITIES if name in filled.measures}
    add_quality_columns(table, found, bad)
    if "n_sources" in filled.measures:
        add_detections(table, filled.measures, bad)


def add_images(table: QTable, stack: np.ndarray, bad: np.ndarray, *, how: str = "as they are") -> None:
    """Add images to a table, in place and without a copy of them.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    stack : (n, h, w) or (n, h, w, c) array
        Images; it may be a memory map.
    bad : (n,) array of bool
        Rows whose image could not be read.
    how : str, optional
        What was done to the images, for the description.

    Examples
    --------
    >>> table, stack = QTable(), np.zeros((2, 3, 3), dtype=np.float32)
    >>> add_images(table, stack, np.array([False, True]))
    >>> np.shares_memory(table["image"], stack), table["image_bad"].tolist()
    (True, [False, True])
    """
    add_column(table, "image_bad", bad)
    spec = REGISTRY["image"]
    column = Column(stack, name="image", copy=False, description=spec.description.format(how=how))
    column.meta["ucd"] = spec.ucd
    table.add_column(column, copy=False)


def _how(plan: Plan, *, size: tuple[int, int] | None) -> str:
    told = "as in the files" if size is None else f"{size[0]} × {size[1]} by {plan.resize}"
    return f"{told}, scaled by {plan.scale}" if plan.scale != "none" else told


# ---------------------------------------------------------------- what is said and recorded


def _check_any(items: Sequence[Item], notes: Sequence[str]) -> None:
    """Make sure that there is at least one image to go on with."""
    if any(not item.problem for item in items):
        return
    told = [f"{item.full_name} ({item.problem})" for item in items]
    if not items:
        raise InputError(f"there is no image: {'; '.join(notes) or 'nothing was found'}")
    n = len(items)
    raise InputError(f"none of {n} image{'s' * (n > 1)} can be read: {_first(told)}")


def _warn(items: Sequence[Item], notes: Sequence[str]) -> None:
    broken = [f"{item.full_name} ({item.problem})" for item in items if item.problem]
    if broken:
        warnings.warn(
            f"{len(broken)} of {len(items)} images cannot be read, and image_bad is set: {_first(broken)}",
            AstroClusterWarning,
            stacklevel=4,
        )
    for note in notes:
        warnings.warn(note, AstroClusterWarning, stacklevel=4)


def _files(items: Sequence[Item]) -> dict[str, Any]:
    """Return which files there were, for the record."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.full_name}\0{item.size}\0".encode())
    broken = [[item.full_name, item.problem] for item in items if item.problem]
    return {
        "images": len(items),
        "archives": len({item.container.path for item in items if item.container.kind != "file"}),
        "bytes": sum(item.size for item in items),
        "hash": f"sha256:{digest.hexdigest()}",
        "broken": len(broken),
        "broken_names": broken[:_KEPT],
    }


def _origin(labels: Any) -> dict[str, Any]:
    """Return where the labels came from, and what was in them."""
    if isinstance(labels, (str, os.PathLike)):
        return {"path": os.fspath(labels), "hash": _hash_of(Path(labels))}
    return {"hash": content_hash(labels)} if isinstance(labels, Table) else {}


def _hash_of(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
