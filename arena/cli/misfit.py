"""Why a plan does not fit, with the catalogue of this machine: what several commands tell."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.explanation import Explanation
    from planner.plan import Plan

__all__ = ["misfit_of"]


def misfit_of(plan: "Plan") -> "Explanation | None":
    """Return why a plan does not fit and what each way out costs; None where it fits."""
    if plan.fits:
        return None
    from arena.catalogue import device_catalogue
    from planner.explanation import explain_misfit

    return explain_misfit(plan, device_catalogue())
