"""Plans that fit a budget: which order and which exclusions cost the least time.

    budget ──► heights to look at ──► list schedules that place memory ──► CP-SAT, packed
                                                                             │
    plan, judged ◄── drop what is not needed ◄── orders and locks for ◄──────┘
                                                 all that share bytes

A timed schedule says who need not run beside whom; it is a means. What is kept of it are
constraints that hold for any run times, and the judge judges those. `fit_fleet(fleet, sizes,
options, budget_bytes)` returns the plan, with `added` and `price`: others build on this signature.
"""

from planner.fit.fitting import FitOptions, Fitter, fit_fleet

__all__ = ["FitOptions", "Fitter", "fit_fleet"]
