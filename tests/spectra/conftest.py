"""Small files of spectra as surveys write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

UNIT = "1E-17 erg/cm^2/s/Ang"


def boss_file(
    path: Path,
    *,
    first: float = 3.55,
    n: int = 4600,
    plate: int = 4000,
    day: int = 55555,
    fibre: int = 7,
    redshift: float | None = 2.0,
    flux: np.ndarray | None = None,
    ivar: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    unit: str | None = UNIT,
    vacuum: bool | None = True,
    lower: bool = False,
    extra: dict[str, object] | None = None,
) -> np.ndarray:
    """Write a spec file as the pipeline of BOSS does; return its wavelengths."""
    loglam = (first + 1e-4 * np.arange(n)).astype(np.float32)
    wavelength = 10.0 ** loglam.astype(float)
    flux = wavelength / 1000.0 if flux is None else flux
    columns = {
        "FLUX": ("E", flux),
        "LOGLAM": ("E", loglam),
        "IVAR": ("E", np.full(n, 4.0) if ivar is None else ivar),
        "AND_MASK": ("J", np.zeros(n, int) if mask is None else mask),
        "OR_MASK": ("J", np.ones(n, int)),
        "MODEL": ("E", np.zeros(n)),
    }
    name = str.lower if lower else str.upper
    header = fits.Header({"PLATEID": plate, "MJD": day, "FIBERID": fibre, "EXPTIME": 4500.5})
    header["RA"], header["DEC"] = 1.0, 2.0  # where the telescope points
    header["PLUG_RA"], header["PLUG_DEC"] = 150.25, 2.5
    if unit is not None:
        header["BUNIT"] = unit
    if vacuum is not None:
        header["VACUUM"] = vacuum
    header.update(extra or {})
    hdus = [fits.PrimaryHDU(header=header)]
    hdus.append(
        fits.BinTableHDU.from_columns(
            [fits.Column(name(key), form, array=values) for key, (form, values) in columns.items()]
        )
    )
    if redshift is not None:
        known = [
            ("CLASS", "6A", ["QSO"]),
            ("Z", "E", [redshift]),
            ("ZWARNING", "J", [4]),
            ("Z_ERR", "E", [1e-4]),
        ]
        hdus.append(
            fits.BinTableHDU.from_columns([fits.Column(key, form, array=v) for key, form, v in known])
        )
    fits.HDUList(hdus).writeto(path)
    return wavelength


@pytest.fixture
def boss() -> Callable[..., np.ndarray]:
    """The function that writes a spec file."""
    return boss_file
