"""Pools: sets of lanes of which a step takes one.

    lane: {pool: ocr, size: 3, assign: block}      channels 0 to 5:  ocr[0] ocr[0] ocr[1] ocr[1] ...
    lane: {pool: ocr, size: 3, assign: any}        each execution:   ocr[0] or ocr[1] or ocr[2]

The lanes of a pool are lanes like all others, named like channels. Which names a fleet may give is
`fleet`'s matter, who takes which lane while models run is the guard's.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Assign", "LanePool", "pool_lane"]


def pool_lane(pool: str, index: int) -> str:
    """Return the name of a pool's lane, such as ``ocr[0]``."""
    return f"{pool}[{index}]"


class Assign(StrEnum):
    """How the lane of an execution is chosen."""

    ANY = "any"
    """When it runs: the first free lane in the pool's order."""
    BLOCK = "block"
    """When it is planned: each channel keeps one lane, neighbours in equal blocks."""


@dataclass(frozen=True, slots=True)
class LanePool:
    """A set of lanes, in place of the one lane of a step.

    Attributes
    ----------
    name : str
    size : int
        Lanes, >= 1: ``name[0]`` to ``name[size - 1]``.
    assign : Assign
    channels : int
        Channels of the step's pipeline, which sets it: what blocks divide.

    Examples
    --------
    >>> LanePool("ocr", 2, Assign.ANY).lanes_of(0)
    ('ocr[0]', 'ocr[1]')
    >>> pool = LanePool("ocr", 2, Assign.BLOCK, channels=5)
    >>> [pool.lanes_of(channel) for channel in range(5)]
    [('ocr[0]',), ('ocr[0]',), ('ocr[0]',), ('ocr[1]',), ('ocr[1]',)]
    """

    name: str
    size: int
    assign: Assign = Assign.ANY
    channels: int = 1

    @property
    def lanes(self) -> tuple[str, ...]:
        """Names of all lanes, in the pool's order."""
        return tuple(pool_lane(self.name, index) for index in range(self.size))

    def lanes_of(self, channel: int) -> tuple[str, ...]:
        """Return the lanes that executions of `channel` (counted from 0) may take."""
        if self.assign is Assign.ANY:
            return self.lanes
        return (pool_lane(self.name, channel * self.size // self.channels),)
