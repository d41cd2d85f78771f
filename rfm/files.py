"""Files that are always whole: written under another name, and renamed once they are on the disk.

A temporary name holds a random token, since process ids repeat between containers that share a volume. Its writer holds
a lock on it, which dies with the writer, whatever kills it: so the next writer of the same path knows what was left.
"""

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: what is left there is known by its age
    fcntl = None  # type: ignore[assignment]

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which a temporary file counts as left where the file system knows no locks."""
LEAST_FREE = 2**22
"""Bytes that a result and its figure may need; with less free, a run isn't begun."""

_live: set[Path] = set()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside that one, to be written and closed; then it takes its place, unless an error came.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "notes.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "notes.txt").read_text()
    'whole'
    """
    with _temporary(path) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # or a crash of the machine may leave the new name on an empty file
        temporary.replace(path)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file at once or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def check_is_file(name: str, path: Path) -> None:
    """Raises FileNotFoundError if there is nothing of that path, ValueError if it is a folder; `name` says whose."""
    if path.is_dir():
        raise ValueError(f"{name}: {path} is a folder; pass a file in it")
    if not path.is_file():
        raise FileNotFoundError(f"{name}: there is no file {path}")


def check_writable(name: str, path: Path) -> None:
    """Makes the folder of a future file and tries to write there; nothing is left of that.

    Raises:
        ValueError: the folder cannot be made, may not be written into, or has too little space; `name` says whose.
    """
    folder = path.parent
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{name}: {str(folder)!r} is no folder; pass a file in another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _temporary(path) as temporary:
            temporary.write_bytes(b"?")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ValueError(
            f"{name}: cannot write {str(path)!r} ({error.strerror}); pass a file in another folder"
        ) from error
    if free < LEAST_FREE:
        raise ValueError(
            f"{name}: only {free / 1e6:.1f} MB are free in {str(folder)!r}; free {LEAST_FREE / 1e6:.0f} MB, or pass a "
            "file in another folder"
        )


def remove_temporaries() -> None:
    """Removes the temporary files of this process, for one that ends without unwinding."""
    for temporary in list(_live):
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A new empty file, locked while it is in use and then removed, if it still has that name."""
    _sweep(path)
    temporary, descriptor = _claim(path)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)
        _live.discard(temporary)


def _claim(path: Path) -> tuple[Path, int]:
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        _live.add(temporary)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # swept by another writer before it was locked


def _sweep(path: Path) -> None:
    """Removes what writers of this path have left that are no more."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.tmp")
    for stray in path.parent.iterdir() if path.parent.is_dir() else ():
        if name.fullmatch(stray.name):
            with contextlib.suppress(OSError):  # another sweeper was faster, or it is not ours to remove
                _remove_abandoned(stray)


def _remove_abandoned(stray: Path) -> None:
    descriptor = os.open(stray, os.O_RDWR)
    try:
        if _is_abandoned(descriptor):
            stray.unlink()
    finally:
        os.close(descriptor)


def _is_abandoned(descriptor: int) -> bool:
    is_old = time.time() - os.fstat(descriptor).st_mtime > ABANDONED_AFTER
    if fcntl is None:
        return is_old
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here
        return is_old
    return True
