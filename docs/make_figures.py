"""Draw the figures of the pages, by running the pages themselves.

What a page shows is therefore what the code on that page draws.  Sphinx calls this when a
build begins; ``python docs/make_figures.py`` does it by hand.
"""

from __future__ import annotations

import contextlib
import doctest
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
FIGURES = DOCS / "_static" / "figures"
PAGES = (
    "tutorials/chandra.rst",
    "user_guide/comparing.rst",
    "user_guide/calibration.rst",
    "user_guide/image_figures.rst",
    "user_guide/spectra_figures.rst",
    "user_guide/simulations.rst",
)


def make_figures() -> list[Path]:
    """Run the pages in an empty folder and keep the figures that they save.

    Returns
    -------
    list of path
        The figures, in ``docs/_static/figures``.
    """
    FIGURES.mkdir(parents=True, exist_ok=True)
    made = []
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        lesson = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            # Whether the output is right is for the tests to say.
            doctest.DocTestRunner(verbose=False).run(lesson, out=lambda _: None)
            for drawn in sorted(Path(folder).glob("*.png")):
                kept = FIGURES / drawn.name
                kept.write_bytes(drawn.read_bytes())
                made.append(kept)
    return made


if __name__ == "__main__":
    for path in make_figures():
        print(path)
