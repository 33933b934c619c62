"""How Sphinx builds these pages; the figures are drawn while it does."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

project = "astro_cluster"
author = "the astro_cluster developers"
copyright = f"{datetime.now(UTC).year}, {author}"
release = installed_version("astro_cluster")
version = release.split("+")[0]

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
if os.environ.get("ASTRO_CLUSTER_DOCS_INTERSPHINX"):  # needs a network
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "astropy": ("https://docs.astropy.org/en/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }

default_role = "obj"
rst_prolog = ".. currentmodule:: astro_cluster\n"  # so that `read` is a link on every page
templates_path = ["_templates"]
exclude_patterns = ["_build", "tutorials/gallery"]  # of the latter, what its scripts become is read
autosummary_generate = True
# Where file names know no case, Step would be step.
autosummary_filename_map = {"astro_cluster.provenance.Step": "astro_cluster.provenance.Step_class"}
autodoc_typehints = "none"  # the docstrings tell types, shapes and units
numpydoc_show_class_members = False  # the class template lists them
nitpicky = False

# The scripts run from start to end; what they say and draw is the page.  Nothing that differs from
# one build to the next, such as seconds, is shown.
sphinx_gallery_conf = {
    "examples_dirs": "tutorials/gallery",
    "gallery_dirs": "tutorials/images",
    "filename_pattern": "plot_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("gallery.keep_figures",),
    "reset_modules": ("matplotlib",),
    "capture_repr": (),
    "abort_on_example_error": True,
    "parallel": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "backreferences_dir": None,
    "thumbnail_size": (400, 280),
}

html_theme = "pydata_sphinx_theme"
html_title = f"astro_cluster {version}"
html_static_path = ["_static"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True


def setup(app):
    """Draw the figures of the pages before the pages are read; know the directives of the tests."""
    from docutils.parsers.rst import Directive
    from make_figures import make_figures

    class Shown(Directive):
        """Show the examples; that they need a package is for the tests to know."""

        has_content = True
        optional_arguments = 1
        final_argument_whitespace = True

        def run(self):
            from docutils import nodes

            inside = nodes.Element()
            self.state.nested_parse(self.content, self.content_offset, inside)
            return inside.children

    app.add_directive("doctest-requires", Shown)
    app.connect("builder-inited", lambda _: make_figures())
