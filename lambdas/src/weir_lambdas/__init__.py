"""Weir's functions."""

import gc

COLLECTED_AFTER = (20_000, 10, 10)
"""Objects made, passes over the young, and passes over those that survived them, after which Python
looks for cycles (its own: 700, 10, 10). A cold start makes a great many objects and drops none, and
the passes over them would be a third of its time. This is the first module of every function."""

gc.set_threshold(*COLLECTED_AFTER)
