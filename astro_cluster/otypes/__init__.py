"""SIMBAD's types of objects: what they are called, what holds what, and which rows are of which.

A dated list comes with the package; `update` fetches the present one.
"""

from astro_cluster.otypes.queries import (
    ancestors,
    code_of,
    descendants,
    fold,
    hierarchy,
    is_candidate,
    label_of,
)
from astro_cluster.otypes.selecting import otype_in
from astro_cluster.otypes.snapshots import Snapshot, reset, snapshot
from astro_cluster.otypes.updating import update

__all__ = [
    "Snapshot",
    "ancestors",
    "code_of",
    "descendants",
    "fold",
    "hierarchy",
    "is_candidate",
    "label_of",
    "otype_in",
    "reset",
    "snapshot",
    "update",
]
