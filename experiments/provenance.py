"""Where a result came from: configuration, command, versions, commit. A result knows this itself."""

import dataclasses
import datetime
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.fields import Config

PACKAGES = ("rfm", "numpy", "scipy", "jax", "jaxlib", "equinox", "xarray", "h5netcdf", "scikit-learn")


def collect(config: Config, command: Sequence[str]) -> dict[str, Any]:
    """Everything that is needed to make the same result again, as plain values."""
    return {
        "configuration": dataclasses.asdict(config),
        "command": shlex.join(command),
        "seeds": {"seed": config.seed, "folded_in": list(range(config.num_seeds))},
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commit": _commit(Path(__file__).parent),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _commit(folder: Path) -> dict[str, Any] | None:
    """The commit that the code is checked out at and whether it was changed since; None outside a checkout."""
    try:
        # An installed copy may lie inside some other repository, whose commit says nothing about it.
        if _git(folder, "ls-files", Path(__file__).name) != Path(__file__).name:
            return None
        return {
            "id": _git(folder, "rev-parse", "HEAD"),
            "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    finished = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return finished.stdout.strip()


def this_command() -> list[str]:
    """The command line as it was typed, without the path of the program."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
