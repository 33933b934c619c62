"""Rows for SIMBAD's tables: real ones where the real data are, else simulated ones."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .simbad_tables import BANDS

Rows = dict[str, list[dict[str, Any]]]

# Names of types from before 2021 in the real rows, to today's codes, where the name is none of today's.
_OLD_NAMES = {
    "BClG": "BiC",
    "BH": "BH",
    "BYDra": "BY*",
    "Blue": "blu",
    "BlueSG*": "s*b",
    "brownD*": "BD*",
    "CV*": "CV*",
    "Cl*": "Cl*",
    "EB*": "EB*",
    "Em*": "Em*",
    "EmG": "EmG",
    "Erupt*RCrB": "RC*",
    "GinCl": "GiC",
    "GinGroup": "GiG",
    "GinPair": "GiP",
    "GlCl": "GlC",
    "HB*": "HB*",
    "HH": "HH",
    "HMXB": "HXB",
    "IR": "IR",
    "Irregular_V*": "Ir*",
    "LMXB": "LXB",
    "LP*": "LP*",
    "LPV*": "LP*",
    "LensSystem": "gLS",
    "MIR": "MIR",
    "NIR": "NIR",
    "Orion_V*": "Or*",
    "PM*": "PM*",
    "PN": "PN",
    "Planet?": "Pl",
    "PulsV*bCep": "bC*",
    "PulsV*delSct": "dS*",
    "RRLyr": "RR*",
    "RSCVn": "RS*",
    "Radio(cm)": "cm",
    "RedSG*": "s*r",
    "SN": "SN*",
    "SNR": "SNR",
    "Seyfert_1": "Sy1",
    "Seyfert_2": "Sy2",
    "TTau*": "TT*",
    "ULX?": "ULX",
    "V*": "V*",
    "V*?": "V*",
    "WD*": "WD*",
    "WR*": "WR*",
    "XB": "XB*",
    "XB*": "XB*",
    "low-mass*": "LM*",
}
_SIMULATED_TYPES = [
    ("*", "Star", "*?", "Star"),
    ("Y*O", "YSO", "Y*?", "Young Stellar Object"),
    ("G", "Galaxy", "G?", "Galaxy"),
    ("QSO", "QSO", "Q?", "Quasar"),
]
_SIMULATED_PATHS = {"*": "*", "Y*O": "* > Y*O", "G": "G", "QSO": "G > AGN > QSO"}


def _csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _types(real_data: Path | None) -> list[dict[str, Any]]:
    """Return the rows of ``otypedef``: each type, and behind it its candidates if it has some."""
    if real_data is None:
        found = [
            dict(otype=o, label=lb, candidate=c, path=_SIMULATED_PATHS[o], description=d)
            for o, lb, c, d in _SIMULATED_TYPES
        ]
    else:
        found = _csv_rows(real_data / "simbad" / "simbad_otypes_2022.csv")
    rows = []
    for row in found:
        same = dict(description=row["description"], path=row["path"], comment="")
        rows.append(dict(otype=row["otype"], label=row["label"], is_candidate=0, **same))
        if row["candidate"]:
            label = f"{row['label']}_Candidate"
            rows.append(dict(otype=row["candidate"], label=label, is_candidate=1, **same))
    return rows


def _real_objects(real_data: Path, types: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    codes = {row["label"]: row["otype"] for row in types}
    candidates = {row["path"]: row["otype"] for row in types if row["is_candidate"]}
    paths = {row["otype"]: row["path"] for row in types}
    objects = []
    for row in _csv_rows(real_data / "simbad" / "basic_real_rows.csv"):
        name = row["main_type"]
        code = codes.get(name)
        if code is None:
            plain = name.removesuffix("_Candidate")
            code = _OLD_NAMES.get(plain) or codes[plain]
            if plain != name:
                code = candidates.get(paths[code], code)
        others = dict.fromkeys(word.strip() for word in row["other_types"].split("|") if word.strip())
        objects.append(
            dict(
                main_id=row["main_id"],
                ra=row["ra"],
                dec=row["dec"],
                otype=code,
                others=list(others),
                rvz_redshift=row["redshift"],
                rvz_type="z" if row["redshift"] else "",
                sp_type=row["sp_type"],
                nbref=int(float(row["nbref"])),
            )
        )
    return objects


def _simulated_objects(n: int = 4000) -> list[dict[str, Any]]:
    rng = np.random.default_rng(42)
    # A crowded field, so that a position has several counterparts, and the whole sky.
    crowd = n // 4
    ra = np.concatenate([rng.normal(56.75, 0.6, crowd), rng.uniform(0, 360, n - crowd)]) % 360
    dec = np.concatenate(
        [rng.normal(24.12, 0.5, crowd), np.degrees(np.arcsin(rng.uniform(-1, 1, n - crowd)))]
    )
    codes = rng.choice([row[0] for row in _SIMULATED_TYPES], n)
    return [
        dict(
            main_id=f"SIMULATED {k}",
            ra=repr(float(ra[k])),
            dec=repr(float(dec[k])),
            otype=codes[k],
            others=[codes[k]],
            rvz_redshift=f"{k / n:.5f}" if codes[k] in ("G", "QSO") else "",
            sp_type="G2V" if codes[k] == "*" else "",
            nbref=k % 100,
        )
        for k in range(n)
    ]


def _odd_rows(objects: list[dict[str, Any]], n: int = 50) -> list[dict[str, Any]]:
    rows = []
    for k, row in enumerate(objects[:n]):
        odd = {"ra": row["ra"], "dec": row["dec"], "2MASS": f"J{k:05d}", "select": k, "MAG": k / 2, "mag": -k}
        odd |= {"Proper motion": None if k % 3 else k / 8, "source_id": 2**62 + k}
        odd["name"] = ["η Tau", "昴 <&> \"'", "plain", None][k % 4]
        rows.append(odd)
    return rows


def simbad_rows(real_data: Path | None) -> Rows:
    """Return the rows of all tables.

    Parameters
    ----------
    real_data : Path or None
        Folder of the real data.  Without it the objects are simulated.  Second names,
        fluxes, hierarchy and references are so in any case: the real rows have none.
    """
    types = _types(real_data)
    objects = _simulated_objects() if real_data is None else _real_objects(real_data, types)
    rows: Rows = {name: [] for name in ("basic", "ident", "ids", "otypes", "alltypes", "flux", "allfluxes")}
    rows["otypedef"] = types
    for oid, row in enumerate(objects, 1):
        others, key = row.pop("others"), {"oidref": oid}
        rows["basic"].append(dict(row, oid=oid, otype_txt=row["otype"]))
        names = [row["main_id"], f"TEST {oid}"]
        rows["ident"] += [dict(key, id=name) for name in names]
        rows["ids"].append(dict(key, ids="|".join(names)))
        rows["otypes"] += [dict(key, otype=other) for other in others]
        rows["alltypes"].append(dict(key, otypes="|".join(others)))
        magnitude = 10 + oid % 100 / 10
        rows["flux"].append(dict(key, filter="V", flux=magnitude, qual="E", bibcode="2026SIMULATED......"))
        rows["allfluxes"].append(dict(key, V=magnitude))
    rows["filter"] = [dict(filtername=band, description=f"Magnitude {band}", unit="V") for band in BANDS]
    rows["h_link"] = [dict(parent=1, child=oid, membership=95) for oid in range(2, 22)]
    rows["ref"] = [dict(oidbib=k, bibcode=f"20{k:02d}SIMULATED......", year=2000 + k) for k in range(20)]
    rows["has_ref"] = [dict(oidref=oid, oidbibref=oid % 20) for oid in range(1, len(objects) + 1)]
    rows["odd"] = _odd_rows(objects)
    return rows
