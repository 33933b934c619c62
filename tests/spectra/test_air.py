"""Wavelengths in vacuum and air, against specutils and the lines that have their names from air."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

import astro_cluster as ac
from astro_cluster.spectra.air import refraction_index, to_air, to_medium, to_vacuum

WAVELENGTHS = np.concatenate([np.linspace(2001, 12000, 3000), [17000.0, 25000.0]])


def test_to_air_as_specutils():
    from specutils.utils.wcs_utils import vac_to_air

    expected = vac_to_air(WAVELENGTHS * u.AA, method="Morton2000").value
    np.testing.assert_allclose(to_air(WAVELENGTHS), expected, rtol=1e-12)


def test_to_vacuum_as_specutils():
    from specutils.utils.wcs_utils import air_to_vac

    repeated = air_to_vac(WAVELENGTHS * u.AA, scheme="iteration", method="Morton2000").value
    np.testing.assert_allclose(to_vacuum(WAVELENGTHS), repeated, rtol=1e-12)
    fitted = air_to_vac(WAVELENGTHS * u.AA, scheme="Piskunov").value
    optical = WAVELENGTHS > 3000
    np.testing.assert_allclose(to_vacuum(WAVELENGTHS)[optical], fitted[optical], rtol=1e-9)


def test_other_formulae_are_as_near_as_is_said():
    from specutils.utils.wcs_utils import refraction_index as theirs

    optical = np.linspace(3000, 10000, 500)
    ciddor = theirs(optical * u.AA, method="Ciddor1996")
    assert 1e-9 < np.abs(refraction_index(optical) - ciddor).max() < 3e-8


def test_there_and_back():
    np.testing.assert_allclose(to_vacuum(to_air(WAVELENGTHS)), WAVELENGTHS, rtol=1e-14)
    np.testing.assert_allclose(to_air(to_vacuum(WAVELENGTHS)), WAVELENGTHS, rtol=1e-14)


# NIST: vacuum and air wavelengths of [O III], Hα and the Ca II triplet's middle line.
@pytest.mark.parametrize(("vacuum", "air"), [(5008.240, 5006.843), (6564.61, 6562.80), (8544.44, 8542.09)])
def test_known_lines(vacuum, air):
    assert abs(to_air(vacuum) - air) < 0.01


def test_the_far_ultraviolet_stays_in_vacuum():
    far = np.array([912.0, 1215.67, 1999.0])
    np.testing.assert_array_equal(to_vacuum(far), far)
    np.testing.assert_array_equal(to_air(far), far)
    assert (np.diff(to_vacuum(np.linspace(1900, 2100, 5000))) > 0).all()


def test_spectra_that_are_read_into_air_still_rise():
    # At 2000 Å wavelengths in air fall back by 0.6 Å, which must not cost the spectrum.
    from astro_cluster.spectra.found import FoundSpectrum
    from astro_cluster.spectra.preparing import Aim, prepared

    old = np.linspace(3600, 4400, 1000)
    done = prepared(FoundSpectrum(old, np.ones(1000)), Aim(frame="rest", medium="air"), 1.0)
    assert (np.diff(done.angstrom) > 0).all()
    assert done.flux.size > 990


def test_units_are_kept():
    found = to_medium([400.0, 800.0] * u.nm, "vacuum", "air")
    assert found.unit == u.nm
    np.testing.assert_allclose(found.to_value(u.AA), to_air([4000.0, 8000.0]), rtol=1e-12)
    np.testing.assert_array_equal(to_medium([4000.0], "air", "air"), [4000.0])
    np.testing.assert_array_equal(to_medium([4000.0], "air", "vacuum"), to_vacuum([4000.0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([4000.0], "vacuum", "water"), "to='water' is no medium"),
        (([4000.0], "Air", "air"), "from_='Air' is no medium"),
        (([4000.0] * u.kg, "vacuum", "air"), "must be numbers"),
        ((["blue"], "vacuum", "air"), "must be numbers"),
    ],
)
def test_what_is_no_wavelength(arguments, message):
    with pytest.raises(ac.InputError, match=message):
        to_medium(*arguments)
