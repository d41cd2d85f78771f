"""Frozen configurations, the runs that they stand for, stored results, and the command line."""
