"""What hides our packages: a script's own folder comes first, and ``theory.py`` in it is not the theory meant here."""

import os
from importlib.util import find_spec

PACKAGES = ("theory", "experiments", "figures")
"""That are installed beside this one."""


def check_not_hidden(name: str) -> None:
    """Raises ImportError if Python finds, or has found, something else by the name of one of our packages.

    Nothing is imported, for what is imported of a wrong one fails with words about something else. Of other names
    nothing is known.
    """
    if name not in PACKAGES:
        return
    try:
        spec = find_spec(name)
    except ValueError:  # a module that somebody made by hand
        return
    if spec is None:  # Python will say so
        return
    folders = spec.submodule_search_locations
    found = spec.origin if folders is None else next(iter(folders), None)
    ours = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), name)
    if found is not None and os.path.realpath(found) != os.path.realpath(ours):
        raise ImportError(
            f"{name}: {found} hides the package of that name that rfm was installed with; rename it", name=name
        )


check_not_hidden("theory")
