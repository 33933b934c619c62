"""Keep the figures of the tutorials that are scripts.

Sphinx-Gallery looks for figures in pyplot, which those of `astro_cluster.plotting` never touch.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 140
_kept: weakref.WeakSet[Figure] = weakref.WeakSet()


def keep_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that a block of a script has made.

    Parameters
    ----------
    block : tuple
        Kind, text and line of the block.
    block_vars : dict
        Its variables and the paths for its pictures.
    gallery_conf : dict
        Settings of Sphinx-Gallery.

    Returns
    -------
    str
        What shows them, in reStructuredText.
    """
    from sphinx_gallery.scrapers import figure_rst

    paths = []
    for figure in _figures(block_vars["example_globals"]):
        if figure in _kept:
            continue
        _kept.add(figure)
        path = next(block_vars["image_path_iterator"])
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
        paths.append(path)
    return figure_rst(paths, gallery_conf["src_dir"])


def _figures(variables: dict[str, Any]) -> Iterator[Figure]:
    for value in list(variables.values()):
        if isinstance(value, Figure):
            yield value
        elif isinstance(value, Axes) and (figure := value.get_figure(root=True)) is not None:
            yield figure
