"""What the figures were measured on."""

import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path

import scipy.linalg  # noqa: F401  (loads its BLAS, which is named below)
import threadpoolctl


def describe() -> list[str]:
    """Processor, memory, versions and date, one line each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "jax", "jaxlib"))
    blas = {f"{pool['internal_api']} {pool['version']} ({pool['num_threads']} threads)" for pool in _pools()}
    return [
        f"{_processor()}, {cores} cores, {pages:.0f} GiB, {platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}, {packages}; {', '.join(sorted(blas))}",
        f"{datetime.date.today().isoformat()}, float64",
    ]


def _pools() -> list[dict]:
    return [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
