"""Colours, markers and units: what means the same thing wherever a curve is seen.

The colours are those of Okabe and Ito, which colour-blind eyes tell apart.
"""

from typing import Any

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY, BROWN = "#0072B2", "#D55E00", "#CC79A7", "#777777", "#6B3D00"
PARTS = {"risk": (BLACK, "o"), "clean": (GREEN, "s"), "noise": (VERMILION, "^"), "cross": (PURPLE, "D")}
"""Colour and marker of the test error and its parts."""
POINTS: dict[str, Any] = {"linestyle": "none", "markersize": 3.2, "markeredgewidth": 0.7, "markerfacecolor": "white"}
"""How what was measured is drawn; closed forms are lines."""

TIME_UNIT, RISK_UNIT = "1/eigenvalue", "target squared"
