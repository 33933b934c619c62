"""The spectrum in a file, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from astro_cluster.filing.guarding import unpacked_if_packed
from astro_cluster.filing.members import Item
from astro_cluster.spectra.fitsfile import Hdu, hdus_of
from astro_cluster.spectra.found import FoundSpectrum, NoSpectrum, Reading
from astro_cluster.spectra.onedimensional import image_spectrum
from astro_cluster.spectra.others import is_installed, specutils_spectrum
from astro_cluster.spectra.sdss import old_sdss_spectrum, sdss_spectrum
from astro_cluster.spectra.tabular import fits_table_spectrum, table_spectrum, text_spectrum
from astro_cluster.votable import read_votable

__all__ = ["spectrum_in"]

_FITS = b"SIMPLE  ="
_BY_KIND: tuple[Callable[[Sequence[Hdu], Reading], FoundSpectrum | None], ...] = (
    sdss_spectrum,
    old_sdss_spectrum,
    fits_table_spectrum,
    image_spectrum,
)


def spectrum_in(data: bytes, item: Item, reading: Reading, limit: int) -> FoundSpectrum:
    r"""Return the spectrum in a file.

    Parameters
    ----------
    data : bytes
        The whole file, packed or not.
    item : Item
        Where it is from.
    reading : Reading
        What is to be taken.
    limit : int
        Bytes that it may have, unpacked.

    Returns
    -------
    FoundSpectrum

    Raises
    ------
    ValueError
        If there is none; the message says why.

    Examples
    --------
    >>> from astro_cluster.filing.sources import Container
    >>> spectrum_in(b"4000 1\n4001 2", Item(Container("a.txt", "file")), Reading(), 1000).flux
    array([1., 2.])
    """
    data = unpacked_if_packed(data, limit)
    if not data.strip(b"\0 \n"):
        raise NoSpectrum("it is empty")
    path = item.container.path if item.container.kind == "file" else None
    if reading.format is not None:
        return specutils_spectrum(path, data, reading)
    if data[: len(_FITS)] == _FITS:
        return _in_fits(data, path, reading)
    if data.lstrip()[:5].lower() == b"<?xml" or data.lstrip()[:8].upper() == b"<VOTABLE":
        # Ours, for that of astropy follows what a document names: addresses of the network, other files.
        return table_spectrum(read_votable(data, max_bytes=limit)[0], reading)
    return text_spectrum(data, reading)


def _in_fits(data: bytes, path: str | None, reading: Reading) -> FoundSpectrum:
    hdus, damage = hdus_of(data)
    problem: ValueError | None = None
    for read in _BY_KIND if hdus else ():
        try:
            found = read(hdus, reading)
        except ValueError as error:
            problem = problem or error
            continue
        if found is not None:
            if damage and not found.note:
                found.note = f"{damage} behind its spectrum"
            return found
    if damage:
        raise NoSpectrum(str(problem) if problem and "cut short" in str(problem) else damage)
    problem = problem or NoSpectrum("no HDU of it has a spectrum")
    if not is_installed():
        raise problem
    try:
        return specutils_spectrum(path, data, reading)
    except NoSpectrum:
        raise problem from None
