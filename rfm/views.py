"""Curves as others know them: an xarray data set, a pandas table, a plot.

What each needs is imported when it is asked for. The colours are those of all figures: they are those of Okabe and Ito,
which colour-blind eyes tell apart.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from theory.checks import check_type
from theory.curve import Curve, MeasuredCurve, RiskCurve

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY, BROWN = "#0072B2", "#D55E00", "#CC79A7", "#777777", "#6B3D00"
PARTS = {"risk": (BLACK, "o"), "clean": (GREEN, "s"), "noise": (VERMILION, "^"), "cross": (PURPLE, "D")}
"""Colour and marker of the test error and its parts."""
POINTS: dict[str, Any] = {"linestyle": "none", "markersize": 3.2, "markeredgewidth": 0.7, "markerfacecolor": "white"}
"""How what was measured is drawn; closed forms are lines."""

TIME_UNIT, RISK_UNIT = "1/eigenvalue", "target squared"
_OVER_TIME = {
    "risk": (RISK_UNIT, "test error"),
    "clean_risk": (RISK_UNIT, "test error of the weights trained on clean labels"),
    "noise_risk": (RISK_UNIT, "test error of what label noise was learnt"),
    "cross_risk": (RISK_UNIT, "twice the correlation of clean error and learnt noise"),
    "train_loss": (RISK_UNIT, "training loss"),
    "rounding_error": (RISK_UNIT, "what rounding may do to the test error"),
    "penalty_so_far": ("1", "test error over the lowest until then"),
}
_NUMBERS = {
    "turning_time": (TIME_UNIT, "time of the lowest test error"),
    "turning_step": ("1", "steps until then"),
    "turning_risk": (RISK_UNIT, "lowest test error"),
    "overtraining_penalty": ("1", "final over lowest test error"),
    "trusted_until": (TIME_UNIT, "time until which rounding stays below the tolerance"),
    "risk_at_infinity": (RISK_UNIT, "test error at t = infinity"),
}


def as_dataset(curve: RiskCurve) -> "xr.Dataset":
    """The curve over its times, with units and names; what it does not know is left out.

    >>> import jax.numpy as jnp, rfm
    >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> data = as_dataset(rfm.closed_form(problem, times=[0.0, 1.0, 2.0]))
    >>> round(data["risk"].sel(time=1.0).item(), 3), data["risk"].attrs["units"]
    (0.368, 'target squared')
    """
    import xarray as xr

    _check(curve)
    time = ("time", np.asarray(curve.times), {"units": TIME_UNIT, "long_name": "training time"})
    coordinates: dict[str, Any] = {"time": time}
    if curve.steps is not None:
        coordinates["step"] = ("time", np.asarray(curve.steps), {"units": "1", "long_name": "training step"})
    variables: dict[str, Any] = {
        name: (dims, np.asarray(getattr(curve, name)), {"units": units, "long_name": long_name})
        for names, dims in ((_OVER_TIME, ("time",)), (_NUMBERS, ()))
        for name, (units, long_name) in names.items()
        if _knows(curve, name)
    }
    by_target = {"units": RISK_UNIT, "long_name": "test error, by target"}
    variables["risk_by_target"] = ("time", "target"), np.asarray(curve.risk_by_target), by_target
    return xr.Dataset(variables, coordinates)


def as_frame(curve: RiskCurve) -> "pd.DataFrame":
    """The curve as a table: one row a time (which is the index), one column a quantity.

    >>> import jax.numpy as jnp, rfm
    >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> as_frame(rfm.closed_form(problem, times=[0.0, 1.0]))["risk"].round(3).tolist()
    [1.0, 0.368]
    """
    import pandas as pd

    _check(curve)
    columns = {"step": np.asarray(curve.steps)} if curve.steps is not None else {}
    columns |= {name: np.asarray(getattr(curve, name)) for name in _OVER_TIME if _knows(curve, name)}
    return pd.DataFrame(columns, index=pd.Index(np.asarray(curve.times), name="time"))


def plot(curve: RiskCurve, *, parts: bool = False, axes: "Axes | None" = None, **look: Any) -> "Axes":
    """Draws the test error against time: a line of a formula, points of what was measured, and where it turns.

    Args:
        curve: what is drawn; times of zero have no place on the logarithmic axis.
        parts: also its clean, noise and cross parts.
        axes: where to, with scales of their own; None for new ones.
        look: of the test error, such as ``color=`` and ``label=``, as matplotlib has it.

    Raises:
        ValueError: parts that are not known.

    >>> import jax.numpy as jnp, rfm
    >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> plot(rfm.closed_form(problem, times=[0.1, 1.0, 2.0])).get_ylabel()
    'test error (target squared)'
    """
    _check(curve)
    drawn = {"risk": curve.risk}
    if parts:
        drawn |= {part: getattr(curve, f"{part}_risk") for part in PARTS if part != "risk"}
    if axes is None:
        from matplotlib import pyplot as plt

        axes = plt.subplots(layout="constrained")[1]
        axes.set_xscale("log")
        axes.set_yscale("linear" if parts else "log")  # the cross part has either sign
    times = np.asarray(curve.times)
    for part, values in drawn.items():
        colour, marker = PARTS[part]
        mine: dict[str, Any] = {"color": colour, "label": "test error" if part == "risk" else part}
        if isinstance(curve, MeasuredCurve):
            mine |= {"marker": marker, **POINTS}
        axes.plot(times[times > 0], np.asarray(values)[times > 0], **(mine | look if part == "risk" else mine))
    if isinstance(curve, Curve) and curve.turning_time > 0:
        axes.axvline(float(curve.turning_time), color=GREY, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0)
    axes.set_xlabel(f"training time ({TIME_UNIT})")
    axes.set_ylabel(f"test error ({RISK_UNIT})")
    if parts:
        axes.legend()
    return axes


def _check(curve: object) -> None:
    check_type("curve", curve, RiskCurve, "what rfm.closed_form or rfm.simulate gives")


def _knows(curve: RiskCurve, name: str) -> bool:
    if name in ("clean_risk", "noise_risk", "cross_risk"):
        return curve.decomposition is not None
    return getattr(curve, name, None) is not None
