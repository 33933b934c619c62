"""What a model is given: features, images or spectra of the rows that can be used."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from astropy.table import QTable

from astro_cluster.columns import require
from astro_cluster.cutouts.stack import BAD, blocks_of_rows, image_column, images_of, usable_images
from astro_cluster.embedding.fluxes import Fluxes, fluxes_of, spectra_meant
from astro_cluster.embedding.protocol import Takes
from astro_cluster.exceptions import InputError
from astro_cluster.features import Features, FittedFeatures, as_features
from astro_cluster.linked import ROW_COLUMN, link_of

__all__ = ["FILLS", "Inputs", "Missing", "checked_missing", "inputs_of"]

Missing = Literal["drop", "median", "zero", "mean"]

FILLS = ("drop", "zero", "mean")  # what can be done about NaN pixels
_POLICIES = ("drop", "median")  # what can be done about missing features


@dataclass(frozen=True)
class Inputs:
    """What a model is given, and of which rows.

    Parameters
    ----------
    X : (m, d), (m, h, w) or (m, h, w, c) array
        Features, fluxes, or images; flat, (m, d), for a model that takes rows.
    usable : (n,) array of bool
        The m rows of the table that they are of.
    columns : list of str
        Columns of the table that they are from.
    facts : dict
        What the record keeps of it: ``recipe``, ``images`` or ``spectra``.
    recipe : FittedFeatures, optional
        Treatment of the features.
    complete : (m,) array of bool, optional
        Images without a NaN pixel, if any has one.
    spectra : Fluxes, optional
        What belongs to fluxes: weights, redshifts, wavelengths.
    """

    X: np.ndarray
    usable: np.ndarray
    columns: list[str]
    facts: dict[str, Any] = field(default_factory=dict)
    recipe: FittedFeatures | None = None
    complete: np.ndarray | None = None
    spectra: Fluxes | None = None

    def asked(self, method: Callable[..., Any]) -> dict[str, Any]:
        """Return what a method of a model of spectra wants to know beside the fluxes.

        Parameters
        ----------
        method : callable
            ``fit``, ``transform``, ``reconstruct`` …

        Returns
        -------
        dict
            Of ``weights``, ``redshift``, ``grid`` and ``normalized`` those that it takes and that are
            known; empty if these are no spectra, or the model takes rows.
        """
        if self.spectra is None or self.spectra.as_rows:
            return {}
        known = inspect.signature(method).parameters
        return {name: value for name, value in self.spectra.told().items() if name in known}

    def compared(self) -> np.ndarray:
        """Return the rows whose distances tell how alike two of them are.

        Returns
        -------
        (m, d) array
            Spectra without holes and each over its own level, for a model that sees to both itself.
        """
        if self.spectra is None or self.spectra.as_rows:
            return self.rows()
        return self.spectra.levelled(self.X)

    def rows(self) -> np.ndarray:
        """Return one flat row each, without copying.

        Returns
        -------
        (m, d) array
        """
        return self.X.reshape(len(self.X), int(np.prod(self.X.shape[1:])))

    def only(self, kept: np.ndarray) -> Inputs:
        """Return the same of fewer rows.

        Parameters
        ----------
        kept : (m,) array of bool
            Which of the rows to keep.

        Returns
        -------
        Inputs
        """
        usable = self.usable.copy()
        usable[usable] = kept
        complete = None if self.complete is None else self.complete[kept]
        spectra = None if self.spectra is None else self.spectra.only(kept)
        return replace(self, X=_taken(self.X, kept), usable=usable, complete=complete, spectra=spectra)


def inputs_of(
    table: QTable,
    takes: Takes,
    *,
    column: str | None = None,
    features: Features | str | Iterable[str] | None = None,
    missing: str | None = None,
    recipe: FittedFeatures | None = None,
    redshift: str | None = None,
    conditioned: bool = False,
    like: Inputs | None = None,
) -> Inputs:
    """Return what a model is given of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    takes : {"rows", "images", "spectra"}
        What the model takes.
    column : str, optional
        Column of images, or the fluxes.
    features : `Features`, str or iterable of str, optional
        Features; if neither is given, the images if there are any, else the spectra.
    missing : str, optional
        ``"drop"`` or ``"median"`` for features; ``"drop"``, ``"zero"`` or ``"mean"`` for NaN pixels.
    recipe : FittedFeatures, optional
        Treatment of the features that is known already, in place of ``features``.
    redshift : str, optional
        Column of redshifts, for a model that is given them.
    conditioned : bool, optional
        Whether the model is given redshifts.
    like : Inputs, optional
        Of other spectra, whose mean is put for pixels that do not count.

    Returns
    -------
    Inputs

    Raises
    ------
    InputError
        If both or neither can be meant, the model does not take it, or no row can be used.
    """
    if column is not None and features is not None:
        raise InputError("give column= (images, spectra) or features= (columns of numbers), not both")
    if len(table) == 0:
        raise InputError("the table has no rows to embed")
    if redshift is not None and not conditioned:
        raise InputError(
            f"redshift={redshift!r} has no meaning here: only models with conditioned=True are given it"
        )
    if recipe is not None:
        found = _of_recipe(table, recipe)
    elif features is not None:
        if takes != "rows":
            raise InputError(
                f"this model takes {takes} and not features: give column= or leave both out; for features "
                "there are 'pca', 'tsne' and the transformers of scikit-learn"
            )
        found = _of_features(table, features, missing)
    elif spectra_meant(table, takes, column):
        X, usable, columns, spectra = fluxes_of(
            table,
            as_rows=takes == "rows",
            missing=missing,
            redshift=redshift,
            conditioned=conditioned,
            like=None if like is None or like.spectra is None else like.spectra.mean_of(like.X),
        )
        found = Inputs(X, usable, columns, {"spectra": spectra.facts}, spectra=spectra)
    else:
        if column is None and not _has_images(table):
            raise InputError(_nothing_named(table, takes))
        found = _of_images(table, column, takes, missing)
    if not found.usable.any():
        raise InputError(
            f"none of the {len(table)} rows can be used: "
            + (
                f"each lacks one of the features {', '.join(found.columns)}; use missing='median', or leave "
                "out what is missing the most"
                if found.recipe is not None
                else f"their {'images' if found.spectra is None else 'spectra'} are marked as bad or have no "
                + ("pixel" if found.spectra is None else "pixel that counts")
                + (" without NaN; use missing='zero' or 'mean'" if missing == "drop" else "")
            )
        )
    return found


def checked_missing(missing: str | None) -> None:
    """Make sure that a policy is one of those known.

    Parameters
    ----------
    missing : str or None
        As in `inputs_of`.

    Raises
    ------
    InputError
        If it is not.
    """
    known = dict.fromkeys([*FILLS, *_POLICIES])
    if missing is not None and missing not in known:
        raise InputError(
            f"missing={missing!r} is not known here; give 'drop' or 'median' for features, "
            "'drop', 'zero' or 'mean' for the pixels of images and spectra"
        )


# ---------------------------------------------------------------- features


def _of_features(table: QTable, features: Features | str | Iterable[str], missing: str | None) -> Inputs:
    wanted = as_features(features)
    stacks = [name for name in wanted.columns if name in table.colnames and _is_stack(table[name])]
    if stacks:
        raise InputError(f"column {stacks[0]!r} holds images: give column={stacks[0]!r} in place of features")
    if missing is not None and missing not in _POLICIES:
        raise InputError(f"missing={missing!r} is for images; of features give 'drop' or 'median'")
    if missing is not None:
        wanted = replace(wanted, missing=missing)  # type: ignore[arg-type]
    if wanted.errors:
        raise InputError("an embedding cannot take measurement errors into account; leave errors out")
    if wanted.missing == "marginalize":
        raise InputError("an embedding cannot integrate missing values out; use missing='drop' or 'median'")
    recipe, matrix = wanted.fit_transform(table, missing="drop")
    return _with_recipe(recipe, matrix)


def _of_recipe(table: QTable, recipe: FittedFeatures) -> Inputs:
    return _with_recipe(recipe, recipe.transform(table))


def _with_recipe(recipe: FittedFeatures, matrix: Any) -> Inputs:
    X, _ = matrix.used()
    return Inputs(X, matrix.usable, recipe.inputs, {"recipe": recipe.to_plain()}, recipe)


def _nothing_named(table: QTable, takes: Takes) -> str:
    if takes == "spectra":
        return (
            "this model takes spectra, and the table has none, or does not say at which wavelengths they "
            "are; read_spectra makes such a table of files of spectra (on the command line: astro-cluster "
            "spectra)"
        )
    if takes == "images":
        return (
            "this model takes images, and the table has no column of (n, height, width) or (n, height, "
            "width, channels) numbers; read_cutouts makes one of image files (on the command line: "
            "astro-cluster cutouts)"
        )
    numeric = [
        name
        for name in table.colnames
        if getattr(getattr(table[name], "dtype", None), "kind", "O") in "fiub"
        and len(getattr(table[name], "shape", (0, 0, 0))) < 3
    ]
    shown = ", ".join(numeric[:30]) + (", …" if len(numeric) > 30 else "")
    return (
        "the table has no images and no spectra: say which columns to embed, features='hard_*,bb_kt' (on the "
        f"command line --features). Columns of numbers are: {shown or 'none'}"
    )


# ---------------------------------------------------------------- images


def _is_stack(column: Any) -> bool:
    return len(getattr(column, "shape", ())) > 2


def _has_images(table: QTable) -> bool:
    linked = link_of(table) is not None and ROW_COLUMN in table.colnames
    return linked or any(_is_stack(table[name]) for name in table.colnames)


def _of_images(table: QTable, column: str | None, takes: Takes, missing: str | None) -> Inputs:
    if missing == "median":
        raise InputError("missing='median' is for features; of images give 'drop', 'zero' or 'mean'")
    if column is not None and column in table.colnames and not _is_stack(table[column]):
        raise InputError(
            f"column {column!r} holds no images but {table[column].shape} numbers: give features={column!r}"
        )
    linked = link_of(table) is not None and not (
        column in table.colnames if column else any(_is_stack(table[name]) for name in table.colnames)
    )
    name = str((link_of(table) or {}).get("column", "image")) if linked else image_column(table, column)
    images = images_of(table, column)
    usable = usable_images(table, images, column)
    used = [ROW_COLUMN if linked else name, *([BAD] if BAD in table.colnames else [])]
    require(table, used)
    holes = _holes(images, usable, name, refuse_infinite=missing != "drop")
    n_holed = int(holes.sum())
    if n_holed and missing is None and takes == "rows":
        raise InputError(
            f"{n_holed} of {len(images)} images have NaN pixels (the first in row {holes.argmax()}), and "
            "this model cannot take them: give missing='zero' or 'mean' (of this pixel in the other images) "
            "to fill them, or 'drop' to leave these rows out (masked); autoencoders take them as they are"
        )
    if missing == "drop":
        usable &= ~holes
    X = _taken(images, usable)
    complete = None
    if n_holed and missing in ("zero", "mean"):
        X = _filled(X, missing)
    elif n_holed and missing is None:
        complete = ~holes[usable]
    shape = list(images.shape[1:])
    facts = {"column": name, "shape": shape, "dtype": images.dtype.name, "rows_with_nan": n_holed}
    if takes == "rows":
        X = X.reshape(len(X), int(np.prod(shape)))
    return Inputs(X, usable, used, {"images": facts}, complete=complete)


def _taken(images: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return the rows to be used, without a copy where they are one piece of the stack."""
    rows = np.flatnonzero(usable)
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return images[rows[0] : rows[-1] + 1]
    return images[rows]


def _holes(images: np.ndarray, usable: np.ndarray, name: str, *, refuse_infinite: bool) -> np.ndarray:
    """Tell which usable images have NaN pixels, or infinite ones, which may be refused."""
    found = np.zeros(len(images), dtype=bool)
    if images.dtype.kind != "f":
        return found
    for part in blocks_of_rows(images):
        axes = tuple(range(1, images.ndim))
        strange = ~np.isfinite(images[part]).all(axis=axes) & usable[part]
        for row in np.flatnonzero(strange & refuse_infinite) + part.start:
            if np.isinf(images[row]).any():
                raise InputError(
                    f"column {name!r} has infinite pixels, the first in row {row}; set them to NaN if they "
                    "mean 'not measured', or leave such rows out with missing='drop'"
                )
        found[part] = strange
    return found


def _filled(images: np.ndarray, missing: str) -> np.ndarray:
    """Return a copy without NaN pixels."""
    out = np.array(images)
    if missing == "zero":
        for part in blocks_of_rows(out):
            np.nan_to_num(out[part], copy=False)
        return out
    total = np.zeros(images.shape[1:])
    seen = np.zeros(images.shape[1:], dtype=np.int64)
    for part in blocks_of_rows(images):
        total += np.nansum(images[part], axis=0, dtype=np.float64)
        seen += np.isfinite(images[part]).sum(axis=0)
    mean = np.divide(total, seen, out=np.zeros_like(total), where=seen > 0).astype(images.dtype)
    for part in blocks_of_rows(out):
        np.copyto(out[part], mean, where=np.isnan(out[part]))
    return out
