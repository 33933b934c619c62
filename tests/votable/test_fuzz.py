"""10,000 random mutations of valid VOTables: each is a table or one clear error."""

from __future__ import annotations

import gzip
import io
import re
import resource
import time

import numpy as np
import pytest
from astropy.table import QTable

from astro_cluster.exceptions import InputError
from astro_cluster.votable import read_votable, tabledata

from .documents import by_astropy, small, varying, written

MUTATIONS = 10_000
_HOSTILE = [
    *(b"0", b"-1", b"1", b"*", b"9", b"99999999999", b"4294967295", b"2147483648", b"3x*", b"3x2", b"0x*"),
    *(b"double", b"char", b"bit", b"boolean", b"long", b"unicodeChar", b"floatComplex", b"unsignedByte"),
    *(b"", b"x", b"NaN", b"m**999999999", b"10+99", b"((((", b"&#0;", b"&bomb;", b"1.1", b"2.0", b"gzip"),
]
_PIECES = [
    *(b"<TR>", b"</TR>", b"<TD>", b"</TD>", b"<TD/>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?x?>", b"&"),
    *(b"<DATA>", b"</DATA>", b"<STREAM>", b"<BINARY>", b"<BINARY2>", b"<TABLE>", b"<RESOURCE>", b"<GROUP>"),
    *(b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"\0", b"\xff\xfe", b"=", b"====", b"<VALUES null='1'/>"),
    *(b"<FIELD name='q' datatype='int' arraysize='99999999999'/>", b"<PARAM name='q' datatype='x'/>"),
]
_WEIGHTS = np.array([1, 1, 1, 2, 6, 3, 2, 4, 1]) / 21


def documents() -> list[bytes]:
    """Valid VOTables of all serialisations."""
    plain = written(small()["id", "ra", "flux", "count", "flag", "name", "vector"])
    out = [plain, written(varying()), written(small()["id", "name", "ascii"], infos={"note": "a" * 50})]
    out += [
        by_astropy(written(small()["id", "ra", "flux", "flag", "vector"]), kind)
        for kind in ("tabledata", "binary")
    ]
    return out


def mutated(rng: np.random.Generator, document: bytes) -> bytes:
    """Return a document with one to three random changes."""
    text = bytearray(document)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(text))) if text else 0
        kind = rng.choice(9, p=_WEIGHTS)
        if kind == 0 and text:
            text[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del text[at:]
        elif kind == 2:
            del text[at : at + int(rng.integers(1, 40))]
        elif kind == 3:
            text[at:at] = _PIECES[rng.integers(len(_PIECES))]
        elif kind == 4:  # an attribute
            found = list(re.finditer(rb'(?<==")[^"]*(?=")', text))
            if found:
                chosen = found[rng.integers(len(found))]
                text[chosen.start() : chosen.end()] = _HOSTILE[rng.integers(len(_HOSTILE))]
        elif kind == 5:  # a tag twice, or not at all
            found = list(re.finditer(rb"<[^<>]*>", text))
            if found:
                chosen = found[rng.integers(len(found))]
                text[chosen.start() : chosen.end()] = chosen[0] * int(rng.choice([0, 2]))
        elif kind == 6:  # part of the data or the header, somewhere else
            part = text[at : at + int(rng.integers(1, 60))]
            to = int(rng.integers(len(text) + 1))
            text[to:to] = part
        elif kind == 7:  # other data, still base64
            found = list(re.finditer(rb"[A-Za-z0-9+/]{8,}", text))
            if found:
                chosen = found[rng.integers(len(found))]
                text[int(rng.integers(*chosen.span()))] = b"ABCDEFabcdef01279+/"[rng.integers(19)]
        elif text:
            text[at : at + 1] = bytes([rng.integers(256)])
    return bytes(text)


@pytest.mark.filterwarnings("ignore::astro_cluster.exceptions.AstroClusterWarning")
@pytest.mark.parametrize("part", range(4))
def test_mutations_crash_nothing(part, monkeypatch):
    monkeypatch.setattr(tabledata, "WORTH_IT", 0 if part % 2 else tabledata.WORTH_IT)
    rng = np.random.default_rng(part)
    valid = documents()
    outcomes = {"table": 0, "error": 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(MUTATIONS // 4):
        document = mutated(rng, valid[number % len(valid)])
        if number % 50 == 0:
            document = mutated(rng, gzip.compress(document, 1))
        began = time.perf_counter()
        try:
            table, infos = read_votable(io.BytesIO(document))
        except InputError:
            outcomes["error"] += 1
        else:
            outcomes["table"] += isinstance(table, QTable) and isinstance(infos, dict)
        assert time.perf_counter() - began < 20, number  # no hang
    assert sum(outcomes.values()) == MUTATIONS // 4
    assert min(outcomes.values()) > 100, outcomes  # the mutations are neither all fatal nor all harmless
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB
