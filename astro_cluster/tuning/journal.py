"""The journal of a search: one file of JSON lines, from which it goes on after any interruption.

optuna writes and reads it.  What is ours: a line that was cut short by a sudden end is taken away, two
searches cannot write into one folder, data and parameters must be those of before, and what is tried
next depends on the seed and on what was tried, not on how often the search was interrupted.
"""

from __future__ import annotations

import contextlib
import json
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from astro_cluster.exceptions import InputError
from astro_cluster.tuning.space import Space

__all__ = ["JOURNAL", "Journal", "quiet", "require_optuna"]

JOURNAL = "journal.log"
_BEGINS = b'{"op_code"'
_LOCK = ".lock"
_KEY = "astro_cluster"
_DRAWN = 4  # trials of a size, the model's own included, before earlier ones decide what is tried
_FEWEST = 4  # trials of a size that have been completed before any is ended early
_WARM = 10  # epochs that each trial may have


def require_optuna() -> Any:
    """Return the module ``optuna``, imported now and not before.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If it is not installed.

    Examples
    --------
    >>> require_optuna().__name__
    'optuna'
    """
    try:
        import optuna
        import optuna.storages.journal
    except ImportError as error:
        raise InputError(
            'tune needs optuna, which is not installed: pip install "astro_cluster[tune]"'
        ) from error
    return optuna


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep optuna from writing to the terminal and from warning of what is new in it.

    Yields
    ------
    None
    """
    optuna = require_optuna()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


class _NoLock:
    """In place of optuna's lock of the file: the folder is locked as a whole, which no crash outlives."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


class _Sampler:
    """Tree-structured Parzen estimators whose chance follows from seed, size, number and name alone.

    optuna's own sampler draws from one stream of chance, which an interruption would cut.
    """

    def __init__(self, seed: int, space: Space) -> None:
        self._seed, self._space = seed, space

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        if trial.number == 0 and (own := self._space.first(name)) is not None:
            return own
        word = f"{self._seed} {study.study_name} {trial.number} {name}"
        sampler = require_optuna().samplers.TPESampler(
            n_startup_trials=_DRAWN, constant_liar=False, seed=zlib.crc32(word.encode())
        )
        return sampler.sample_independent(study, trial, name, distribution)

    def before_trial(self, study: Any, trial: Any) -> None:
        return

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        return

    def reseed_rng(self) -> None:
        return


class Journal:
    """The trials of all sizes.

    Parameters
    ----------
    folder : path
        Where the journal is; it is made if it is not there.
    about : mapping
        What must be the same to go on: the fingerprint of the spectra, parameters.
    seed : int or None
        Seed; None for that of the journal, or a new one.
    space : Space
        What is searched.

    Raises
    ------
    InputError
        If the folder is in use or holds another search, or the journal is damaged.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], seed: int | None, space: Space) -> None:
        self.optuna = require_optuna()
        self.folder, self.path, self.space = folder, folder / JOURNAL, space
        self._about = json.loads(json.dumps(dict(about)))
        self._locked = _locked(folder)
        try:
            self.resumed = self.path.exists() and _repaired(self.path) > 0
            with self._told(), quiet():
                journal = self.optuna.storages.journal
                backend = journal.JournalFileBackend(str(self.path), lock_obj=_NoLock())
                self._storage = self.optuna.storages.JournalStorage(backend)
            self.seed = self._checked(seed)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        """Let others have the folder."""
        self.close()

    def close(self) -> None:
        """Let others have the folder."""
        self._locked.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn whatever a damaged journal causes into one message."""
        try:
            yield
        except (InputError, KeyboardInterrupt):
            raise
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from error
        except Exception as error:
            raise InputError(
                f"{self.path} is damaged and the search cannot go on with it ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}); remove the folder, or give another"
            ) from error

    def _checked(self, seed: int | None) -> int:
        """Return the seed, once it is sure that the journal is of this very search."""
        import secrets

        kept: list[Any] = []
        with self._told(), quiet():
            for study in self._storage.get_all_studies():
                kept.append(study.user_attrs.get(_KEY))
                if kept[-1] is not None and (
                    not isinstance(kept[-1]["about"], dict) or type(kept[-1]["seed"]) is not int
                ):
                    raise ValueError("it does not say of what search it is")
        kept = [one for one in kept if one is not None]
        for one in kept:
            own, other = self._about, one["about"]
            differing = sorted(name for name in own.keys() | other.keys() if own.get(name) != other.get(name))
            if differing:
                told = "; ".join(
                    "the spectra are not the same"
                    if name == "spectra"
                    else f"{name} was {other.get(name)!r} and is {own.get(name)!r}"
                    for name in differing
                )
                raise InputError(
                    f"{self.folder} holds another search ({told}); make the same call to go on with it, "
                    "remove the folder, or give another"
                )
            if seed is not None and one["seed"] != seed:
                raise InputError(
                    f"{self.folder} holds a search with the seed {one['seed']}, not {seed}; give the same "
                    "random_state (--seed) to go on with it, remove the folder, or give another"
                )
        if kept:
            return kept[0]["seed"]
        return secrets.randbelow(2**31) if seed is None else seed

    def study(self, n_latent: int) -> Any:
        """Return the trials of a size, as optuna knows them.

        Parameters
        ----------
        n_latent : int
            Number of latents.

        Returns
        -------
        `optuna.study.Study`
        """
        with self._told(), quiet():
            study = self.optuna.create_study(
                storage=self._storage,
                study_name=f"latent-{n_latent}",
                direction="minimize",
                load_if_exists=True,
                sampler=_Sampler(self.seed, self.space),
                pruner=self.optuna.pruners.MedianPruner(n_startup_trials=_FEWEST, n_warmup_steps=_WARM),
            )
            if _KEY not in study.user_attrs:
                study.set_user_attr(_KEY, {"about": self._about, "seed": self.seed})
            return study

    def trial(self, study: Any, number: int) -> Any:
        """Return a trial that is to be run, or was cut short; None if it has been run.

        Parameters
        ----------
        study : `optuna.study.Study`
            From `study`.
        number : int
            Number of the trial, no more than that of all so far.

        Returns
        -------
        `optuna.trial.Trial` or None
        """
        with self._told(), quiet():
            trials = study.get_trials(deepcopy=False)
            if number >= len(trials):
                return study.ask()
            if trials[number].state.is_finished():
                return None
            return self.optuna.trial.Trial(study, trials[number]._trial_id)


def _repaired(path: Path) -> int:
    """Take away a last line that was cut short, and return the size of the rest."""
    with path.open("r+b") as file:
        whole = file.read()
        if not whole.startswith(_BEGINS[: len(whole)]):
            raise InputError(f"{path} is no journal of a search; give another folder")
        if whole and not whole.endswith(b"\n"):
            whole = whole[: whole.rfind(b"\n") + 1]
            file.truncate(len(whole))
    return len(whole)


def _locked(folder: Path) -> Any:
    """Return an open file that keeps others out of the folder until it is closed."""
    try:
        folder.mkdir(exist_ok=True)
        file = (folder / _LOCK).open("ab")
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror or error}") from error
    try:
        import fcntl
    except ImportError:  # Windows
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise InputError(
            f"another program is searching in {folder} at this moment; wait for its end, or give another "
            "folder"
        ) from error
    return file
