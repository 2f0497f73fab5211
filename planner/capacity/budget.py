"""What answering questions by plans may cost: counted, so every machine gives the same answers."""

__all__ = ["Budget"]


class Budget:
    """Instances that may still be planned.

    Parameters
    ----------
    planned_max : int
        Instances planned in all.
    instances_max : int or None
        Most of one plan; None: as many as are left.

    Examples
    --------
    >>> budget = Budget(5, instances_max=3)
    >>> [budget.take(n) for n in (4, 3, 3, 2)]
    [False, True, False, True]
    """

    def __init__(self, planned_max: int, instances_max: int | None = None) -> None:
        self._left = planned_max
        self._most = planned_max if instances_max is None else instances_max

    def take(self, n: int) -> bool:
        """Take `n` instances off; false: that are too many, and none is taken."""
        if n > min(self._left, self._most):
            return False
        self._left -= n
        return True
