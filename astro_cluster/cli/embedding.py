"""The verb embed: fewer coordinates of features, of images or of spectra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import check_free, read, write
from astro_cluster.cli.interrupts import told_if_interrupted
from astro_cluster.cli.options import (
    FeatureList,
    Files,
    Output,
    Overwrite,
    OverwriteColumns,
    Param,
    Recipe,
    Scale,
    Seed,
    fail,
    features_of,
    parameters_of,
)

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["Missing", "embed"]


class Missing(StrEnum):
    """What to do with missing values and with NaN pixels."""

    DROP = "drop"
    MEDIAN = "median"
    ZERO = "zero"
    MEAN = "mean"


def embed(
    files: Files,
    output: Output,
    model: Annotated[
        str,
        typer.Option(
            help="tsne, pca, autoencoder, conv-autoencoder, dense-autoencoder, infovae, weighted-pca, a "
            ".safetensors file, or a decomposition or manifold of scikit-learn."
        ),
    ] = "tsne",
    column: Annotated[
        str | None,
        typer.Option(help="Column of images or fluxes; found by default if there are no --features."),
    ] = None,
    features: FeatureList = None,
    recipe: Recipe = None,
    scale: Scale = None,
    missing: Annotated[
        Missing | None, typer.Option(help="Features: drop, median. NaN pixels: drop, zero, mean.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", "--n-latent", "--n-components", help="Number of coordinates.")
    ] = None,
    perplexity: Annotated[float | None, typer.Option(help="tsne: how many rows are neighbours.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Autoencoders: passes over the data, at most.")] = None,
    param: Param = None,
    redshift: Annotated[
        str | None, typer.Option(help="Column of redshifts, for --param conditioned=true.")
    ] = None,
    seed: Seed = None,
    prefix: Annotated[str, typer.Option(help="Put before the names of the new columns.")] = "",
    onto: Annotated[Path | None, typer.Option(help="Place the rows on the map in this table.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Autoencoders: keep the model in this file (.safetensors).")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Autoencoders: keep the training here, and go on from there.")
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Train a saved model on this table anew.")] = False,
    device: Annotated[str | None, typer.Option(help="Autoencoders: cpu, cuda, mps.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads to use; all cores by default.")] = None,
    faithfulness: Annotated[
        bool, typer.Option(help="Measure how far neighbours among the coordinates can be trusted.")
    ] = True,
    reconstruction: Annotated[
        bool, typer.Option("--reconstruction", help="Add what the model makes of each spectrum or image.")
    ] = False,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Give rows, images or spectra a few coordinates: t-SNE, PCA, an autoencoder."""
    import astro_cluster as ac

    check_free(overwrite, output=output)
    if checkpoint is not None and checkpoint.resolve() == output.resolve():
        fail(f"--checkpoint and --output are the same file {output}; give two names")
    parameters = parameters_of(ac.embed, param, None, None)
    fitted = _to_replace(model, save, refit)
    parameters |= _named(
        model if fitted is None else fitted,
        parameters,
        perplexity=perplexity,
        epochs=epochs,
        device=device,
        number=n,
        threads=threads,
    )
    wanted = None
    if recipe is not None or features is not None:
        wanted = features_of(recipe, features, scale)
    elif scale is not None:
        fail("--scale is for features; give --features too")
    table = read(files)
    with (
        _kept_until_done(save, overwrite),
        told_if_interrupted(checkpoint, again="run the same command again"),
    ):
        out = ac.embed(
            table,
            model if fitted is None else fitted,
            column=column,
            features=wanted,
            missing=missing.value if missing else None,
            redshift=redshift,
            prefix=prefix,
            random_state=seed,
            onto=onto,
            refit=refit,
            save=save,
            checkpoint=checkpoint,
            faithfulness=faithfulness,
            reconstruction=reconstruction,
            overwrite=overwrite_columns,
            **parameters,
        )
    write(out, output, overwrite)
    if save is not None:
        typer.echo(f"wrote {save}")
    _print_embedding(out)


# What an option is called by models of each kind.
_WORDS = {"number": ("n_components", "n_latent"), "threads": ("n_jobs", "n_threads")}


def _named(model: Any, parameters: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Return options by the names that the model has for them."""
    given = {option: value for option, value in given.items() if value is not None}
    if not given:
        return {}
    from astro_cluster.embedding.named import make_model

    estimator = make_model(model).estimator
    allowed = estimator.get_params(deep=False)
    found = {}
    for option, value in given.items():
        name = next((word for word in _WORDS.get(option, (option,)) if word in allowed), None)
        flag = {"number": "-n"}.get(option, f"--{option}")
        if name is None:
            fail(f"{flag} has no meaning for {type(estimator).__name__}; it has: {', '.join(allowed)}")
        if name in parameters:
            fail(f"{flag} {value} and --param {name} say the same; give one of them")
        found[name] = value
    return found


def _to_replace(model: str, save: Path | None, refit: bool) -> Any:
    """Return the model of a file that the new one takes the place of, read while it is there."""
    if save is None or Path(model).resolve() != save.resolve():
        return None
    if not refit:
        fail(f"--save {save} is the model itself; leave it out, or give --refit to train it anew")
    from astro_cluster.embedding.named import make_model

    return make_model(model).estimator


@contextmanager
def _kept_until_done(save: Path | None, overwrite: bool) -> Iterator[None]:
    """Put an old model file, which may be replaced, aside until there is a new one."""
    if save is None or not overwrite or not save.is_file():
        yield
        return
    aside = save.with_name(f".{save.name}.old")
    save.replace(aside)
    try:
        yield
    except BaseException:
        aside.replace(save)
        raise
    aside.unlink()


# ---------------------------------------------------------------- what was made


def _print_embedding(table: QTable) -> None:
    """Print what was made, how it went, and how far it can be trusted."""
    import astro_cluster as ac

    record = ac.records(table)[-1]
    facts = record["embedding"]
    typer.echo(f"  {_made(facts, record)}")
    if how := _fit(facts):
        typer.echo(f"  {how}")
    if "trustworthiness" in facts:
        typer.echo(f"  {_trust(facts)}")
    if left := record["rows_out"] - record["rows_used"]:
        kind = next((name for name in ("image", "spectrum") if _PLURALS[name] in record), None)
        why = f"no usable {kind}" if kind else "missing values"
        typer.echo(f"  not used: {left:,} rows ({why}; masked)")
    if filled := record.get("spectra", {}).get("rows_filled"):
        how = _FILLED[record["spectra"]["filled"]]
        typer.echo(f"  {filled:,} spectra have pixels that do not count; these were filled ({how})")
    if facts["stem"] == "tsne":
        typer.echo(
            "note: this is a map to look at; find clusters in the features or latent coordinates that it was "
            "made from (--features), not on the map",
            err=True,
        )


_PLURALS = {"image": "images", "spectrum": "spectra"}
_FILLED = {"mean": "mean of the other spectra, at their own level", "zero": "0"}


def _made(facts: dict[str, Any], record: dict[str, Any]) -> str:
    columns = facts["columns"]
    names = columns[0] if len(columns) == 1 else f"{columns[0]} … {columns[-1]}"
    if images := record.get("images"):
        of = f"images of {' × '.join(map(str, images['shape']))}"
    elif spectra := record.get("spectra"):
        of = f"spectra of {spectra['pixels']:,} pixels"
    else:
        of = f"{len(record['recipe']['scalings'])} features"
    how = "placed on the map" if "reference" in record else f"by {facts['model'].removeprefix('sklearn.')}"
    return f"{names}: {facts['dimensions']} coordinates of {record['rows_used']:,} rows {how}, from {of}"


def _fit(facts: dict[str, Any]) -> str:
    """Say how the fit went, in the words of the method."""
    history = facts.get("history") or {}
    epochs = facts.get("epochs", len(history.get("epoch", [])) or None)
    told = []
    for key, form in (
        ("kl_divergence", "KL divergence {:.3f}"),
        ("n_iter", "{} iterations"),
        ("explained_variance", "{:.1%} of the variance"),
        ("held_out_loss", "held-out loss {:.4g}"),
        ("held_out_chi2", "held-out χ² per pixel {:.3f}"),
        ("median_chi2", "χ² per pixel {:.3f} (median of these spectra)"),
    ):
        value = facts.get(key)
        if isinstance(value, (int, float)):
            told.append(form.format(value))
    if isinstance(epochs, int):
        told.append(f"{epochs} epochs")
    told.append(f"{facts['seconds']:.1f} s")
    return ", ".join(told)


_GRADES = ((0.95, "are"), (0.85, "mostly are"), (0.7, "partly are"), (0.0, "are often not"))


def _trust(facts: dict[str, Any]) -> str:
    """Say in a sentence what the two measures mean."""
    trust, kept = facts["trustworthiness"], facts["continuity"]
    near, far = (next(words for least, words in _GRADES if value >= least) for value in (trust, kept))
    return (
        f"trustworthiness {trust:.3f}: neighbours by these coordinates {near} neighbours in the data; "
        f"continuity {kept:.3f}: neighbours in the data {far} neighbours by these coordinates "
        "(1 is perfect, 0.5 chance)"
    )
