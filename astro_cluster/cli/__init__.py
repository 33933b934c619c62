"""The command line: a verb a step, each reading and writing tables so that they chain.

Thin on purpose: a verb calls public functions and shows what they return.  The rooms are imported
inside the verbs, so that ``astro-cluster --help`` answers at once.
"""

from __future__ import annotations

from astro_cluster.cli.app import app, main

__all__ = ["app", "main"]
