"""What a document holds and where: its data are found and cut out, what is dangerous refused.

Everything but the data of the tables passes through expat, which sees entities, comments and
nesting as every other parser does.  The data, which are nearly all of a document, are skipped:
inside a STREAM or a TABLEDATA the next tag is found by its first bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from xml.parsers import expat

from astro_cluster.exceptions import InputError
from astro_cluster.votable.document import Document
from astro_cluster.votable.units import check_unit

__all__ = ["Found", "Skeleton", "TableFound", "scan"]

MAX_DEPTH = 100
MAX_FIELDS = 10_000
MAX_HEAD = 2**28

_SKIPPED = re.compile(rb"<(?:[\w.-]{1,99}:)?(?:STREAM|TABLEDATA)(?=[\s/>])")
_END_OF_TABLEDATA = re.compile(rb"</(?:[\w.-]{1,99}:)?TABLEDATA\s{0,99}>")
_TAG = re.compile(rb"""<[^<>"']*(?:(?:"[^"<]*"|'[^'<]*')[^<>"']*)*>""")
_NROWS = re.compile(rb"""\snrows\s*=\s*(?:"[^"]*"|'[^']*')""")
_ARRAYSIZE = re.compile(rb"""(\sarraysize\s*=\s*)(?:"[^"]*"|'[^']*')""")
_TEXTS = re.compile(r"(\d+)((?:x\d+)*)(x\d*\*)?")
_LONGEST_TAG = 2**16


@dataclass
class Found:
    """The data of a table.

    Parameters
    ----------
    kind : str
        Name of the element: TABLEDATA, BINARY, BINARY2, …
    start, stop : int
        Where they stand in the document; empty if they are not `plain`.
    encoding : str
        That of the STREAM, as the document says.
    plain : bool
        Whether nothing but characters stands there: no comment and no CDATA.
    """

    kind: str = ""
    start: int = 0
    stop: int = 0
    encoding: str = ""
    plain: bool = True


@dataclass
class TableFound:
    """A TABLE of a document: the rows that it declares, and its data."""

    rows: int | None = None
    data: Found | None = None
    in_data: bool = False
    cuts: list[tuple[int, int]] = field(default_factory=list)
    """Where its DATA elements stand in the text of the skeleton."""


@dataclass
class Skeleton:
    """A document without its data.

    Parameters
    ----------
    tables : list of TableFound
        In the order of the document.
    texts : dict
        Shape of the cells of columns of several texts a row, by the number of the FIELD in the
        document, counted from 0; the first length is that of one text, and -1 stands for any number.
    encoding : str
        In lower case.
    """

    tables: list[TableFound] = field(default_factory=list)
    texts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    encoding: str = "utf-8"
    _text: bytearray = field(default_factory=bytearray)
    _edits: list[tuple[int, int, bytes]] = field(default_factory=list)
    _skips: list[tuple[int, int, int]] = field(default_factory=list)

    def head(self) -> bytes:
        """Return the document without the DATA elements, and without declared numbers of rows."""
        return b"".join(self._pieces(None, None))

    def reader(self, document: Document, number: int) -> Callable[[int], bytes]:
        """Return a function that reads the document with the data of one table.

        Parameters
        ----------
        document : Document
            Where they stand.
        number : int
            Which table.

        Returns
        -------
        callable
            Takes how many bytes to return.
        """
        pieces = self._pieces(document, number)
        waiting = bytearray()

        def read(size: int) -> bytes:
            while len(waiting) < size and (piece := next(pieces, None)) is not None:
                waiting.extend(piece)
            part = bytes(waiting[:size])  # less than what is asked for is the end to astropy
            del waiting[:size]
            return part

        return read

    def _pieces(self, document: Document | None, number: int | None) -> Iterator[bytes]:
        cuts = [cut for i, table in enumerate(self.tables) if i != number for cut in table.cuts]
        changes = [(start, stop, new, 0, 0) for start, stop, new in self._edits]
        changes += [(start, stop, b"", 0, 0) for start, stop in cuts]
        changes += [(at, at, b"", first, last) for at, first, last in self._skips]
        position = 0
        for start, stop, new, first, last in sorted(changes):
            if start < position:  # within what is cut out
                continue
            yield bytes(self._text[position:start]) + new
            position = stop
            for begin in range(first, last, 2**16):
                assert document is not None  # noqa: S101
                yield document.read(begin, min(begin + 2**16, last))
        yield bytes(self._text[position:])


class _Scanner:
    """The handlers of expat."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.skeleton = Skeleton()
        self.text = self.skeleton._text
        self.stack: list[str] = []
        self.fields = self.columns = self.items = 0
        self.data_start = 0
        self.parser = parser = expat.ParserCreate()
        parser.XmlDeclHandler = self.declaration
        parser.StartDoctypeDeclHandler = self.refuse
        parser.EntityDeclHandler = self.refuse
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end

    @property
    def table(self) -> TableFound | None:
        tables = self.skeleton.tables
        return tables[-1] if tables and "TABLE" in self.stack else None

    def feed(self, piece: bytes) -> None:
        if len(self.text) + len(piece) > MAX_HEAD:
            raise InputError(f"the VOTable has more than {MAX_HEAD:,} bytes beside its data")
        self.text += piece
        self.parser.Parse(piece, False)

    def declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        self.skeleton.encoding = (encoding or "utf-8").lower()

    def refuse(self, *args: object) -> None:
        raise InputError(
            "the VOTable has a DOCTYPE or declares entities, which no VOTable needs and which can do harm; "
            "it is refused. If it can be trusted, take the DOCTYPE out"
        )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.partition(":")[2] or name
        parent = self.stack[-1] if self.stack else ""
        self.stack.append(name)
        if len(self.stack) > MAX_DEPTH:
            raise InputError(f"the elements of the VOTable are nested more than {MAX_DEPTH} deep")
        if name == "STREAM" and "href" in attributes:
            raise InputError(
                "the VOTable keeps its data at another address (STREAM href), which is not followed"
            )
        check_unit(attributes.get("unit", ""))
        if name == "TABLE":
            self._start_table(attributes)
        elif name in ("FIELD", "PARAM"):
            self._start_field(name, parent, attributes)
        elif name == "DATA" and parent == "TABLE":
            self.data_start = self.parser.CurrentByteIndex
            self.skeleton.tables[-1].in_data = True
        elif (table := self.table) is not None and table.in_data:
            if parent == "DATA" and table.data is None:
                table.data = Found(name)
            elif name == "STREAM" and table.data is not None:
                table.data.encoding = attributes.get("encoding", "")

    def _tag(self) -> tuple[int, bytes]:
        """Return the tag that expat is at."""
        start = self.parser.CurrentByteIndex
        found = _TAG.match(self.text, start)
        return start, bytes(found[0]) if found else b""

    def _start_table(self, attributes: dict[str, str]) -> None:
        declared = attributes.get("nrows", "")
        rows = int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 19 else None
        if declared and rows is None:
            raise InputError(f"the VOTable declares {declared[:50]!r} rows, which is no number of rows")
        self.skeleton.tables.append(TableFound(rows))
        if declared:
            start, tag = self._tag()
            if found := _NROWS.search(tag):
                self.skeleton._edits.append((start + found.start(), start + found.end(), b""))

    def _start_field(self, name: str, parent: str, attributes: dict[str, str]) -> None:
        self.fields += 1
        if self.fields > MAX_FIELDS:
            raise InputError(f"the VOTable has more than {MAX_FIELDS:,} fields and parameters")
        self.columns += name == "FIELD" and parent == "TABLE"
        declared = attributes.get("arraysize", "").strip()
        if attributes.get("datatype") in ("char", "unicodeChar", "string", "unicodeString"):
            if "x" in declared and (found := _TEXTS.fullmatch(declared)) and len(declared) < 100:
                self._several_texts(name, parent, found)
            return
        sizes = [int(size) for size in re.findall(r"\d{1,18}", declared)]
        self.items += prod(sizes)
        # A decoder of astropy's makes room for one cell of each field before it sees any data.
        if self.items > 2**20 + 8 * self.document.size:
            raise InputError(
                f"the field {attributes.get('name')!r} declares cells of arraysize {declared!r}, for which "
                "the VOTable is too short"
            )

    def _several_texts(self, name: str, parent: str, found: re.Match[str]) -> None:
        """Let a cell of several texts pass for one long text, since astropy knows no others."""
        sizes = [int(size) for size in re.findall(r"\d+", found[0])]
        varies = found[0].endswith("*")
        if name == "FIELD" and parent == "TABLE":
            shape = tuple(sizes[: found[0].count("x")]) if varies else tuple(sizes)
            self.skeleton.texts[self.columns - 1] = (*shape, -1) if varies else shape
        size = b"*" if varies or name == "PARAM" else str(prod(sizes)).encode()
        start, tag = self._tag()
        if attribute := _ARRAYSIZE.search(tag):
            end = start + attribute.end()
            self.skeleton._edits.append((start + attribute.end(1), end, b'"' + size + b'"'))

    def end(self, name: str) -> None:
        name = name.partition(":")[2] or name
        self.stack.pop()
        if name == "DATA" and self.stack and self.stack[-1] == "TABLE":
            found = _TAG.match(self.text, self.parser.CurrentByteIndex)
            stop = found.end() if found else len(self.text)
            self.skeleton.tables[-1].cuts.append((self.data_start, stop))
            self.skeleton.tables[-1].in_data = False

    def _end_of_tabledata(self, position: int) -> int:
        """Return where the end tag begins; -1 if there is none."""
        at = self.document.find(b"TABLEDATA", position)  # a long word, found faster than a pattern
        while at >= 0:
            first = max(position, at - 110)
            for found in _END_OF_TABLEDATA.finditer(self.document.read(first, at + 120)):
                if first + found.start() < at < first + found.end():
                    return first + found.start()
            at = self.document.find(b"TABLEDATA", at + 1)
        return -1

    def _has_marks(self, start: int, stop: int) -> bool:
        """Tell whether a comment, a CDATA or a processing instruction begins somewhere."""
        for mark in (b"!", b"?"):  # rarer than what stands before them
            at = self.document.find(mark, start, stop)
            for _ in range(100):
                if at < 0 or self.document.read(at - 1, at) == b"<":
                    break
                at = self.document.find(mark, at + 1, stop)
            else:
                at = self.document.find(b"<" + mark, at - 1, stop)
            if at >= 0:
                return True
        return False

    def skip_data(self, position: int) -> int:
        """Return where the data end that begin here; the position itself if expat has to see them."""
        table = self.table
        if table is None or table.data is None or not (table.in_data and table.data.plain) or table.data.stop:
            return position
        if self.stack[-1] == "STREAM":
            stop = self.document.find(b"<", position)
            table.data.plain = stop >= 0 and self.document.read(stop, stop + 2) == b"</"
        elif self.stack[-1] == "TABLEDATA":
            stop = self._end_of_tabledata(position)
            table.data.plain = stop >= 0 and not self._has_marks(position, stop)
        else:
            return position
        if not table.data.plain:
            return position
        table.data.start, table.data.stop = position, stop
        self.skeleton._skips.append((len(self.text), position, stop))
        return stop


def scan(document: Document) -> Skeleton:
    """Find the tables of a document and where their data stand.

    Parameters
    ----------
    document : Document
        The whole text.

    Returns
    -------
    Skeleton

    Raises
    ------
    InputError
        If it has a DOCTYPE, a STREAM with an address, is nested too deep or declares what cannot be.
    xml.parsers.expat.ExpatError
        If it is no XML.

    Examples
    --------
    >>> text = b"<VOTABLE><RESOURCE><TABLE><DATA><TABLEDATA/></DATA></TABLE></RESOURCE></VOTABLE>"
    >>> with Document(text, max_bytes=1000) as document:
    ...     scan(document).head()
    b'<VOTABLE><RESOURCE><TABLE></TABLE></RESOURCE></VOTABLE>'
    """
    scanner = _Scanner(document)
    position = looked = 0
    while True:
        start, _ = document.search(_SKIPPED, looked)
        if start < 0:
            break
        tag = _TAG.match(document.read(start, start + _LONGEST_TAG))
        looked = start + (len(tag[0]) if tag else 1)
        if tag is None:
            continue
        scanner.feed(document.read(position, min(looked, position + MAX_HEAD + 1)))
        position = looked = scanner.skip_data(looked)
    for start in range(position, document.size, 2**20):
        scanner.feed(document.read(start, start + 2**20))
    scanner.parser.Parse(b"", True)
    return scanner.skeleton
