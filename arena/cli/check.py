"""`arena check`: the judge over a plan file."""

import sys

from arena.cli.arguments import JsonFlag, PlanFile
from arena.cli.output import emit_json

__all__ = ["check"]


def check(plan_file: PlanFile, as_json: JsonFlag = False) -> int:
    """Judge a plan file: recompute order and conflicts and list everything that is wrong.

    Exits 0 when the plan is valid, 1 when it is not, 2 when the file is no plan at all.
    """
    from arena.session import judge_file

    violations = judge_file(plan_file)
    if as_json:
        emit_json({"valid": not violations, "violations": violations})
    else:
        for violation in violations:
            sys.stdout.write(f"{violation}\n")
        verdict = f"{len(violations)} violations" if violations else "valid"
        sys.stdout.write(f"{plan_file}: {verdict}\n")
    return 1 if violations else 0
