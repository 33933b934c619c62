"""VOTables as TOPCAT, STILTS and the standard want them, in and out fast and safely.

Under `astro_cluster.tables`; knows nothing of records: texts that have to travel with
the table go out and come back as named INFO elements.
"""

from astro_cluster.votable.describe import describe
from astro_cluster.votable.read import read_votable
from astro_cluster.votable.texts import VERSIONS
from astro_cluster.votable.write import write_head, write_votable

__all__ = ["VERSIONS", "describe", "read_votable", "write_head", "write_votable"]
