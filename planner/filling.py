"""Rates that rise together until the time of what they share is full, exactly.

A **set** is of steps of which one runs at a time. Each user of it is in it for its load in every
frame, so the rates of its users times their loads sum to at most 1. Besides, every user has a
period, below which its frames cannot follow one another.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Limit", "SharedTime"]

Limit = tuple[Fraction | None, str]
"""A rate and what sets it; (None, "") where nothing does."""

_NEAR: Final = 1e-9
"""Sets as near to full as this are looked at exactly; sums of rounded numbers are far nearer."""


class SharedTime:
    """Sets of steps, with the users of each and how long each is in it a frame.

    Parameters
    ----------
    periods : mapping of user to (Fraction, label)
        The least time between two of its frames; 0: none.
    sets : sequence of (label, mapping of user to load)
        Loads > 0, in the unit of the periods.
    """

    def __init__(
        self,
        periods: Mapping[str, tuple[Fraction, str]],
        sets: Sequence[tuple[str, Mapping[str, Fraction | int]]],
    ) -> None:
        import numpy as np

        self._periods = periods
        self._sets = [(label, loads) for label, loads in sets if loads]
        self._column = {user: index for index, user in enumerate(periods)}
        rows = [loads for _, loads in self._sets]
        self._columns = np.array([self._column[user] for row in rows for user in row], np.intp)
        self._loads = np.array([float(load) for row in rows for load in row.values()])
        ends = np.cumsum([len(row) for row in rows], dtype=np.intp)
        self._starts: NDArray[np.intp] = ends - np.array([len(row) for row in rows], np.intp)

    def fill(
        self,
        weights: Mapping[str, Fraction],
        held: Mapping[str, Fraction | None],
        *,
        highest: Fraction | None = None,
    ) -> dict[str, Limit]:
        """Return rates that rise together in proportion to their weights, as far as each can.

        Parameters
        ----------
        weights : mapping of user to Fraction
            Those that rise, > 0.
        held : mapping of user to Fraction or None
            Rates that others have; what nothing limits takes no time.
        highest : Fraction, optional
            Multiple of the weights at which all stop.

        Notes
        -----
        All rise until a set is full or one is at its fastest: those it holds back stay, the others
        rise further. With equal weights the result is max-min fair. Exact: rounded numbers only
        choose which sets are looked at.

        References
        ----------
        .. [1] D. Bertsekas, R. Gallager, "Data Networks", 2nd ed. 1992, sec. 6.5.2: progressive
               filling.

        Examples
        --------
        >>> lane = SharedTime({"a": (Fraction(1), "a"), "b": (Fraction(8), "b")},
        ...     [("lane", {"a": 2, "b": 2})])
        >>> found = lane.fill({"a": Fraction(1), "b": Fraction(1)}, {})
        >>> {user: (str(rate), label) for user, (rate, label) in found.items()}
        {'b': ('1/8', 'b'), 'a': ('3/8', 'lane')}
        """
        rising = dict(weights)
        rates = {user: rate for user, rate in held.items() if rate}
        found: dict[str, Limit] = {}
        while rising:
            level, limited = self._next(rising, rates)
            if level is None or (highest is not None and level > highest):
                level, limited = highest, dict.fromkeys(rising, "")
            for user, label in limited.items():
                weight = rising.pop(user)
                rate = None if level is None else level * weight
                found[user] = rate, label
                if rate:
                    rates[user] = rate
        return found

    def _next(
        self, rising: Mapping[str, Fraction], rates: Mapping[str, Fraction]
    ) -> tuple[Fraction | None, dict[str, str]]:
        """Return the multiple at which the first of `rising` are held back, and what holds them."""
        import numpy as np

        found: list[tuple[Fraction, str, Mapping[str, object]]] = [
            (1 / (weight * period), label, {user: weight})
            for user, weight in rising.items()
            for period, label in (self._periods[user],)
            if period
        ]
        if self._sets:
            growth, left = self._sums(rising), 1 - self._sums(rates)
            grows = np.flatnonzero(growth)
            levels = left[grows] / growth[grows]
            lowest = min([float(level) for level, _, _ in found] + levels.tolist(), default=0.0)
            for index in grows[left[grows] - lowest * growth[grows] <= _NEAR]:
                label, loads = self._sets[index]
                full = sum(rates[user] * load for user, load in loads.items() if user in rates)
                more = sum(rising[user] * load for user, load in loads.items() if user in rising)
                found.append((Fraction(1 - full) / more, label, loads))
        level = min((level for level, _, _ in found), default=None)
        limited: dict[str, str] = {}
        for own, label, users in found:
            if own == level:
                for user in users:
                    if user in rising:
                        limited.setdefault(user, label)
        return level, limited

    def _sums(self, rates: Mapping[str, Fraction]) -> "NDArray[np.float64]":
        """Return about how full each set is at these rates."""
        import numpy as np

        row = np.zeros(len(self._column))
        for user, rate in rates.items():
            row[self._column[user]] = rate
        sums: NDArray[np.float64] = np.add.reduceat(self._loads * row[self._columns], self._starts)
        return sums
