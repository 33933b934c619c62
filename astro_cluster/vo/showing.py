"""The object behind a click: its cutout, its spectrum, or what the caller draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError

if TYPE_CHECKING:
    from astropy.table import QTable, Row
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Show", "Viewer"]

Show = str | Callable[["Row"], Any]

_WORDS = {"image": ("image", "cutout"), "spectrum": ("flux", "spectrum")}
_GRIDS = ("wavelength", "wave", "lambda", "grid")
_TITLES = ("main_id", "name", "id", "source_id", "objid", "designation")


def _shape(table: QTable, name: str) -> tuple[int, ...]:
    column = table[name]
    kind = getattr(getattr(column, "dtype", None), "kind", "O")
    return tuple(column.shape[1:]) if kind in "iufb" else ()


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))


def _column(table: QTable, show: str) -> str:
    """Return the column that is meant by a word or a name."""
    if show not in _WORDS or show in table.colnames:
        return require(table, show)[0]
    wanted = _is_image if show == "image" else lambda shape: len(shape) == 1 and shape[0] > 1
    fitting = [name for name in table.colnames if wanted(_shape(table, name))]
    for name in (*_WORDS[show], *(fitting if len(fitting) == 1 else ())):
        if name in fitting:
            return name
    seen = f"several could be meant: {', '.join(fitting)}" if fitting else "there is none"
    shape = "(n, height, width)" if show == "image" else "(n, pixels)"
    raise InputError(f"show={show!r} needs a column of the shape {shape}, and {seen}; give its name")


class Viewer:
    """One figure, drawn anew for each row.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    show : str or callable
        ``"image"``, ``"spectrum"``, the name of a column of images (n, h, w[, c]) or spectra
        (n, m), or a function that is given the row.
    file : path, optional
        Draw into this file instead of a window.

    Raises
    ------
    InputError
        If there is no such column, or it holds neither.
    """

    def __init__(self, table: QTable, show: Show, *, file: Path | None = None) -> None:
        self._table, self._file = table, file
        self._figure: Figure | None = None
        self._function = show if callable(show) else None
        self._name = "" if callable(show) else _column(table, show)
        if self._function is None:
            shape = _shape(table, self._name)
            if not (_is_image(shape) or len(shape) == 1):
                raise InputError(
                    f"show={show!r}: column {self._name!r} holds neither images (n, h, w) nor spectra "
                    "(n, m); give another, or a function that draws the row"
                )

    @property
    def in_a_window(self) -> bool:
        """Whether there is a window, which has to be kept alive."""
        import matplotlib as mpl
        from matplotlib.backends import BackendFilter, backend_registry

        interactive = backend_registry.list_builtin(BackendFilter.INTERACTIVE)
        return self._file is None and str(mpl.get_backend()).lower() in {name.lower() for name in interactive}

    def draw(self, row: int) -> Any:
        """Draw one row; call it from the main thread.

        Parameters
        ----------
        row : int
            From 0.

        Returns
        -------
        `~matplotlib.figure.Figure` or object
            What the function returns, if there is one.
        """
        if self._function is not None:
            return self._function(self._table[row])
        figure = self._empty_figure()
        axes = figure.add_subplot()
        if _is_image(_shape(self._table, self._name)):
            self._draw_image(axes, row)
        else:
            self._draw_spectrum(axes, row)
        axes.set_title(self._title(row))
        if self._file is not None:
            self._save(figure, self._file)
        else:
            figure.canvas.draw_idle()
            self.linger(0.001)
        return figure

    def _empty_figure(self) -> Figure:
        if self._file is not None:
            from matplotlib.figure import Figure

            return Figure(layout="constrained")
        from matplotlib import pyplot as plt

        if self._figure is None or not plt.fignum_exists(self._figure.number):
            self._figure = plt.figure(layout="constrained")
            if self.in_a_window:
                self._figure.show()
        self._figure.clear()
        return self._figure

    def _values(self, row: int) -> np.ndarray:
        value = self._table[self._name][row]
        value = getattr(value, "filled", lambda _: value)(np.nan) if _is_float(value) else value
        return np.asarray(getattr(value, "value", value))

    def _draw_image(self, axes: Axes, row: int) -> None:
        values = self._values(row)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[:, :, 0]
        values = values.astype(float)
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
        if high <= low:
            low, high = low - 0.5, low + 0.5
        if values.ndim == 3:
            values = np.nan_to_num(np.clip((values - low) / (high - low), 0, 1), nan=0.0)
        axes.imshow(values, origin="lower", cmap="gray", vmin=low, vmax=high)
        axes.set_axis_off()

    def _draw_spectrum(self, axes: Axes, row: int) -> None:
        values = self._values(row)
        grid, label = self._grid(len(values))
        axes.step(grid, values, where="mid", linewidth=0.8, color="k")
        axes.set_xlabel(label)
        unit = getattr(self._table[self._name], "unit", None)
        axes.set_ylabel(f"{self._name} [{unit}]" if unit else self._name)

    def _grid(self, pixels: int) -> tuple[np.ndarray, str]:
        """Return the wavelengths: from the meta of the column, or of the table, or the pixels."""
        for meta in (self._table[self._name].info.meta or {}, self._table.meta):
            for word in _GRIDS:
                found = meta.get(word)
                unit = getattr(found, "unit", None)
                values = np.asarray(getattr(found, "value", found))
                if values.shape == (pixels,) and values.dtype.kind in "iuf":
                    return values, f"{word} [{unit}]" if unit else word
        return np.arange(pixels), "pixel"

    def _title(self, row: int) -> str:
        names = {name.lower(): name for name in self._table.colnames}
        found = next((names[word] for word in _TITLES if word in names), None)
        return f"row {row}" if found is None else f"row {row}: {self._table[found][row]}"

    def _save(self, figure: Figure, file: Path) -> None:
        from astro_cluster.tables import beside

        with beside(file, overwrite=True) as place:
            figure.savefig(place, format=file.suffix.removeprefix("."), dpi=150)

    def linger(self, seconds: float) -> None:
        """Let the window live.

        Parameters
        ----------
        seconds : float
            How long.
        """
        if not self.in_a_window:
            return
        from matplotlib import pyplot as plt

        if plt.get_fignums():  # also those of a function that draws
            plt.gcf().canvas.start_event_loop(seconds)
        else:
            time.sleep(seconds)

    def close(self) -> None:
        """Close the window."""
        if self._figure is not None:
            from matplotlib import pyplot as plt

            plt.close(self._figure)
            self._figure = None


def _is_float(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", "") == "f"
