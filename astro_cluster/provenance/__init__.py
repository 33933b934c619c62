"""The record of every step, and how to run it again.

A public step is decorated with `step`.  It returns a `Step`; the decorator writes the
record into ``table.meta["astro_cluster"]`` and hands the table to the caller.  `rerun`
finds the steps by name through the entry points of group ``astro_cluster.steps``, so
that this room imports none of the rooms above it.
"""

from __future__ import annotations

from astro_cluster.provenance.codec import decode, encode, register_codec, to_json
from astro_cluster.provenance.hashing import content_hash, content_hash_of_chunks
from astro_cluster.provenance.record import META_KEY, OMIT, Step, last_record, records, step
from astro_cluster.provenance.replay import register_lender, rerun

__all__ = [
    "META_KEY",
    "OMIT",
    "Step",
    "content_hash",
    "content_hash_of_chunks",
    "decode",
    "encode",
    "last_record",
    "records",
    "register_codec",
    "register_lender",
    "rerun",
    "step",
    "to_json",
]
