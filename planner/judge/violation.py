"""What a plan can break, and one case of it."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Rule", "Violation"]


class Rule(StrEnum):
    """What a plan must keep."""

    MODELS = "models"
    """Sizes are given for exactly the models that steps use; declared sizes are the fleet's."""
    INSTANCES = "instances"
    """One row for each instance of the fleet, in order of first use, with its model's sizes."""
    BUFFERS = "buffers"
    """One row for each tensor that steps hand on, channel and slot, with its readers and size."""
    REGION = "region"
    """A region starts aligned, and is in the arena iff its bytes are to be there."""
    ADDED = "added"
    """Added constraints name instances of the fleet and leave the order free of cycles."""
    OVERLAP = "overlap"
    """Instances that may run at the same time share no byte of work memory."""
    WEIGHTS = "weights"
    """Weight buffers share no byte, and have several readers only as the dedupe rule allows."""
    HEIGHT = "height"
    """The size of a reservation is the highest end of its regions."""
    BOUND = "bound"
    """The witness proves the bound, no plan is below it, and the status claims no more."""
    FIGURE = "figure"
    """What no sharing would cost, what is allocated outside the arena, and what order costs."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a plan breaks in one place.

    Attributes
    ----------
    rule : Rule
    path : str
        Place in the plan, such as ``instances[3].work_offset``.
    message : str
        What was found and what was expected, with names.
    """

    rule: Rule
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
