"""Gears as callers give them: which one is meant, which is the largest.

A model with gears was compiled for several shapes, and one is chosen for each execution; its memory
is planned for the largest. What a gear is on a device is the device's matter.
"""

import operator
from collections.abc import Sequence
from typing import TypeAlias

from arena.device.base import Gear, ModelDescription
from planner.errors import UsageError

__all__ = ["GearChoice", "chosen_gear", "gear_choices", "largest_gear"]

GearChoice: TypeAlias = int | Sequence[int] | None
"""What a caller passes: a batch, or all numbers of a gear; None where the model has none."""


def chosen_gear(description: ModelDescription, gear: GearChoice, where: str) -> tuple[int, ...]:
    """Return the gear that a caller means, as `Device.launch` takes it.

    Parameters
    ----------
    description : ModelDescription
    gear : int, sequence of int, or None
    where : str
        Who executes, for messages.

    Raises
    ------
    UsageError
        The model has no such gear, has none at all, or wants one. Caused by the caller.

    Examples
    --------
    >>> model = ModelDescription((), (), gears=(Gear((1,), (), ()), Gear((8,), (), ())))
    >>> chosen_gear(model, 8, "'read' of camera[0] frame 0")
    (8,)
    >>> chosen_gear(model, None, "'read' of camera[0] frame 0")
    Traceback (most recent call last):
    planner.errors.UsageError: 'read' of camera[0] frame 0: gear none: expected one of 1, 8
    """
    try:
        if gear is None:
            choice: tuple[int, ...] = ()
        elif isinstance(gear, Sequence):
            choice = tuple(operator.index(number) for number in gear)
        else:
            choice = (operator.index(gear),)
    except TypeError:
        raise UsageError(
            f"{where}: gear {gear!r}: expected a whole number, or a sequence of them"
        ) from None
    try:
        description.at(choice)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    return choice


def gear_choices(description: ModelDescription) -> tuple[tuple[int, ...], ...]:
    """Return what a launch may choose of; the empty choice alone where there are no gears."""
    return tuple(gear.choice for gear in description.gears) or ((),)


def largest_gear(description: ModelDescription) -> tuple[int, ...]:
    """Return the gear with the most bytes of inputs; the empty choice where there are none."""

    def input_bytes(gear: Gear) -> int:
        return sum(spec.size_bytes for spec in gear.inputs)

    return max(description.gears, key=input_bytes).choice if description.gears else ()
