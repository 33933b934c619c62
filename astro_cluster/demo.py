"""The main job from end to end, on simulated or on real sources."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from astropy import units as u
from astropy.table import QTable
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from astro_cluster import plotting, recipes, simulate
from astro_cluster.clustering import cluster
from astro_cluster.config import conf
from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.matching import crossmatch
from astro_cluster.provenance import Step, step
from astro_cluster.summary import summarize
from astro_cluster.tables import write

__all__ = ["csc_sample", "run"]

# Observed sources of the Chandra Source Catalog 2 with what the recipe csc2 needs.
_QUERY = """
SELECT DISTINCT TOP {rows} m.name, o.obsid, o.region_id, m.ra, m.dec, m.significance, {columns}
FROM {schema}.master_source m, {schema}.master_stack_assoc a, {schema}.observation_source o,
     {schema}.stack_observation_assoc b, {schema}.stack_source s
WHERE (o.flux_significance_b > 5) AND (o.powlaw_gamma IS NOT NULL) AND (o.bb_kt IS NOT NULL)
  AND (m.name = a.name)
  AND (s.detect_stack_id = a.detect_stack_id AND s.region_id = a.region_id)
  AND (s.detect_stack_id = b.detect_stack_id AND s.region_id = b.region_id)
  AND (o.obsid = b.obsid AND o.obi = b.obi AND o.region_id = b.region_id)
ORDER BY m.name ASC
"""


@step
def csc_sample(rows: int = 6000) -> Step:
    """Fetch observed sources of the Chandra Source Catalog 2 by TAP.

    Parameters
    ----------
    rows : int, optional
        How many at most.

    Returns
    -------
    `~astropy.table.QTable`
        Name, position and the 35 descriptors of the recipe `CSC2`.

    Raises
    ------
    InputError
        If ``rows`` is not positive.
    ServiceError
        If there is no network, or the service ``conf.csc_tap_url`` refuses.

    Examples
    --------
    >>> csc_sample(100)["theta"].unit  # doctest: +REMOTE_DATA
    Unit("arcmin")
    """
    from astro_cluster.matching.answers import stack_answers
    from astro_cluster.services.http import Refused
    from astro_cluster.services.tap import TapClient

    if rows < 1:
        raise InputError(f"rows={rows}: at least one has to be fetched")
    columns = ", ".join(f"o.{name}" for name in recipes.CSC2.columns)
    url = str(conf.csc_tap_url)
    query = _QUERY.format(rows=int(rows), columns=columns, schema=conf.csc_tap_schema)
    name = "the TAP service of the Chandra Source Catalog"
    with contextlib.closing(TapClient(url, name=name, setting="conf.csc_tap_url")) as client:
        try:
            out = stack_answers([client.look_up(query, "its sources")])
        except (Refused, ServiceError) as error:
            reason = error.reason if isinstance(error, ServiceError) else f"{name} refused: {error}"
            raise ServiceError(
                f"{reason}. Without a network, run the demo without --online: it simulates its sources",
                url=url,
            ) from error
    if not len(out):
        raise ServiceError("the Chandra Source Catalog answered with no row", url=url)
    out.meta["description"] = "Observed sources of the Chandra Source Catalog 2"
    service_facts = {"name": "Chandra Source Catalog (TAP)", "url": url}
    return Step(out, inputs=out.colnames, facts={"service": service_facts})


class _Story:
    """Progress of the demo: a bar, and a line for each step done.

    Parameters
    ----------
    console : `~rich.console.Console`
        Where to print.
    steps : int
        How many steps there are.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self.task = self.progress.add_task("", total=steps)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show what is being done, and how long it took."""
        self.progress.update(self.task, description=what)
        began = perf_counter()
        yield
        self.progress.advance(self.task)
        self.console.print(f"  {what:<58}{perf_counter() - began:6.1f} s", highlight=False)


def run(output: Path, *, rows: int = 6000, seed: int = 42, online: bool = False) -> dict[str, Path]:
    """Run the demo and say where its results are.

    Parameters
    ----------
    output : path
        Folder for the results; made if needed.  Files of an earlier demo are replaced.
    rows : int, optional
        Number of sources.
    seed : int, optional
        Random seed.
    online : bool, optional
        Fetch real sources and match them with SIMBAD, instead of simulating both.

    Returns
    -------
    dict of str to path
        The files: ``votable``, ``ecsv``, ``summary``, ``clusters``, ``sky``, ``types`` and, if not
        online, ``reference``.

    Raises
    ------
    InputError
        If the folder cannot be made.
    ServiceError
        If ``online`` and a service cannot be reached.

    Examples
    --------
    >>> files = run(getfixture("tmp_path"), rows=500)
    Simulated...
    >>> sorted(files)
    ['clusters', 'ecsv', 'reference', 'sky', 'summary', 'types', 'votable']
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {output}: {error.strerror}") from error
    console = Console(soft_wrap=True)
    if online:
        console.print("Real sources of the Chandra Source Catalog 2, matched with SIMBAD by CDS X-Match")
    else:
        console.print("Simulated sources, after the Chandra study (simulate.chandra): no observation")
    story = _Story(console, steps=6)
    files = {
        key: output / name
        for key, name in {
            "votable": "clustered.vot",
            "ecsv": "clustered.ecsv",
            "summary": "types.ecsv",
            "reference": "simulated_simbad.vot",
            "clusters": "clusters.png",
            "sky": "sky.png",
            "types": "types.png",
        }.items()
    }
    with story.progress:
        with story.step("Fetching the sources" if online else "Simulating the sources"):
            catalogue = csc_sample(rows) if online else simulate.chandra(rows, random_state=seed)
        with story.step("Clustering in 35 descriptors, missing values included"):
            catalogue = cluster(
                catalogue,
                "gmm",
                features=recipes.CSC2,
                n_components=6,
                random_state=seed,
                prefix="gmm6_",
                max_iter=300,
            )
        with story.step("Matching with SIMBAD" if online else "Matching with simulated SIMBAD objects"):
            reference = "simbad"
            if not online:
                # In a file, so that the demo's own output can be run again.
                objects = simulate.simbad(catalogue, random_state=seed)
                reference = str(write(objects, files["reference"], overwrite=True).resolve())
            catalogue = crossmatch(catalogue, reference, radius=1 * u.arcsec, find="each")
        with story.step("Counting the types in each cluster"):
            types = summarize(catalogue, "gmm6_cluster", by="main_type")
        with story.step("Writing the tables"):
            for key in ("votable", "ecsv"):
                write(catalogue, files[key], overwrite=True)
            write(types, files["summary"], overwrite=True)
        with story.step("Drawing the figures"):
            _draw(catalogue, types, files)
    if online:
        del files["reference"]
    _print_end(console, catalogue, files)
    return files


def _draw(catalogue: QTable, types: QTable, files: dict[str, Path]) -> None:
    figures = {
        "clusters": plotting.plot_clusters(catalogue, "hard_hs", "var_ratio_b"),
        "sky": plotting.plot_sky(catalogue),
        "types": plotting.plot_types(types),
    }
    for key, figure in figures.items():
        figure.savefig(files[key], dpi=150)


def _print_end(console: Console, catalogue: QTable, files: dict[str, Path]) -> None:
    what = {
        "votable": f"clustered catalogue, {len(catalogue):,} rows (VOTable)",
        "ecsv": "the same (ECSV)",
        "summary": "types in each cluster",
        "reference": "simulated objects it was matched with",
        "clusters": "figure: the clusters in two features",
        "sky": "figure: the clusters on the sky",
        "types": "figure: what the clusters are made of",
    }
    console.print("\nThe results:")
    for key, path in files.items():
        console.print(f"  {what[key]:<46}{path.resolve()}", highlight=False)
    # Without an activated environment the program is not found by its bare name.
    program = "astro-cluster" if shutil.which("astro-cluster") else Path(sys.argv[0]).as_posix()
    console.print(
        f"\nNext: {program} send {files['votable']} --to topcat\n"
        f"      {program} summary {files['votable']} --by main_type",
        highlight=False,
    )
