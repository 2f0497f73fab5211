"""Offset assignment as a portfolio: one idea a file, and no solver knows another.

Each solver takes a `Problem` and plain limits and returns a value; what they share is `attempt`.
Files, clocks and threads do not belong here: a wall clock comes in as a `should_stop` callback.
"""
