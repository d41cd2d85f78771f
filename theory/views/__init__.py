"""How a record is seen: in three lines of text, as a table, as a picture.

A record says once what there is to see of it; text, HTML, SVG, matplotlib, xarray and pandas follow from that. What
each of them needs is imported when it is asked for.
"""

from theory.views.curves import ClosedFormView, MeasuredView, MinibatchView, RiskView, SwitchView
from theory.views.look import (
    BLACK,
    BLUE,
    BROWN,
    GREEN,
    GREY,
    ORANGE,
    PARTS,
    POINTS,
    PURPLE,
    RISK_UNIT,
    SKY,
    TIME_UNIT,
    VERMILION,
)
from theory.views.picture import Line, Mark, Picture
from theory.views.shown import Drawn, Facts, Shown
from theory.views.variables import Variable, as_dataset, as_frame
from theory.views.words import are_known, counted, extent, number

__all__ = [
    "BLACK",
    "BLUE",
    "BROWN",
    "GREEN",
    "GREY",
    "ORANGE",
    "PARTS",
    "POINTS",
    "PURPLE",
    "RISK_UNIT",
    "SKY",
    "TIME_UNIT",
    "VERMILION",
    "ClosedFormView",
    "Drawn",
    "Facts",
    "Line",
    "Mark",
    "MeasuredView",
    "MinibatchView",
    "Picture",
    "RiskView",
    "Shown",
    "SwitchView",
    "Variable",
    "are_known",
    "as_dataset",
    "as_frame",
    "counted",
    "extent",
    "number",
]
