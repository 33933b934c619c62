"""The verb tune: how many latents, and how strongly they are held to their prior."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import draw, read
from astro_cluster.cli.interrupts import told_if_interrupted
from astro_cluster.cli.options import Files, Param, Seed, fail, numbers_of, parameters_of
from astro_cluster.cli.printing import cell_of, print_columns, say

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["tune"]

FIGURE = "tuning.png"
_AGAIN = "run the same command again"


def tune(
    files: Files,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for the models, the trials and the journal."),
    ],
    model: Annotated[str, typer.Option(help="infovae.")] = "infovae",
    latent: Annotated[
        str, typer.Option(help="Numbers of latents: 3,6,9 or 3:15:3 (with both ends).")
    ] = "3,6,9,12,15",
    trials: Annotated[int, typer.Option(help="Trials of each number of latents.")] = 10,
    held_out: Annotated[float, typer.Option(help="Share of the spectra that judges.")] = 0.1,
    epochs: Annotated[int | None, typer.Option(help="Passes over the spectra, at most.")] = None,
    lambda_: Annotated[
        str, typer.Option("--lambda", help="λ: lowest and highest, as 2:64, or one number.")
    ] = "2:64",
    alpha: Annotated[str, typer.Option(help="α: lowest and highest, as 0:0.9, or one number.")] = "0:0.9",
    width: Annotated[
        str, typer.Option(help="Widths of the encoder's hidden layers that are tried.")
    ] = "128-64,256-128,512-256",
    param: Param = None,
    prune: Annotated[bool, typer.Option(help="End trials early that are worse than most others.")] = True,
    timeout: Annotated[
        float | None, typer.Option(help="Stop after this many seconds, to go on later.")
    ] = None,
    seed: Seed = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads to use; all cores by default.")] = None,
) -> None:
    """Search the number of latents and the regularisation of an InfoVAE, with PCA beside it.

    Interrupted, it goes on where it was when the same command is run again.
    """
    import astro_cluster as ac
    from astro_cluster.tuning.searching import BEST, TRIALS

    sizes = _sizes(latent)
    parameters = parameters_of(ac.tune, param, None, None)
    search: dict[str, Any] = {}
    for name, text in (("lambda_", lambda_), ("alpha", alpha)):
        search[name] = _range(name, text)
        if search[name] is None:
            parameters[name] = _number(name, text)
    search["width"] = _widths(width)
    parameters |= {k: v for k, v in {"device": device, "n_threads": threads}.items() if v is not None}
    made = _model(model, parameters)
    table = read(files)
    with told_if_interrupted(output, again=_AGAIN):
        found = ac.tune(
            made,
            table,
            n_latent=sizes,
            trials=trials,
            held_out=held_out,
            folder=output,
            random_state=seed,
            epochs=epochs,
            search=search,
            prune=prune,
            timeout=timeout,
            on_trial=_say_trial,
        )
    _print_found(found)
    for name in [*([BEST] if found["best"].any() else []), TRIALS]:
        typer.echo(f"wrote {output / name}")
    if (found["state"] == "complete").any():
        draw(ac.plotting.plot_tuning(found), output / FIGURE, True)
    if not ac.records(found)[-1]["finished"]:
        typer.echo(f"note: the time is over before the last trial; to go on, {_AGAIN}", err=True)


# ---------------------------------------------------------------- what is asked for


def _sizes(text: str) -> list[int]:
    from astro_cluster.exceptions import InputError

    try:
        return numbers_of(text)
    except InputError:
        return fail(f"--latent {text} means no numbers; give some such as 3,6,9 or 3:15:3 (with both ends)")


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        option = name.rstrip("_")
        return fail(f"--{option} {text} is no range; give the lowest and the highest, as 2:64, or one number")


def _range(name: str, text: str) -> tuple[float, float] | None:
    """Return the ends of a range; None for a single number."""
    low, colon, high = text.partition(":")
    return (_number(name, low), _number(name, high)) if colon else None


def _widths(text: str) -> list[tuple[int, ...]]:
    try:
        return [tuple(int(width) for width in part.split("-")) for part in text.split(",")]
    except ValueError:
        return fail(f"--width {text} means no widths of layers; give some such as 256-128 or 128-64,256-128")


def _model(name: str, parameters: dict[str, Any]) -> Any:
    from astro_cluster.embedding.named import make_model

    if not hasattr(made := make_model(name).estimator, "lambda_"):
        fail(f"--model {name}: a {type(made).__name__} has nothing that tune searches; give infovae")
    # A seed that is drawn here would be another each time.
    return make_model(name, parameters=parameters).estimator.set_params(random_state=None)


# ---------------------------------------------------------------- what came of it


def _say_trial(trial: Mapping[str, Any]) -> None:
    typer.echo(told_trial(trial))


def told_trial(trial: Mapping[str, Any]) -> str:
    """Return in one line how a trial went.

    Parameters
    ----------
    trial : mapping
        As ``on_trial`` of `~astro_cluster.tune` gets it.

    Returns
    -------
    str

    Examples
    --------
    >>> tried = {"lambda_": 8.0, "alpha": 0.5, "width": "256-128", "epochs": 40, "seconds": 12.34}
    >>> terms = {"held_out_chi2": 1.0412, "held_out_mse": 0.002, "held_out_loss": 801.0, "kl": 7, "mmd": 0.1}
    >>> told_trial({"n_latent": 3, "trial": 0, "trials": 10, "state": "complete"} | tried | terms)
    '3 latents, trial 1 of 10: χ² 1.0412, mse 0.002, loss 801, kl 7, mmd 0.1 (λ 8, α 0.5, 256-128; ...)'
    """
    start = f"{trial['n_latent']} latents, trial {trial['trial'] + 1} of {trial['trials']}"
    tried = f"λ {trial['lambda_']:.4g}, α {trial['alpha']:.3g}, {trial['width']}"
    if trial["state"] == "failed":
        return f"{start}: no finite loss ({tried})"
    terms = ", ".join(
        f"{word} {trial[name]:.{digits}g}"
        for word, name, digits in (
            ("χ²", "held_out_chi2", 5),
            ("mse", "held_out_mse", 4),
            ("loss", "held_out_loss", 5),
            ("kl", "kl", 3),
            ("mmd", "mmd", 3),
        )
    )
    ended = ", ended early" if trial["state"] == "pruned" else ""
    return f"{start}: {terms} ({tried}; {trial['epochs']} epochs{ended}, {trial['seconds']:.1f} s)"


def _print_found(table: QTable) -> None:
    """Print the best of each size beside the components."""
    import numpy as np

    rows, beaten = [], []
    for size in np.unique(np.asarray(table["n_latent"])):
        row = {}
        for name in ("infovae", "weighted-pca"):
            best = table[(table["n_latent"] == size) & (table["model"] == name) & table["best_of_size"]]
            row[name] = best[0] if len(best) else None
        own, other = row["infovae"], row["weighted-pca"]
        if own is not None and other is not None and other["held_out_chi2"] < own["held_out_chi2"]:
            beaten.append(str(size))
        rows.append(
            [
                str(size),
                _cell(own, "held_out_chi2", ".4f"),
                _cell(other, "held_out_chi2", ".4f"),
                _cell(own, "held_out_mse", ".4g"),
                _cell(other, "held_out_mse", ".4g"),
                _cell(own, "mmd", ".3g"),
                _cell(own, "lambda_", ".3g"),
                _cell(own, "alpha", ".2f"),
                _cell(own, "width", ""),
                "*" if own is not None and own["best"] else "",
            ]
        )
    held = table.meta["held_out_rows"]
    spectra = "1 spectrum" if held == 1 else f"{held:,} spectra"
    say(f"of {spectra} that no model has learned from, χ² and squared error:")
    heads = ["latents", "χ² InfoVAE", "χ² PCA", "mse InfoVAE", "mse PCA", "mmd", "λ", "α", "widths", ""]
    print_columns(heads, rows)
    if any(row[-1] for row in rows):
        say(
            "* smallest size within one standard error of the lowest χ². χ² prefers weak regularisation: "
            "look at mmd too, and give narrower --lambda and --alpha if the latents are to be spread evenly"
        )
    if beaten:
        say(
            f"PCA has the lower χ² for {', '.join(beaten)} latents: a network needs more spectra to learn "
            "from, or more --epochs; embed --model weighted-pca takes the PCA"
        )


def _cell(row: Any, name: str, form: str) -> str:
    return cell_of(None if row is None else row[name], form)
