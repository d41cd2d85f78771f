"""Warnings of rounding, said where the user's own code has called."""

import sys
import warnings

import jax.numpy as jnp
import numpy as np

import theory

INSIDE = ("rfm", "theory", "jaxtyping", "beartype")
"""Packages whose lines tell a user nothing: ours, and those that check its types."""


class PrecisionWarning(UserWarning):
    """A curve was asked for at times at which rounding may exceed the tolerance."""


def warn(message: str, category: type[UserWarning] = PrecisionWarning) -> None:
    """Warns at the first line outside of this package, however deep the call has come."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_if_rounded(curve: theory.Curve, tolerance: float, more_accurate: str | None) -> None:
    """Warns if the last time lies past ``trusted_until``; says what would help."""
    latest = float(np.asarray(curve.times)[-1])
    if float(curve.trusted_until) >= latest:
        return
    warn_of_rounding(
        f"the curve can be trusted to a relative {tolerance:g} until t = {float(curve.trusted_until):.3g}, but was "
        f"asked for until t = {latest:.3g}",
        curve.method,
        curve.risk_by_target.dtype,
        more_accurate,
    )


def warn_of_rounding(what: str, method: str, dtype: jnp.dtype, more_accurate: str | None) -> None:
    """Says what is rounded, and what would help."""
    remedies = []
    if dtype == jnp.float32:
        remedies.append('switch on float64 first: jax.config.update("jax_enable_x64", True)')
    if method == "gram" and more_accurate is not None:
        remedies.append(more_accurate)
    remedies.append("ask for earlier times, or a larger tolerance=")
    warn(f"{what} ({dtype}, method {method!r}); {'; or '.join(remedies)}")
