"""What other catalogues call the objects of a table: positional crossmatches.

`crossmatch` matches with a file, with SIMBAD or with any VizieR table; `choose_radius` tells how far
apart counterparts may be before most are there by chance; `find_position` and
`sky_coord` tell where in a table the positions are.

The room is not named after its function: Python makes an imported room an attribute of the
package, where it would hide ``astro_cluster.crossmatch``.
"""

from __future__ import annotations

from astro_cluster.matching.match import crossmatch
from astro_cluster.matching.radii import choose_radius
from astro_cluster.positions import find_position, sky_coord

__all__ = ["choose_radius", "crossmatch", "find_position", "sky_coord"]
