"""Where the positions of a table are."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable
from astropy.utils.masked import Masked

from astro_cluster import InputError
from astro_cluster.matching import crossmatch, find_position, sky_coord


def table_of(*names, **ucds):
    table = QTable({name: [1.0] for name in names})
    for name, ucd in ucds.items():
        table[name].info.meta = {"ucd": ucd}
    return table


@pytest.mark.parametrize(
    "names",
    [
        ("ra", "dec"),
        ("RA", "DEC"),
        ("RAJ2000", "DEJ2000"),
        ("RA_ICRS", "DE_ICRS"),
        ("_RA", "_DE"),
        ("l", "b"),
        ("GLON", "GLAT"),
        ("ra_deg", "dec_deg"),
    ],
)
def test_usual_names(names):
    assert find_position(table_of("flux", *names)) == names


def test_ucd_comes_before_the_name():
    table = table_of("ra", "dec", "x", "y", x="pos.eq.ra;meta.main", y="pos.eq.dec;meta.main")
    assert find_position(table) == ("x", "y")
    assert find_position(table_of("a", "d", a="pos.eq.ra", d="pos.eq.dec")) == ("a", "d")
    assert find_position(table_of("a", "d", a="POS_EQ_RA_MAIN", d="POS_EQ_DEC_MAIN")) == ("a", "d")


def test_an_ambiguous_ucd_leaves_it_to_the_name():
    table = table_of(
        "ra_b", "dec_b", "ra", "dec", ra_b="pos.eq.ra", ra="pos.eq.ra", dec="pos.eq.dec", dec_b="pos.eq.dec"
    )
    assert find_position(table) == ("ra", "dec")


def test_b1950_is_not_taken():
    table = table_of("RAB1950", "DEB1950", RAB1950="pos.eq.ra;meta.main", DEB1950="pos.eq.dec;meta.main")
    with pytest.raises(InputError, match="no columns that are known to be a position"):
        find_position(table)


def test_columns_of_an_earlier_match_are_not_the_position(catalogue):
    mine = QTable({"ra": catalogue["ra"].data, "dec": catalogue["dec"].data})
    matched = crossmatch(mine, catalogue, radius=1 * u.arcsec)
    assert matched["ra_2"].info.meta["ucd"] == "pos.eq.ra;meta.main"
    assert find_position(matched) == ("ra", "dec")


def test_given_by_hand():
    table = table_of("alpha", "delta")
    for given in (("alpha", "delta"), ["alpha", "delta"], "alpha,delta", "alpha, delta"):
        assert find_position(table, given) == ("alpha", "delta")
    with pytest.raises(InputError, match="did you mean 'alpha'"):
        find_position(table, ("alpa", "delta"))
    with pytest.raises(InputError, match="two columns of numbers or one SkyCoord"):
        find_position(table, "alpha")


def test_none_found_says_how_to_give_it():
    with pytest.raises(InputError, match=r'position=\("ra", "dec"\).*--position ra,dec.*flux'):
        find_position(table_of("flux"))


def test_sky_coord_column():
    table = QTable({"pos": SkyCoord([10, 20] * u.deg, [1, 2] * u.deg, frame="galactic"), "x": [1, 2]})
    names = find_position(table)
    assert names == ("pos",)
    coord, valid = sky_coord(table, names)
    assert coord.frame.name == "galactic"
    assert valid.all()


def test_units_masks_and_nan():
    ra = Masked([1.0, 2.0, 3.0, 4.0] * u.hourangle, mask=[False, True, False, False])
    table = QTable({"ra": ra, "dec": MaskedColumn([0, 0, 5, 0], mask=[False, False, False, True])})
    coord, valid = sky_coord(table, ("ra", "dec"))
    assert valid.tolist() == [True, False, True, False]
    assert coord[valid].ra.deg.tolist() == pytest.approx([15, 45])
    assert np.isnan(coord.ra.deg[1])
    assert sky_coord(QTable({"ra": [np.inf], "dec": [0.0]}), ("ra", "dec"))[1].tolist() == [False]


@pytest.mark.parametrize("names", [("l", "b"), ("GLON", "GLAT")])
def test_galactic_names(names):
    coord, _ = sky_coord(QTable({names[0]: [0.0], names[1]: [0.0]}), names)
    assert coord.icrs.dec.deg[0] == pytest.approx(-28.936, abs=1e-3)


def test_galactic_ucd():
    table = table_of("x", "y", x="pos.galactic.lon", y="pos.galactic.lat")
    assert sky_coord(table, find_position(table))[0].frame.name == "galactic"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Column(["12 30 11"]), "no plain numbers"),
        (Column([1.0], unit=u.Jy), "not an angle"),
        (Column([[1.0, 2.0]]), "no plain numbers"),
        (Column([720.0]), "beyond ±360 deg"),
    ],
)
def test_what_is_no_angle(column, message):
    with pytest.raises(InputError, match=message):
        sky_coord(QTable({"ra": column, "dec": [0.0]}), ("ra", "dec"))


def test_impossible_declinations_are_named():
    with pytest.raises(InputError, match=r"2 values .*'dec'.* 1 \(91\), 3 \(-200\)"):
        sky_coord(QTable({"ra": [0.0] * 4, "dec": [0.0, 91.0, np.nan, -200.0]}), ("ra", "dec"))


def test_ecliptic_is_refused():
    table = table_of("x", "y", x="pos.ecliptic.lon", y="pos.ecliptic.lat")
    with pytest.raises(InputError, match="ecliptic"):
        sky_coord(table, ("x", "y"))
