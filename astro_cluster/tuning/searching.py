"""`tune`: how many latents, and how strongly they are held to their prior."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from astropy.table import QTable

from astro_cluster.embedding.named import RecordedModel, make_model
from astro_cluster.exceptions import InputError
from astro_cluster.provenance import OMIT, Step, encode, step
from astro_cluster.tables import PathLike, Source, as_qtable, beside, write
from astro_cluster.tuning.journal import JOURNAL, Journal, quiet, require_optuna
from astro_cluster.tuning.space import Space, space_of

__all__ = ["BEST", "TRIALS", "tune"]

BEST = "best.safetensors"
TRIALS = "trials.ecsv"

# Parameters that change nothing that is learned, or that stand elsewhere.
_FREE = {"n_threads", "device", "random_state", "n_latent", "lambda_", "alpha", "hidden", "held_out"}
_MOST_LATENT = 10_000


@step
def tune(
    model: Any,
    table: Source,
    *,
    n_latent: int | Iterable[int] = (3, 6, 9, 12, 15),
    trials: int = 10,
    held_out: float = 0.1,
    folder: PathLike | None = None,
    random_state: int | None = None,
    epochs: int | None = None,
    search: Mapping[str, Any] | None = None,
    prune: bool = True,
    timeout: float | None = None,
    progress: Callable[..., Any] | bool | None = None,
    on_trial: Callable[[Mapping[str, Any]], Any] | None = None,
) -> Step:
    """Train a model with several numbers of latents and strengths of its regularisation, and compare.

    Of each number of latents, ``trials`` models are trained with different λ, α and widths of layers, all
    judged by the same spectra, which none has learned from; weighted principal components of the
    same size stand beside them.  A search that was interrupted goes on when the same call is made again.

    Parameters
    ----------
    model : InfoVAE or str
        ``"infovae"``, or an `InfoVAE` whose other parameters are those of all trials.
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Spectra, from `read_spectra`.
    n_latent : int or iterable of int, optional
        Numbers of latents.
    trials : int, optional
        Trials of each; the first has the λ, α and widths of ``model`` itself.
    held_out : float, optional
        Share of the spectra that no model learns from; which they are follows from the seed.
    folder : str or path, optional
        Where to keep everything, so that the search can go on after an interruption:
        ``journal.log``; ``latent_9.safetensors``, the best model of 9 latents, and so on;
        ``best.safetensors``, the one to take; ``trials.ecsv``, the result.  Nothing is kept if it is not
        given.
    random_state : int, optional
        Seed; overrides the model's own.  Without any one is drawn and kept.
    epochs : int, optional
        Most epochs of a training; those of the model if not given.
    search : mapping, optional
        Ranges other than ``{"lambda_": (2, 64), "alpha": (0, 0.9), "width": [(128, 64), (256, 128),
        (512, 256)]}``; None in place of one for what the model has.
    prune : bool, optional
        Whether trials that are worse than the median of the others after the same epochs are ended.
    timeout : float, optional
        Seconds after which the search stops, as if it were interrupted, and what there is is returned.
    progress : callable or bool, optional
        Of each training: whether to show a line, or what is called after each epoch.
    on_trial : callable, optional
        What is called with a dict of each trial that ends: ``n_latent``, ``trial``, ``trials``,
        ``lambda_``, ``alpha``, ``width``, ``state``, ``held_out_chi2``, ``held_out_mse``, ``kl`` …

    Returns
    -------
    `~astropy.table.QTable`
        A row a trial: ``model``, ``n_latent``, ``trial``, ``lambda_``, ``alpha``, ``width``,
        ``held_out_loss``, ``held_out_mse``, ``held_out_chi2`` and its error, ``kl``, ``mmd``, ``epochs``,
        ``seconds``, ``state``, ``best_of_size``, ``best`` and ``file``; and a row for the principal
        components of each size, ``model`` being ``"weighted-pca"``.  ``meta["held_out_rows"]`` has the
        number of spectra that judged.

    Raises
    ------
    InputError
        If an argument or the spectra cannot be used, optuna or torch is not installed, or the
        folder holds a search for other spectra or with other parameters.
    KeyboardInterrupt
        If it is stopped.  With ``folder`` a note says how to go on.

    Notes
    -----
    The best trial of a size is the one with the lowest χ² of the spectra held out (the mean over them of χ²
    for each pixel that counts).  ``best`` is the best trial of the smallest size whose χ² is within one
    standard error, of the differences spectrum by spectrum, of that of the best size (Breiman et al. 1984).

    χ² knows nothing of the latents: a search by it alone prefers weak regularisation, with which latents of
    different spectra need not fill space evenly.  So look at ``mmd`` and ``kl`` beside it, and give narrower
    ranges for λ and α if the distribution of the latents matters.  Both are those of the best epoch of the
    training, at whose end each latent is moved and scaled to mean 0 and variance 1.

    The spectra that judge have chosen epochs and trials, too, so that the lowest of many χ² is a little too
    low for new spectra; that of the principal components, among which nothing is chosen, is not.

    Values are proposed by tree-structured Parzen estimators (Bergstra et al. 2011, NeurIPS 24), from the
    fifth trial of a size on.  What is proposed follows from the seed and the trials before, so that the same
    call gives the same trials, however often it was interrupted.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> qso = ac.read_spectra("spec/*.fits", grid="3625:9000:1500")  # doctest: +SKIP
    >>> found = ac.tune("infovae", qso, n_latent=(3, 6, 9), folder="tuned")  # doctest: +SKIP
    >>> qso = ac.embed(qso, "tuned/best.safetensors")  # doctest: +SKIP
    """
    require_optuna()
    sizes = _checked_sizes(n_latent)
    _check_numbers(trials, held_out, timeout, random_state)
    source = as_qtable(table)
    own = _template(model, epochs)
    space = space_of(search, own)
    from astro_cluster.tuning.material import material_of

    material = material_of(source, own)
    seed = own.random_state if random_state is None else int(random_state)
    about = _about(own, space, held_out, prune) | {"spectra": material.fingerprint()}
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    wanted = _Wanted(sizes, int(trials), deadline, on_trial)
    with _place(folder) as place, Journal(place, about, seed, space) as journal:
        own.set_params(random_state=journal.seed, held_out=float(held_out))
        with _told_where(journal, folder):
            out, finished = _searched(journal, own, material, wanted, prune=prune, progress=progress)
        seed = journal.seed
    return Step(
        out,
        source,
        inputs=material.columns,
        seed=seed,
        facts={"table_as": "table", "row_order": "changed", "rows_used": len(material.usable)}
        | {"finished": finished},
        parameters={
            **dict.fromkeys(["table", "folder", "timeout", "progress", "on_trial", "epochs"], OMIT),
            "model": make_model(own).recorded,
            "n_latent": sizes,
            "random_state": seed,
            "search": space.asked(),
        },
        then=None if folder is None else lambda done: write(done, Path(folder) / TRIALS, overwrite=True),
    )


@dataclass(frozen=True)
class _Wanted:
    """Which trials are to be run, until when, and who is told of them."""

    sizes: Sequence[int]
    trials: int
    deadline: float
    on_trial: Callable[[Mapping[str, Any]], Any] | None


# ---------------------------------------------------------------- what is asked for


def _is_whole(value: Any, low: int, high: float = math.inf) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and low <= value <= high


def _checked_sizes(n_latent: Any) -> list[int]:
    """Return the numbers of latents, each once and in order."""
    if isinstance(n_latent, str) or not isinstance(n_latent, (Integral, Iterable)):
        raise InputError(f"n_latent={n_latent!r} gives no numbers of latents; give some, such as (3, 6, 9)")
    given = [n_latent] if isinstance(n_latent, Integral) else list(n_latent)
    if not given:
        raise InputError("n_latent is empty; give the numbers of latents to try, such as (3, 6, 9)")
    for number in given:
        if not _is_whole(number, 1, _MOST_LATENT):
            raise InputError(f"n_latent holds {number!r}; give whole numbers from 1 to {_MOST_LATENT}")
    return sorted({int(number) for number in given})


def _check_numbers(trials: Any, held_out: Any, timeout: Any, random_state: Any) -> None:
    if not _is_whole(trials, 1):
        raise InputError(f"trials={trials!r}; give a whole number from 1 on")
    if random_state is not None and not _is_whole(random_state, 0, 2**32 - 1):
        raise InputError(f"random_state={random_state!r}; give a whole number from 0 to 2³² − 1")
    if not (isinstance(held_out, Real) and not isinstance(held_out, bool) and 0 < held_out <= 0.9):
        raise InputError(f"held_out={held_out!r}; give a share of the spectra above 0 and at most 0.9")
    if timeout is not None and not (
        isinstance(timeout, Real) and not isinstance(timeout, bool) and 0 < timeout < math.inf
    ):
        raise InputError(f"timeout={timeout!r}; give a number of seconds above 0, or None")


def _template(model: Any, epochs: int | None) -> Any:
    """Return a new model with the parameters of all trials."""
    from sklearn.base import clone

    from astro_cluster.embedding.infovae import InfoVAE
    from astro_cluster.embedding.infovae.parameters import check_parameters

    seed = getattr(model, "random_state", None)
    if isinstance(model, (str, RecordedModel)):
        made = make_model(model)
        seed = made.recorded.parameters.get("random_state") if isinstance(model, RecordedModel) else None
        model = made.estimator
    if not isinstance(model, InfoVAE):
        raise InputError(
            f"a {type(model).__name__} has nothing that tune searches; give 'infovae' or an InfoVAE(…)"
        )
    if seed is not None and not _is_whole(seed, 0, 2**32 - 1):
        raise InputError("the model's random_state is a generator; give random_state= a whole number")
    model = clone(model).set_params(random_state=None if seed is None else int(seed))
    if epochs is not None:
        model.set_params(epochs=epochs)
    check_parameters(model.get_params(deep=False))
    return model


def _about(model: Any, space: Space, held_out: float, prune: bool) -> dict[str, Any]:
    """Return what must be the same for a search to go on."""
    parameters = model.get_params(deep=False).items()
    about = {name: encode(value) for name, value in parameters if name not in _FREE}
    return about | {"held_out": float(held_out), "prune": bool(prune), "search": space.to_plain()}


@contextmanager
def _place(folder: PathLike | None) -> Iterator[Path]:
    """Give the folder, or one that is there only as long as it is needed."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="astro_cluster_tune_") as name:
            yield Path(name)
        return
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise InputError(f"{place} is a file; give a folder to keep the search in")
    if not place.parent.is_dir():
        raise InputError(f"there is no folder {place.parent} to make {place.name} in")
    taken = [name for name in (BEST, TRIALS) if (place / name).exists()]
    if taken and not (place / JOURNAL).exists():
        raise InputError(
            f"{place} has {taken[0]} and no {JOURNAL}: it is not of a search that can go on; give another "
            "folder"
        )
    yield place


# ---------------------------------------------------------------- the search


def _searched(
    journal: Journal, model: Any, material: Any, wanted: _Wanted, *, prune: bool, progress: Any
) -> tuple[QTable, bool]:
    """Run what has not been run yet, and return the table and whether all has been run."""
    from astro_cluster.tuning.outcome import add_verdict, baseline, rows_of, table_of
    from astro_cluster.tuning.trials import OutOfTime, Search, file_of

    search = Search(
        model,
        material,
        material.held_out(model.held_out, journal.seed),
        journal.space,
        journal.folder,
        prune=prune,
        deadline=wanted.deadline,
        progress=progress,
    )
    finished = True
    try:
        for n_latent in wanted.sizes:
            study = journal.study(n_latent)
            for number in range(wanted.trials):
                if (trial := journal.trial(study, number)) is None:
                    continue
                search.run(journal, study, trial)
                if wanted.on_trial is not None:
                    last = [row for row in rows_of(journal, [n_latent]) if row["trial"] == number]
                    wanted.on_trial(last[0] | {"trials": wanted.trials})
                if time.monotonic() > wanted.deadline:
                    raise OutOfTime
    except OutOfTime:
        finished = all(_done(journal, n_latent, wanted.trials) for n_latent in wanted.sizes)
    rows = rows_of(journal, wanted.sizes)
    size = add_verdict(search, rows)
    best = journal.folder / BEST
    if size is not None:
        with beside(best, overwrite=True) as new:
            shutil.copyfile(journal.folder / file_of(size), new)
    out = table_of([*rows, *baseline(search, wanted.sizes)])
    out.meta["held_out_rows"] = len(search.held_out)
    return out, finished


def _done(journal: Journal, n_latent: int, trials: int) -> bool:
    with quiet():
        run = journal.study(n_latent).get_trials(deepcopy=False)
    return sum(trial.state.is_finished() for trial in run) >= trials


@contextmanager
def _told_where(journal: Journal, folder: PathLike | None) -> Iterator[None]:
    """Say where a search is that was interrupted."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if folder is not None:
            stop.add_note(f"the search so far is in {folder}; to go on, make the same call again")
        raise
    except OSError as error:
        raise InputError(
            f"the search in {journal.folder} cannot go on: {error.strerror or error}; make room, and make "
            "the same call again"
        ) from error
