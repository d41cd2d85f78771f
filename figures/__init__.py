"""Figures: one script each, from stored results; what is drawn was computed by the experiment."""
