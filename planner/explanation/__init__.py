"""Why a plan does not fit, and what each way out costs.

    culprits    instances that cannot fit together: without any one of them the others fit
    changes     what may be changed, as values, and the fleet after them
    pairs       who might take turns: pairs of instances, and of lanes
    service     fewer channels, pipelines and frames in flight
    fitted      the order that planning chooses
    ways_out    the price list: every row is a plan that was made

Values in, values out; how they are shown is `report`'s matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from planner.capacity import DeviceModel
from planner.capacity.budget import Budget
from planner.explanation.changes import Change, ChangeKind, changed
from planner.explanation.culprits import Culprits, find_culprits
from planner.explanation.ways_out import WayOut, WaysOptions, WaysOut, find_ways_out
from planner.plan import Plan

__all__ = [
    "Change",
    "ChangeKind",
    "Culprits",
    "Explanation",
    "ExplanationOptions",
    "WayOut",
    "WaysOptions",
    "WaysOut",
    "changed",
    "explain_misfit",
]


@dataclass(frozen=True, slots=True)
class ExplanationOptions:
    """How much is planned to explain: counted, so that every machine gives the same answer.

    Attributes
    ----------
    culprits_max : int
        Instances in all offset problems that are solved for the culprits.
    ways : WaysOptions
    """

    culprits_max: int = 12_000
    ways: WaysOptions = field(default_factory=WaysOptions)


_OPTIONS: Final = ExplanationOptions()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a plan does not fit, and what would make it fit."""

    culprits: Culprits
    ways_out: WaysOut


def explain_misfit(
    plan: Plan,
    devices: Iterable[DeviceModel] = (),
    options: ExplanationOptions = _OPTIONS,
) -> Explanation | None:
    """Return why a plan does not fit, with a price list of ways out; None where it fits.

    Parameters
    ----------
    plan : Plan
    devices : iterable of DeviceModel
        Catalogue in which the next device is looked for.
    options : ExplanationOptions

    Notes
    -----
    Deterministic. Variants are planned by the rules of the plan.
    """
    if plan.fits:
        return None
    culprits = find_culprits(plan, Budget(options.culprits_max).take)
    ways = find_ways_out(plan, culprits.instances, devices, options.ways)
    return Explanation(culprits, ways)
