"""What other catalogues call the objects of a table: positional crossmatches.

`crossmatch` matches with a file, with SIMBAD or with any VizieR table; `find_position` and
`sky_coord` tell where in a table the positions are.
"""

from __future__ import annotations

from astro_cluster.crossmatch.match import crossmatch
from astro_cluster.crossmatch.positions import find_position, sky_coord

__all__ = ["crossmatch", "find_position", "sky_coord"]
