"""Records that say what they are: in three lines where they are printed, as a table and a picture in a notebook.

A record gives its `Facts` and, if it is a curve, its picture and its variables; all views of it follow from these.
Where its values cannot be looked at, inside of ``jit`` or where a tree holds shapes in the place of arrays, it says
what every record says: the shapes of its fields.
"""

from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from theory.views.picture import Picture, plot
from theory.views.svg import as_svg
from theory.views.variables import Variable, as_dataset, as_frame

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes


class Facts(NamedTuple):
    """What there is to say of a record, in one line for its title and two of facts, each with its name."""

    title: str
    first: dict[str, str]
    second: dict[str, str]


class Shown:
    """What says what it is."""

    def _facts(self) -> Facts | None:
        """None where its values cannot be looked at."""
        raise NotImplementedError

    def _picture(self) -> Picture | None:
        """None of what is no curve."""
        return None

    def __repr__(self) -> str:
        with jax.ensure_compile_time_eval():  # a known curve may be printed by a function that is being traced
            facts = self._facts()
        if facts is None:
            return super().__repr__()
        lines = ("; ".join(f"{name}: {value}" for name, value in row.items()) for row in facts[1:])
        return "\n  ".join([facts.title, *filter(None, lines)])

    def _repr_html_(self) -> str | None:
        with jax.ensure_compile_time_eval():
            facts = self._facts()
            picture = None if facts is None else self._picture()
        if facts is None:
            return None
        cell = "text-align:left;vertical-align:top;padding:2px 10px 2px 0;background:none;border:0"
        rows = "".join(
            f'<tr style="background:none"><td style="{cell};opacity:.7">{escape(name)}</td>'
            f'<td style="{cell}">{escape(value)}</td></tr>'
            for name, value in (facts.first | facts.second).items()
        )
        drawn = None if picture is None else as_svg(picture)
        return (
            f"<div><b>{escape(facts.title)}</b>"
            '<div style="display:flex;flex-wrap:wrap;align-items:center;gap:8px 24px">'
            f'<table style="border:0;margin:4px 0">{rows}</table>{drawn or ""}</div></div>'
        )


class Drawn(Shown):
    """A curve: a data set, a table, a plot."""

    def _variables(self) -> dict[str, Variable]:
        """What it knows, by name; the first one is the axis."""
        raise NotImplementedError

    def _drawn(self, parts: bool | None = None) -> Picture:
        """The picture, with the parts of the risk or without; None for those that are known."""
        raise NotImplementedError

    def _picture(self) -> Picture | None:
        return self._drawn()

    def to_xarray(self) -> "xr.Dataset":
        """The curve as a data set over its times, with units and long names; what it does not know is left out.

        >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
        >>> data = rfm.closed_form(problem, times=[0.0, 1.0, 2.0]).to_xarray()
        >>> round(data["risk"].sel(time=1.0).item(), 3), data["risk"].attrs["units"]
        (0.368, 'target squared')
        """
        variables = self._variables()
        return as_dataset(variables, beside=tuple(name for name in ("step",) if name in variables))

    def to_pandas(self) -> "pd.DataFrame":
        """The curve as a table: one row a time (which is the index), one column a quantity.

        >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
        >>> rfm.closed_form(problem, times=[0.0, 1.0]).to_pandas()["risk"].round(3).tolist()
        [1.0, 0.368]
        """
        variables = self._variables()
        return as_frame(variables, next(iter(variables)))

    def plot(self, ax: "Axes | None" = None, *, parts: bool | None = None, **look: Any) -> "Axes":
        """Draws the curve with matplotlib: a line of a formula, points of what was measured, and where it turns.

        Args:
            ax: where to; None for new axes. Empty ones become logarithmic, others keep their scales.
            parts: also the clean, the noise and the size of the cross part; None where they are known. A part below a
                thousandth of the lowest test error is not drawn.
            look: of the test error, such as ``color=`` and ``label=``, as matplotlib has it.

        Raises:
            ValueError: parts that are not known.

        >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
        >>> rfm.closed_form(problem, times=[0.1, 1.0, 2.0]).plot().get_ylabel()
        'test error (target squared)'
        """
        return plot(self._drawn(parts), ax, **look)
