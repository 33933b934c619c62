"""What each file format keeps of a table: its reader and its writer."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from astropy.table import QTable

from astro_cluster import fitstable, parquet, provenance, votable
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.export import to_latex, to_markdown
from astro_cluster.provenance import META_KEY

__all__ = ["READERS", "WRITERS", "with_texts"]

_RECORD = "astro_cluster_record"
_META = "astro_cluster_meta"


# ---------------------------------------------------------------- reading


def with_texts(table: QTable, texts: dict[str, str]) -> QTable:
    """Put the record and the meta back that a file keeps as texts.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A table as it was read; changed in place.
    texts : dict of str to str
        Texts that were found in its file.

    Returns
    -------
    `~astropy.table.QTable`
        The same table.

    Examples
    --------
    >>> with_texts(QTable(), {"astro_cluster_meta": '{"note": "simulated"}'}).meta
    {'note': 'simulated'}
    """
    if _META in texts:
        table.meta.update(provenance.decode(json.loads(texts[_META])))
    if _RECORD in texts:
        table.meta[META_KEY] = json.loads(texts[_RECORD])
    return table


def _read_votable(path: Path, **options: Any) -> QTable:
    return with_texts(*votable.read_votable(path, **options))


def _read_fits(path: Path, **options: Any) -> QTable:
    table, texts = fitstable.read_fits(path, **options)
    if found := fitstable.votable_of(path, **options):
        head, number = found
        table, texts = votable.describe(table, head, number=number)
    return with_texts(table, texts)


def _read_parquet(path: Path) -> QTable:
    table = parquet.read_parquet(path)
    head = parquet.votable_of(path)
    return table if head is None else with_texts(*votable.describe(table, head))


def _read_ecsv(path: Path) -> QTable:
    return QTable.read(path, format="ascii.ecsv")


def _read_csv(path: Path) -> QTable:
    return QTable.read(path, format="ascii.csv", encoding="utf-8-sig")


READERS: dict[str, Callable[..., QTable]] = {
    "votable": _read_votable,
    "fits": _read_fits,
    "ecsv": _read_ecsv,
    "csv": _read_csv,
    "parquet": _read_parquet,
    "fits-plus": _read_fits,
}


# ---------------------------------------------------------------- writing


def _texts(table: QTable) -> dict[str, str]:
    """Return the record and what else of the meta can be kept, for files that keep text only."""
    plain = {str(k): provenance.encode(v) for k, v in table.meta.items() if k not in (META_KEY, "comments")}
    history = provenance.records(table)
    return ({_META: json.dumps(plain, ensure_ascii=True)} if plain else {}) | (
        {_RECORD: provenance.to_json(history)} if history else {}
    )


def _write_votable(table: QTable, path: Path, *, version: str) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        votable.write_votable(table, file, infos=_texts(table), version=version)


def _write_fits(table: QTable, path: Path) -> None:
    fitstable.write_fits(table, path, texts=_texts(table))


def _write_fits_plus(table: QTable, path: Path) -> None:
    texts = _texts(table)

    def describe(plain: QTable, layout: str) -> bytes:
        return votable.write_head(plain, infos=texts, layout=layout)

    fitstable.write_fits(table, path, texts=texts, describe=describe)


def _write_parquet(table: QTable, path: Path) -> None:
    parquet.write_parquet(table, path, describe=votable.write_head)


def _write_ecsv(table: QTable, path: Path) -> None:
    table.write(path, format="ascii.ecsv", overwrite=True)


def _write_csv(table: QTable, path: Path) -> None:
    wide = [n for n in table.colnames if getattr(table[n], "shape", (0,))[1:]]
    if wide:
        raise InputError(
            f"CSV cannot hold the columns of several values a row: {', '.join(wide)}; "
            "write VOTable, FITS, ECSV or Parquet, or leave them out"
        )
    lost = []
    if any(getattr(table[n], "unit", None) for n in table.colnames):
        lost.append("units")
    if any(table[n].info.description or (table[n].info.meta or {}).get("ucd") for n in table.colnames):
        lost.append("descriptions and UCDs")
    if provenance.records(table):
        lost.append("the record (so that rerun is not possible)")
    if lost:
        warnings.warn(f"CSV drops {', '.join(lost)}", AstroClusterWarning, stacklevel=4)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        table.write(file, format="ascii.csv")


def _write_markdown(table: QTable, path: Path) -> None:
    path.write_text(to_markdown(table) + "\n", encoding="utf-8")


def _write_latex(table: QTable, path: Path) -> None:
    path.write_text(to_latex(table) + "\n", encoding="utf-8")


WRITERS: dict[str, Callable[..., None]] = {
    "votable": _write_votable,
    "fits": _write_fits,
    "ecsv": _write_ecsv,
    "fits-plus": _write_fits_plus,
    "parquet": _write_parquet,
    "csv": _write_csv,
    "markdown": _write_markdown,
    "latex": _write_latex,
}
