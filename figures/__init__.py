"""Figures: one script each, from stored results; what is drawn was computed by the experiment."""

from rfm.hidden import check_not_hidden

check_not_hidden("experiments")
