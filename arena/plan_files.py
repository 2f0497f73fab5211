"""Plan files: read, judged, compared with the models that they were made of, written.

With a plan file the standard library is enough; what must be planned first is not opened here.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from arena.device.base import ModelSource
from arena.files import DEMO_PREFIX, read_bytes, rebase_path, write_atomically
from arena.formats import read_model_facts
from arena.sources import Readers, model_source
from planner.codec import PLAN_FORMAT, claims_plan, decode_plan, encode_plan, examine_plan
from planner.errors import DecodeError, PlanError, SpecError
from planner.fleet import Dedupe, ModelSpec
from planner.judge import judge
from planner.plan import Plan

__all__ = [
    "OpenedPlan",
    "compare_digests",
    "is_plan_file",
    "judge_file",
    "open_plan",
    "refuse_violations",
    "write_plan",
]

_HEAD_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class OpenedPlan:
    """A judged plan, and the folder that its model files are relative to."""

    plan: Plan
    base: Path
    warnings: tuple[str, ...] = ()


def open_plan(path: Path) -> OpenedPlan:
    """Read a plan file, judge it, and refuse it with every reason if it is not valid.

    Raises
    ------
    DecodeError
        The file is no plan, or damaged.
    PlanError
        The judge found violations; the message names them.
    """
    data = read_bytes(path)
    if not is_plan_file(data):
        raise _no_plan(path, data)
    try:
        plan = decode_plan(data)
    except DecodeError as error:
        raise DecodeError(f"{path}: the plan file is changed or cut off: {error}") from error
    refuse_violations(plan, str(path))
    return OpenedPlan(plan, path.parent)


def judge_file(path: Path) -> list[str]:
    """Return everything that is wrong with a plan file, as text; empty: it is valid.

    Raises
    ------
    DecodeError
        The file is not a JSON object that claims to be a plan.
    """
    data = read_bytes(path)
    if not claims_plan(data):
        raise _no_plan(path, data)
    try:
        plan, contradictions = examine_plan(data)
    except DecodeError as error:
        return [str(error)]
    return [str(found) for found in (*contradictions, *judge(plan))]


def _no_plan(path: Path, data: bytes) -> DecodeError:
    if is_plan_file(data):
        return DecodeError(f"{path}: is no plan file, or one that is cut off")
    return DecodeError(
        f"{path}: is no plan file; `arena plan FLEET -o plan.json` makes one of a fleet file"
    )


def write_plan(plan: Plan, path: Path, *, base: Path) -> None:
    """Write a plan file; model files, relative to `base`, become relative to the plan file."""
    models = tuple(
        replace(model, file=rebase_path(model.file, old=base, new=path.parent))
        for model in plan.fleet.models
    )
    moved = replace(plan, fleet=replace(plan.fleet, models=models))
    write_atomically(path, encode_plan(moved))


def is_plan_file(data: bytes) -> bool:
    """Return whether a file is a plan, intact or cut off: its format stands at the beginning."""
    return claims_plan(data) or f'"{PLAN_FORMAT}"'.encode() in data[:_HEAD_BYTES]


def refuse_violations(plan: Plan, where: str) -> None:
    """Raise `PlanError` with what the judge found, if it found anything; `where` begins it."""
    violations = judge(plan)
    if violations:
        listed = "; ".join(str(violation) for violation in violations[:5])
        raise PlanError(f"{where}: {len(violations)} violations: {listed}")


def compare_digests(opened: OpenedPlan, readers: Readers | None, where: str = "the plan") -> None:
    """Refuse a plan whose model files are not the files that it was made of.

    Where equal weights of different files share a buffer (`dedupe: weights`), the weight bytes are
    compared as well. Each file is read once.

    Parameters
    ----------
    opened : OpenedPlan
    readers : mapping of model id to callable, or None
    where : str
        The plan file; begins the message.

    Raises
    ------
    PlanError
        A model file is gone or has changed.
    """
    try:
        _compare_digests(opened, readers, where)
    except SpecError as error:  # Of a fleet it would be the fault of the fleet file.
        raise PlanError(
            f"{where}: {error}: bring back the file that the plan was made of, or plan again"
        ) from error


def _compare_digests(opened: OpenedPlan, readers: Readers | None, where: str) -> None:
    by_weights = opened.plan.fleet.device.dedupe is Dedupe.WEIGHTS
    known: dict[Path, tuple[str, str]] = {}
    for model, size in opened.plan.sizes:
        spec = opened.plan.fleet.model(model)
        if not spec.file:
            continue
        source = model_source(spec, opened.base, readers)
        if source.path is None:
            assert source.read is not None
            found = _digests(source.read(), weights=by_weights)
        else:
            if source.path not in known:
                known[source.path] = _digests(source.path, weights=by_weights)
            found = known[source.path]
        wanted = (size.file_digest, size.weights_digest if by_weights else "")
        if found != wanted:
            what = "digest" if found[0] != wanted[0] else "weights with digest"
            mine, plans = next((a, b) for a, b in zip(found, wanted, strict=True) if a != b)
            raise PlanError(
                f"{where}: model {model!r}: {_named(spec, opened.base, source)} has {what} "
                f"{mine[:16] or 'none'}..., the plan was made of {plans[:16] or 'none'}...: plan "
                "again, or bring back the file"
            )


def _named(spec: ModelSpec, base: Path, source: ModelSource) -> str:
    """Return the file as its fleet names it, with what it is compiled to where that was read."""
    is_demo = spec.file.startswith(DEMO_PREFIX)
    own = spec.file if is_demo else str(base / spec.file)
    if source.path is None or str(source.path) == own:
        return source.name
    return f"{own} (compiled: {source.path})"


def _digests(content: Path | bytes, *, weights: bool) -> tuple[str, str]:
    """Return the digests of a model file and of its weights, the latter empty unless asked for."""
    if weights:
        facts = read_model_facts(content)
        return facts.file_sha256, facts.weights_sha256
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest(), ""
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), ""
