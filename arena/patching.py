"""Planned memory for an application that nobody changes: `acl.mdl` functions with a plan behind.

    acl.mdl.load_from_file(path)         ─► load_from_file_with_mem at the planned pointers
    acl.mdl.execute(id, ins, outs)       ─► all locks of the instance ─► execute ─► free them
    acl.mdl.execute_async(..., stream)   ─► all locks ─► execute_async ─► synchronize_stream ─► free

Opt-in, and narrower than frames: an unmodified application tells nothing of frames and order, so
only locks keep sharers apart. A plan that relies on more is refused.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

from arena.device.acl import AclDevice, import_acl
from arena.errors import DeviceError, GuardError
from arena.memory import Arena, reserve
from arena.plan_files import OpenedPlan, compare_digests, open_plan, refuse_violations
from arena.session import refuse_misfit
from planner.errors import ArenaError, PlanError, UsageError
from planner.fleet import instance_id
from planner.model import InstanceId
from planner.plan import Instance, Plan

__all__ = ["PatchedAcl", "patch_acl"]


@contextmanager
def patch_acl(
    plan: Plan | str | Path, *, acl: ModuleType | None = None, base: str | Path = "."
) -> Iterator["PatchedAcl"]:
    """Replace functions of `acl.mdl` while the block runs, so that loads get planned memory.

    Files that the plan does not know are loaded and executed as ever. The application calls
    `acl.init` and sets its context before its first load, and unloads its models inside the block.

    Parameters
    ----------
    plan : Plan or path of a plan file
    acl : module or None
        A module with pyACL's functions, such as a twin's; None: ``acl`` itself.
    base : path
        Folder that the model files of a `Plan` are relative to; of a file, its own folder.

    Raises
    ------
    PlanError
        Instances share bytes and no lock keeps them apart, the judge refuses the plan, or a model
        file is not the one that was planned. Caused by the plan.
    DeviceError
        At the first load, out of `acl.mdl.load_from_file`: the arena cannot be reserved.
    UsageError
        Models are still loaded when the block is left; their memory is not freed then.
    """
    if not isinstance(plan, Plan):
        opened = open_plan(Path(plan))
        plan, base = opened.plan, opened.base
    refuse_violations(plan, "the plan")
    compare_digests(OpenedPlan(plan, Path(base)), None)
    patched = PatchedAcl(plan, acl or import_acl(), Path(base))
    with patched.installed():
        yield patched


class PatchedAcl:
    """What stands behind the patched functions.

    Parameters
    ----------
    plan : Plan
    acl : module
    base : Path
    """

    def __init__(self, plan: Plan, acl: Any, base: Path) -> None:
        self._plan = plan
        self._acl = acl
        self._locks_of = _locks_of(plan)
        _refuse_unlocked_sharers(plan, self._locks_of)
        names = sorted({name for locks in self._locks_of.values() for name in locks})
        self._locks = {name: threading.Lock() for name in names}
        self._files: dict[Path, list[Instance]] = {}
        for instance in plan.instances:
            file = plan.fleet.model(instance.model).file
            if file and instance.work_offset is not None:
                self._files.setdefault((base / file).resolve(), []).append(instance)
        self._thread = threading.local()
        self._loaded: dict[int, Instance] = {}
        self._device: AclDevice | None = None
        self._arena: Arena | None = None
        self._originals: dict[str, Any] = {}

    @contextmanager
    def bind_lane(self, lane: str) -> Iterator[None]:
        """Bind this thread to a lane: a model on several lanes loads there.

        Raises
        ------
        UsageError
            The plan has no such lane.
        """
        if lane not in {instance.lane for instance in self._plan.instances}:
            raise UsageError(f"the plan has no lane {lane!r}")
        before = getattr(self._thread, "lane", None)
        self._thread.lane = lane
        try:
            yield
        finally:
            self._thread.lane = before

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Install the patched functions, and take them out again."""
        patches = {
            "load_from_file": self._load_from_file,
            "execute": self._execute,
            "execute_async": self._execute_async,
            "execute_v2": self._execute_v2,
            "unload": self._unload,
        }
        mdl = self._acl.mdl
        patches = {name: function for name, function in patches.items() if hasattr(mdl, name)}
        self._originals = {name: getattr(mdl, name) for name in patches}
        for name, function in patches.items():
            setattr(mdl, name, function)
        try:
            yield
        finally:
            for name, function in self._originals.items():
                setattr(mdl, name, function)
        if self._loaded:
            names = ", ".join(sorted({instance.id for instance in self._loaded.values()}))
            raise UsageError(
                f"models are still loaded in planned memory, which stays reserved: {names}; unload "
                "them before the block of patch_acl is left"
            )

    def _load_from_file(self, path: str) -> tuple[int, int]:
        candidates = self._files.get(Path(path).resolve())
        if candidates is None:
            loaded: tuple[int, int] = self._originals["load_from_file"](path)
            return loaded
        instance = self._choose(path, candidates)
        # Loading rewrites the weights that others may be reading: nothing planned runs meanwhile.
        with self._held(tuple(self._locks)):
            arena = self._reserved()
            work, weights = arena.work_of(instance), arena.weights_of(instance)
            assert work is not None
            model_id, code = self._acl.mdl.load_from_file_with_mem(
                path,
                work.pointer,
                work.size_bytes,
                weights.pointer if weights else 0,
                weights.size_bytes if weights else 0,
            )
            if code == 0:
                self._loaded[model_id] = instance
            elif not self._loaded:
                self._release()
            return model_id, code

    def _choose(self, path: str, candidates: list[Instance]) -> Instance:
        if len(candidates) == 1:
            return candidates[0]
        lane = getattr(self._thread, "lane", None)
        for instance in candidates:
            if instance.lane == lane:
                return instance
        lanes = ", ".join(repr(instance.lane) for instance in candidates)
        raise GuardError(
            f"{path} is planned on lanes {lanes} and this thread is bound to "
            f"{'none' if lane is None else repr(lane)}: bind it with `bind_lane` around the load"
        )

    def _execute(self, model_id: int, inputs: int, outputs: int) -> int:
        with self._held(self._locks_for(model_id)):
            code: int = self._originals["execute"](model_id, inputs, outputs)
            return code

    def _execute_async(self, model_id: int, inputs: int, outputs: int, stream: int) -> int:
        with self._held(self._locks_for(model_id)):
            code: int = self._originals["execute_async"](model_id, inputs, outputs, stream)
            if code == 0 and model_id in self._loaded:
                code = self._acl.rt.synchronize_stream(stream)
            return code

    def _execute_v2(self, model_id: int, *rest: Any) -> int:
        with self._held(self._locks_for(model_id)):
            code: int = self._originals["execute_v2"](model_id, *rest)
            return code

    def _unload(self, model_id: int) -> int:
        with self._held(tuple(self._locks) if model_id in self._loaded else ()):
            code: int = self._originals["unload"](model_id)
            if code == 0 and model_id in self._loaded:
                del self._loaded[model_id]
                if not self._loaded:
                    self._release()
            return code

    def _locks_for(self, model_id: int) -> tuple[str, ...]:
        instance = self._loaded.get(model_id)
        return self._locks_of[instance.id] if instance else ()

    @contextmanager
    def _held(self, names: tuple[str, ...]) -> Iterator[None]:
        """Hold locks, taken in name order, so that two takers cannot block each other."""
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self._locks[name])
            yield

    def _reserved(self) -> Arena:
        """Return the arena, reserved at the first load: the application has its context then."""
        if self._arena is None:
            context, code = self._acl.rt.get_context()
            if code != 0:
                raise DeviceError(
                    "acl.rt.get_context failed: set the context before the first load",
                    call="acl.rt.get_context",
                    code=code,
                )
            device = AclDevice(context=context, acl=self._acl)
            device.open()
            try:
                refuse_misfit(self._plan, device)
                self._arena = reserve(self._plan, device)
            except ArenaError:
                device.close()
                raise
            self._device = device
        return self._arena

    def _release(self) -> None:
        """Free the arena after the last unload: the application still has its context then."""
        assert self._arena is not None
        assert self._device is not None
        for memory in (self._arena.weights, self._arena.work):
            if memory is not None:
                self._device.free(memory)
        self._device.close()
        self._arena = self._device = None


def _locks_of(plan: Plan) -> dict[InstanceId, tuple[str, ...]]:
    """Return the locks of all steps of each instance, in name order."""
    locks: dict[InstanceId, set[str]] = {instance.id: set() for instance in plan.instances}
    for _, channel, step in plan.fleet.channel_steps():
        for lane in step.lanes_of(channel):
            locks[instance_id(step.model, lane)] |= step.locks_on(lane, channel)
    return {name: tuple(sorted(names)) for name, names in locks.items()}


def _refuse_unlocked_sharers(plan: Plan, locks: Mapping[InstanceId, tuple[str, ...]]) -> None:
    placed = [instance for instance in plan.instances if instance.work_offset is not None]
    for first, second in combinations(placed, 2):
        assert first.work_offset is not None
        assert second.work_offset is not None
        start = max(first.work_offset, second.work_offset)
        end = min(
            first.work_offset + plan.rule.reserved_bytes(first.work_bytes),
            second.work_offset + plan.rule.reserved_bytes(second.work_bytes),
        )
        if start < end and not set(locks[first.id]) & set(locks[second.id]):
            raise PlanError(
                f"{first.id} and {second.id} share bytes [{start:#x}, {end:#x}) and only the order "
                "of their steps keeps them apart, which an unmodified application does not tell; "
                "give both a common lock, or use `attach` with frames"
            )
