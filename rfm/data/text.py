"""Text of a table: unpacked, decoded, without what is no data, and parted into records that know their lines."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rfm.files import check_is_file

ENDINGS = tuple(f"{ending}{packed}" for ending in (".csv", ".tsv", ".txt") for packed in ("", ".gz"))
"""Of the names of tables."""
SEPARATORS = ("\t", ";", ",")
"""That are guessed; of two that part the header alike, the former is taken."""


class Record(NamedTuple):
    """A row of the file, which goes over several lines where a quoted cell does.

    Attributes:
        line: its first, counted from 1.
        last: its last.
        cells: as they are written, without their quotes.
    """

    line: int
    last: int
    cells: list[str]


class Text(NamedTuple):
    """All lines of a file, parted by newlines; those without data are empty.

    Attributes:
        source: the path, for errors.
        lines: in one string.
        separator: of cells.
        num_comments: lines that were passed over because they begin with #.
    """

    source: str
    lines: str
    separator: str
    num_comments: int = 0

    @staticmethod
    def of(path: Path, separator: str | None) -> "Text":
        r"""Reads a file.

        Args:
            path: of a name that ends as in `ENDINGS`.
            separator: None for a tab where the name says .tsv, and else for what parts the first two records best.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is a folder, broken, empty, or no text in UTF-8; a separator that can be none.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "houses.csv").write_text("rooms;area\r\n3;70,5\r\n")
        ...     text = Text.of(Path(folder, "houses.csv"), None)
        >>> text.separator, [record.cells for record in text.records()]
        (';', [['rooms', 'area'], ['3', '70,5']])
        """
        source = str(path)
        lines, num_comments = _blanked(_decoded(path), "#", "#.*")
        if not lines.strip():
            raise ValueError(f"dataset: {source} is empty; write the names of the columns in its first line")
        if separator is None:
            separator = "\t" if ".tsv" in source.lower()[-7:] else _guessed(source, lines)
        else:
            separator = _checked(separator)
        marks = f" \t{separator}"
        lines, _ = _blanked(lines, marks, f"[{re.escape(marks)}]+")
        return Text(source, lines, separator, num_comments)

    def records(self) -> Iterator[Record]:
        """All that are not empty, the header first.

        Raises:
            ValueError: one that cannot be parted into cells.
        """
        reader = csv.reader(_one_by_one(self.lines), delimiter=self.separator, skipinitialspace=True)
        line = 1
        try:
            for cells in reader:
                if len(cells) > 1 or "".join(cells).strip():
                    yield Record(line, reader.line_num, cells)
                line = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f"dataset: line {line} of {self.source} has no cells that can be read ({error})"
            ) from error

    def below(self, record: Record) -> str:
        """The lines after a record."""
        return "".join(self.lines.split("\n", record.last)[record.last :])


def _decoded(path: Path) -> str:
    content = _unpacked(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:1000]:
        raise ValueError(f"dataset: {path} {_what_else(content)}; save it as text in UTF-8 (in Excel: CSV UTF-8)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1]
        raise ValueError(
            f"dataset: {path} is not in UTF-8: line {line} holds the byte 0x{byte.hex()}, which in Latin-1 would be "
            f"{byte.decode('latin-1')!r}; save it in UTF-8 (iconv -f latin1 -t utf8, or encoding='utf-8' in Python)"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _what_else(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is in UTF-16"
    return "is a spreadsheet, or another archive" if content.startswith(b"PK") else "holds zero bytes, so it is no text"


def _unpacked(path: Path) -> bytes:
    check_is_file("dataset", path)
    content = path.read_bytes()
    if path.suffix.lower() != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"dataset: {path} cannot be unpacked ({error}); copy it again, or name it without .gz if it is not packed"
        ) from error


def _blanked(text: str, starts: str, pattern: str) -> tuple[str, int]:
    """The text with empty lines in the place of those that match, outside of quotes; and how many these were.

    Only lines that begin with one of ``starts`` match.
    """
    if not any(text.startswith(mark) or f"\n{mark}" in text for mark in starts):
        return text, 0
    pieces, end, is_quoted, count = [], 0, False, 0
    for found in re.finditer(f"^{pattern}$", text, re.MULTILINE):
        pieces.append(text[end : found.start()])
        is_quoted ^= pieces[-1].count('"') % 2 == 1
        end = found.end()
        if is_quoted:
            pieces.append(found.group())
            is_quoted ^= found.group().count('"') % 2 == 1
        else:
            count += 1
    return "".join([*pieces, text[end:]]), count


def _one_by_one(lines: str) -> Iterator[str]:
    start = 0
    while start < len(lines):
        end = lines.find("\n", start) + 1 or len(lines)
        yield lines[start:end]
        start = end


def _guessed(source: str, lines: str) -> str:
    """What parts the header into several cells, and the record below it into as many; else what parts it into most."""

    def fit(mark: str) -> tuple[bool, int]:
        records = Text(source, lines, mark).records()
        header, below = (len(record.cells) if record else 0 for record in (next(records, None), next(records, None)))
        return header == below > 1, header

    return max(SEPARATORS, key=fit)


def _checked(separator: str) -> str:
    separator = "\t" if separator.lower() in ("tab", "\\t") else separator
    if len(separator) != 1 or separator.isalnum() or separator in '."\n\r#':
        raise ValueError(f"separator: must be one mark, such as ; or tab, got {separator!r}")
    return separator
