"""How far to look for counterparts: the curve, the rule, the figure and the record."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

import astro_cluster as ac
from astro_cluster import InputError

RADII = np.geomspace(0.1, 6, 20) * u.arcsec


@pytest.fixture(scope="module")
def pair(skies):
    return skies(1, others=12_000)


@pytest.fixture(scope="module")
def curve(pair):
    return ac.choose_radius(*pair, radii=RADII)


def test_the_numbers_are_those_of_the_matches(pair, curve):
    local, reference = pair
    assert np.allclose(curve["radius"], RADII)
    for row in (3, 12, 19):
        out = ac.crossmatch(local, reference, radius=RADII[row], columns=["number"])
        matched = ~np.broadcast_to(out["match_separation"].mask, len(out))
        assert curve["matched"][row] == matched.sum()
        wrong = (out["number"] != out["true"])[matched].sum()
        assert abs(curve["false"][row] - wrong) < 4 * curve["false_spread"][row] + 2
        told = ac.records(out)[-1]["false_matches"]
        assert curve["false"][row] == pytest.approx(told["expected"], rel=0.1, abs=1)
    assert np.allclose(curve["true"], curve["matched"] - curve["false"])
    assert np.allclose(curve["false_spread"] ** 2, curve["false"])
    assert np.allclose(curve["false_fraction"] * curve["matched"], curve["false"])
    assert np.max(curve["completeness"]) == 1
    assert np.all(np.diff(curve["matched"]) >= 0)
    assert np.allclose(curve["false_by_shift"], curve["false_by_density"], rtol=0.15, atol=5)


def test_units_and_ucds(curve, tmp_path):
    assert curve["radius"].unit == u.arcsec
    assert curve["matched"].info.meta == {"ucd": "meta.number"}
    back = ac.read(ac.write(curve, tmp_path / "curve.vot"))
    assert back.colnames == curve.colnames
    assert back.meta["radius"] == curve.meta["radius"]


def test_the_preferred_radius_is_good(pair, curve):
    """No other radius has many more rows right; errors of 0.45 arcsec, a crowd of 13 an arcmin²."""
    local, reference = pair

    def right(radius):
        out = ac.crossmatch(local, reference, radius=radius, columns=["number"])
        found = np.ma.filled(np.ma.asarray(out["number"]), -1)
        return np.mean(found == np.asarray(local["true"]))

    best = max(right(radius) for radius in RADII)
    assert right(curve.meta["radius"] * u.arcsec) > best - 0.02
    assert 0.8 < curve.meta["radius"] < 2.5
    assert curve.meta["verdict"].startswith(f"{curve.meta['radius']:.4g} arcsec: ")


def test_a_share_of_false_ones(pair):
    strict, loose = (ac.choose_radius(*pair, radii=RADII, max_false=share) for share in (0.01, 0.1))
    assert strict.meta["radius"] < loose.meta["radius"]
    for found, share in ((strict, 0.01), (loose, 0.1)):
        fine = found["false_fraction"] <= share
        assert found.meta["radius"] == pytest.approx(found["radius"][fine][-1].value)
    with pytest.warns(ac.AstroClusterWarning, match="no radius has at most 1e-09"):
        none = ac.choose_radius(*pair, radii=RADII, max_false=1e-9)
    assert none.meta["radius"] == pytest.approx(0.1)


def test_radii_that_are_found(pair):
    curve = ac.choose_radius(*pair)
    assert len(curve) == 40
    assert curve["radius"][0] < 0.5 * u.arcsec
    assert 2 * u.arcsec < curve["radius"][-1] < 20 * u.arcsec
    assert 0.8 < curve.meta["radius"] < 2.5


def test_rerun(pair, tmp_path):
    local, reference = (
        ac.write(table, tmp_path / f"{name}.vot") for table, name in zip(pair, "ab", strict=True)
    )
    curve = ac.choose_radius(local, str(reference))
    again = ac.rerun(ac.write(curve, tmp_path / "curve.vot"))
    for name in curve.colnames:
        assert np.array_equal(again[name], curve[name])
    assert ac.records(curve)[-1]["parameters"]["radii"]["unit"] == "arcsec"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radii": [1, 2]}, "are no angles"),
        ({"radii": [1, 2] * u.s}, "are no angles"),
        ({"radii": [0, 2] * u.arcsec}, "larger than zero"),
        ({"max_false": 5}, "max_false=5"),
    ],
)
def test_wrong_parameters(pair, options, message):
    with pytest.raises(InputError, match=message):
        ac.choose_radius(*pair, **options)


@pytest.mark.filterwarnings("ignore:no row has a counterpart")
def test_awkward_tables():
    one, other = QTable({"ra": [10.0], "dec": [0.0]}), QTable({"ra": [10.0001], "dec": [0.0]})
    assert ac.choose_radius(one, other).meta["radius"] > 0
    curve = ac.choose_radius(one, other, radii=0.1 * u.arcsec)
    assert curve["matched"].tolist() == [0]
    assert np.isfinite(np.asarray(curve["completeness"])).all()
    same = ac.choose_radius(one, one)
    assert same["matched"][0] == 1


def test_with_a_service(cds, peer, skies):
    local, reference = skies(2, n=400, others=3000)
    cds.catalogues["simbad"] = peer.Catalogue(Table(reference["ra", "dec"]), "ra", "dec")
    with pytest.raises(InputError, match=r"conf\.false_match_rows"):
        ac.choose_radius(local, "simbad", radii=RADII)
    with ac.conf.set_temp("false_match_rows", 1000):
        asked = ac.choose_radius(local, "simbad", radii=RADII)
    at_hand = ac.choose_radius(local, reference, radii=RADII)
    assert asked["matched"].tolist() == at_hand["matched"].tolist()
    assert asked["false"][-1] == pytest.approx(at_hand["false"][-1], rel=0.25)
    assert ac.records(asked)[-1]["service"]["name"] == "CDS X-Match"


def test_the_figure(curve, tmp_path):
    ax = ac.plotting.plot_radius(curve)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [
        "matched",
        "true",
        "false",
        "false, by moved positions",
        f"preferred: {curve.meta['radius']:.3g} arcsec",
    ]
    lines = {line.get_label(): line for line in ax.lines}
    assert np.array_equal(lines["matched"].get_ydata(), np.asarray(curve["matched"]))
    assert np.array_equal(lines["false"].get_ydata(), np.asarray(curve["false"]))
    assert lines[labels[-1]].get_xdata()[0] == curve.meta["radius"]
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "radius [arcsec]"
    back = ac.plotting.plot_radius(ac.write(curve, tmp_path / "curve.ecsv"))
    assert len(back.lines) == len(ax.lines)
    with pytest.raises(InputError, match="no result of choose_radius"):
        ac.plotting.plot_radius(QTable({"radius": [1.0]}))
