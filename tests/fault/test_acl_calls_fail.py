"""Every call of pyACL that the `acl` device makes fails once, and nothing stays behind.

The n-th call returns an error code, n = 1, 2, 3, ... until a story runs through. A call that gives
something back may be asked again, as the loader does.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from arena.device.acl import AclDevice
from arena.device.base import LoadBy, LoadOptions, ModelSource
from arena.device.twin import Twin, TwinConfig
from arena.errors import DeviceError
from arena.formats.om_writer import OmSpec
from planner.model import TensorSpec
from planner.units import MiB
from tests.device_rigs import CHAINED_BYTES, FailingAcl, chained_spec, om_source

T = TypeVar("T")
DATA = bytes(CHAINED_BYTES)
LOST_HOST_OBJECTS = (
    "mdl.destroy_desc",
    "mdl.destroy_dataset",
    "destroy_data_buffer",
    "mdl.destroy_config_handle",
    "destroy_tensor_desc",
)
"""Failures that cost some bytes of host memory and are not worth an error."""


class Story:
    """A use of the device that gives everything back whatever fails."""

    def __init__(self, device: AclDevice) -> None:
        self.device = device
        self.errors: list[DeviceError] = []
        self._undo: list[Callable[[], None]] = []

    def later(self, call: Callable[[], None]) -> None:
        self._undo.append(call)

    def end(self) -> None:
        """Give back in reverse, each call tried twice."""
        for call in reversed(self._undo):
            for _ in range(2):
                try:
                    call()
                except DeviceError as error:
                    self.errors.append(error)
                else:
                    break
        self._undo.clear()


def chained(story: Story, source: ModelSource, options: LoadOptions) -> None:
    device = story.device
    work_bytes, weight_bytes = device.query_size(source)
    work = device.alloc(work_bytes)
    story.later(lambda: device.free(work))
    device.fill(work, 0)
    weights = device.alloc(weight_bytes)
    story.later(lambda: device.free(weights))
    stream = device.create_stream()
    story.later(lambda: device.destroy_stream(stream))
    model = device.load(source, work=work, weights=weights, options=options)
    story.later(lambda: device.unload(model))
    event = device.record_event(stream)
    story.later(lambda: device.destroy_event(event))
    device.wait_event(stream, event)
    for _ in range(2):
        launch = device.launch(model, [DATA], [None], stream)
        try:
            (output,) = device.finish(launch)
        except DeviceError:
            device.synchronize(stream)
            raise
        assert output is not None
    assert device.streams_free() > 0
    assert device.memory_info().free_bytes > 0
    device.synchronize(stream)


def opened(story: Story, source: ModelSource) -> None:
    """Run a model of open shapes: memory for one launch, outputs that the device chooses."""
    device = story.device
    stream = device.create_stream()
    story.later(lambda: device.destroy_stream(stream))
    model = device.load(source, work=None, weights=None)
    story.later(lambda: device.unload(model))
    (output,) = device.finish(device.launch(model, [bytes(64)], [None], stream))
    assert len(output or b"") == 64


def run_with_failure(
    fail_call: int, tell: Callable[[Story], None]
) -> tuple[FailingAcl, Twin, DeviceError | None]:
    twin = Twin(TwinConfig(memory_bytes=32 * MiB))
    acl = FailingAcl(twin.acl, fail_call)
    device = AclDevice(acl=acl.module, name="twin", timeout_s=20)
    error: DeviceError | None = None
    try:
        device.open()
    except DeviceError as failure:
        return acl, twin, failure
    story = Story(device)
    try:
        tell(story)
    except DeviceError as failure:
        error = failure
    story.end()
    try:
        device.close()
    except DeviceError as failure:
        error = failure
    return acl, twin, error or next(iter(story.errors), None)


def check_every_call(tell: Callable[[Story], None]) -> None:
    for fail_call in range(1, 1_000):
        acl, twin, error = run_with_failure(fail_call, tell)
        memory = twin.devices[0].memory
        assert memory.used_bytes == 0, f"{acl.failed} (call {fail_call}) leaves memory behind"
        if not acl.failed:
            assert error is None
            return
        # A context or initialisation that cannot be given back stays; nothing else does.
        kept = acl.failed in ("rt.destroy_context", "rt.reset_device", "rt.destroy_stream")
        assert twin.devices[0].n_streams == 0 or kept, f"{acl.failed} leaves streams behind"
        if acl.failed in LOST_HOST_OBJECTS:
            continue
        if acl.failed in ("rt.get_context", "rt.free") and error is None:
            continue  # made good by another call: set_context, the same once more
        assert error is not None, f"{acl.failed} (call {fail_call}) is not noticed"
        assert acl.failed.rpartition(".")[2] in error.call or "create_" in acl.failed
        assert error.code != 0
    pytest.fail("the story never ran through")


@pytest.mark.parametrize("by", list(LoadBy))
@pytest.mark.parametrize("from_bytes", [False, True])
def test_each_call_of_an_execution_fails_once(tmp_path: Path, by: LoadBy, from_bytes: bool) -> None:
    source = om_source(tmp_path, chained_spec("m", 1))
    assert source.path is not None
    if from_bytes:
        source = ModelSource("m", read=source.path.read_bytes)
    options = LoadOptions(by=by, priority=3 if by is LoadBy.CONFIG else None)
    check_every_call(lambda story: chained(story, source, options))


def test_each_call_of_an_execution_of_open_shapes_fails_once(tmp_path: Path) -> None:
    tensors = (TensorSpec("x", "float32", (-1, 4), 0),)
    spec = OmSpec(
        name="open", unknown_shapes=True, weight_bytes=512, inputs=tensors, outputs=tensors
    )
    source = om_source(tmp_path, spec)
    check_every_call(lambda story: opened(story, source))
