"""What other catalogues call the objects of a table: positional crossmatches.

`crossmatch` matches with a file, with SIMBAD or with any VizieR table; `find_position` and
`sky_coord` tell where in a table the positions are.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

from astro_cluster.crossmatch.match import crossmatch
from astro_cluster.crossmatch.positions import find_position, sky_coord

__all__ = ["crossmatch", "find_position", "sky_coord"]


class _CallableModule(ModuleType):
    """The room and its step have one name, and Python makes the room an attribute of the package.

    ``astro_cluster.crossmatch(…)`` works all the same.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return crossmatch(*args, **kwargs)


_room = sys.modules[__name__]
_room.__class__ = _CallableModule
_room.__signature__ = inspect.signature(crossmatch)  # type: ignore[attr-defined]
