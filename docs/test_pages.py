"""The pages name everything that there is, and their commands run."""
# ruff: noqa: D103

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked

import astro_cluster as ac
from astro_cluster.cli import app, main

DOCS = Path(__file__).resolve().parent


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _commands(page: str) -> list[list[str]]:
    """Return the commands of the console blocks that need neither a network nor a program."""
    blocks = re.findall(r"\.\. code-block:: console\n((?:   :.*\n)*)\n((?:   .*\n|\n)+)", page)
    lines = [
        line.strip() for options, body in blocks if "needs-" not in options for line in body.splitlines()
    ]
    return [shlex.split(line[2:])[1:] for line in lines if line.startswith("$ astro-cluster ")]


def test_commands_run() -> None:
    cat = ac.simulate.chandra(1500, random_state=1)
    ac.write(cat, "csc2.vot")
    ac.write(ac.simulate.simbad(cat), "objects.vot")
    commands = _commands(_page("user_guide/command_line.rst"))
    assert len(commands) > 8
    for command in commands:
        with pytest.raises(SystemExit) as left:
            main(command)
        assert left.value.code == 0, command


def test_all_verbs_are_shown() -> None:
    page = _page("user_guide/command_line.rst")
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert all(f"$ astro-cluster {verb} " in page for verb in verbs)


def test_all_public_names_are_in_the_reference() -> None:
    page = _page("reference/index.rst")
    missing = [name for name in ac.__all__ if not re.search(rf"\b{name}\b", page)]
    assert missing == ["__version__"]


def test_all_settings_are_described() -> None:
    page = _page("user_guide/configuration.rst")
    assert all(f"``{name}`` " in page for name in ac.conf)


def test_the_configuration_file_is_read(tmp_path: Path) -> None:
    text = _page("user_guide/configuration.rst").partition(".. code-block:: ini")[2]
    folder = tmp_path / "config" / "astro_cluster"
    folder.mkdir(parents=True)
    (folder / "astro_cluster.cfg").write_text(textwrap.dedent(text), encoding="utf-8")
    code = (
        "import astro_cluster as ac\nfrom astropy.config import get_config_dir\n"
        "print(get_config_dir('astro_cluster'), ac.conf.timeout, ac.conf.cache_dir)"
    )
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [str(folder), "60.0", "/data/astro_cluster"]


def test_all_words_are_explained() -> None:
    from astro_cluster.features import MISSING_POLICIES, SCALES
    from astro_cluster.tables import FORMATS

    for page, words in {
        "user_guide/features.rst": SCALES,
        "user_guide/missing_values.rst": MISSING_POLICIES,
        "user_guide/tables.rst": FORMATS,
    }.items():
        rows = {line.split()[0] for line in _page(page).splitlines() if re.match(r"\w", line)}
        assert set(words) <= rows


def _sample() -> QTable:
    table = QTable(
        {
            "id": np.array([2**62 + 1, 2, 3]),
            "flux": Masked([1.0, np.nan, 3.0] * u.mJy, mask=[False, False, True]),
            "type": MaskedColumn(["QSO", "", "x"], mask=[False, False, True]),
            "n": MaskedColumn([1, 2, 3], mask=[False, True, False]),
            "flag": MaskedColumn([True, False, True], mask=[False, True, False]),
            "v": np.arange(6.0).reshape(3, 2) * u.km / u.s,
            "pos": SkyCoord([10.0, 20.0, 30.0] * u.deg, [1.0, 2.0, 3.0] * u.deg),
        }
    )
    table["flux"].info.meta, table["flux"].info.description = {"ucd": "phot.flux"}, "Flux"
    table.meta["note"] = "kept"
    return ac.read(table)


def _varying_survives(ending: str) -> bool:
    arrays = np.empty(2, dtype=object)
    arrays[0], arrays[1] = np.array([1.5, 2.5]), np.array([3.5])
    try:
        back = ac.read(ac.write(QTable({"x": arrays}), f"varying.{ending}"))
    except ac.InputError:
        return False
    return [item.tolist() for item in back["x"]] == [[1.5, 2.5], [3.5]]


@pytest.mark.parametrize(("ending", "place"), [("vot", 1), ("fits", 2), ("ecsv", 3), ("parquet", 4)])
def test_what_survives_is_what_the_table_says(ending: str, place: int) -> None:
    page = _page("user_guide/tables.rst").partition("What survives in which format")[2]
    rows = [re.split(r"  +", line) for line in page.splitlines() if re.search(r"  (yes|no)\b", line)]
    said = {row[0]: row[place].split()[0] == "yes" for row in rows}
    table = _sample()
    back = ac.read(ac.write(table, f"sample.{ending}"))
    assert said == {
        "units": back["flux"].unit == u.mJy and back["v"].unit == u.km / u.s,
        "UCDs, descriptions": (back["flux"].info.meta or {}).get("ucd") == "phot.flux"
        and back["flux"].info.description == "Flux",
        "the record, ``meta``": ac.records(back) == ac.records(table) and back.meta["note"] == "kept",
        "64-bit integers": int(back["id"][0]) == 2**62 + 1,
        "masks of numbers, booleans": back["n"].tolist() == [1, None, 3]
        and back["flag"].tolist() == [True, None, True],
        "several values a row": bool(np.all(back["v"] == table["v"])),
        "arrays of varying length": _varying_survives(ending),
        "SkyCoord, Time columns": isinstance(back["pos"], SkyCoord),
        "masked float is not NaN": back["flux"].mask.tolist() == [False, False, True],
        "masked string is not empty": back["type"].tolist() == ["QSO", "", None],
    }
