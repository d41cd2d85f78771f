"""Peak memory of a call, by the kernel's own high-water mark.

Needs the standard library only, for it also runs in the environment of a peer.
"""

import gc
from collections.abc import Callable
from pathlib import Path

PROCESS = Path("/proc/self")
IS_TOLD = (PROCESS / "clear_refs").exists()
"""Linux tells; others do not."""


def extra_bytes(work: Callable[[], object]) -> int | None:
    """The most that a call, which waits for its own arrays, held beyond what was there before; None if nobody tells."""
    if not IS_TOLD:
        work()
        return None
    gc.collect()
    (PROCESS / "clear_refs").write_text("5")  # the high-water mark falls to what is held now
    before = _kilobytes("VmRSS")
    work()
    return (_kilobytes("VmHWM") - before) * 1024


def whole_bytes() -> int | None:
    """The most that this process ever held; None if nobody tells. (`getrusage` would count its parent's, on Linux.)"""
    return _kilobytes("VmHWM") * 1024 if IS_TOLD else None


def _kilobytes(field: str) -> int:
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
