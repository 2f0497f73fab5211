"""The `acl` device on a twin: contexts, copies, ways to load, and what it says when calls fail."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from arena.device.acl import AclDevice
from arena.device.acl_calls import AclCalls
from arena.device.acl_codes import explain_code
from arena.device.base import (
    DeviceRange,
    LoadBy,
    LoadOptions,
    ModelSource,
    StreamId,
    io_block_bytes,
)
from arena.device.twin import MemoryKind, RunMode, Twin, TwinConfig
from arena.errors import DeviceError
from arena.formats.om_writer import OmSpec, om_bytes
from planner.errors import UsageError
from planner.model import TensorSpec, page_rounded
from planner.units import KiB, MiB
from tests.device_rigs import CHAINED_BYTES, chained_spec, om_source

CONFIG = TwinConfig(memory_bytes=64 * MiB)
DATA = bytes(range(256)) * (CHAINED_BYTES // 256)


class Stage:
    """An open device and the twin under it."""

    def __init__(self, config: TwinConfig = CONFIG, timeout_s: float | None = None) -> None:
        self.twin = Twin(config)
        self.device = AclDevice(acl=self.twin.acl, name="twin", timeout_s=timeout_s)
        self.device.open()

    @property
    def used(self) -> int:
        return self.twin.devices[0].memory.used_bytes


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.device.close()
    check_empty(stage.twin)


def check_empty(twin: Twin) -> None:
    for device in twin.devices:
        assert (device.memory.used_bytes, device.memory.n_blocks, device.n_streams) == (0, 0, 0)


def in_thread(function: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


# ---------------------------------------------------------------------- codes and calls


def test_codes_are_named_and_explained() -> None:
    assert explain_code(0) == "ACL_SUCCESS"
    assert explain_code(207001) == "ACL_ERROR_RT_MEMORY_ALLOCATION: device memory is exhausted"
    assert explain_code(100011) == "ACL_ERROR_INVALID_MODEL_ID"
    assert explain_code(507999).startswith("unknown code: internal error")
    assert explain_code(-1) == "unknown code: no known class"


def test_errors_hold_call_code_meaning_and_the_devices_words() -> None:
    calls = AclCalls(Twin().acl)
    with pytest.raises(DeviceError) as caught:
        calls.call("rt.set_device", 0, what="device 0")
    assert str(caught.value) == (
        "device 0: acl.rt.set_device returned 100001 (ACL_ERROR_UNINITIALIZE: acl.init has not "
        "been called in this process); the device says: acl.rt.set_device: acl.init has not been "
        "called"
    )
    assert (caught.value.call, caught.value.code) == ("acl.rt.set_device", 100001)


def test_old_bindings_have_no_error_text_and_handles_may_be_zero() -> None:
    old = ModuleType("acl")
    part = ModuleType("acl.mdl")
    setattr(part, "create_desc", lambda: 0)  # noqa: B010 - a module under construction
    setattr(old, "mdl", part)  # noqa: B010 - likewise
    with pytest.raises(DeviceError, match=r"acl\.mdl\.create_desc returned 200000") as caught:
        AclCalls(old).create("mdl.create_desc", what="describing")
    assert "the device says" not in str(caught.value)


def test_a_missing_module_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "acl", None)
    with pytest.raises(DeviceError, match=r"install CANN.*or rehearse with --device twin"):
        AclDevice()


def test_it_finds_acl_by_import() -> None:
    twin = Twin(CONFIG)
    with twin.installed():
        device = AclDevice()
        device.open()
        assert device.name == "twin"  # what was found says that it is no hardware
        assert device.memory_info().total_bytes == 64 * MiB
        device.close()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"device_id": -1}, "device id"),
        ({"device_id": 1 << 31}, "device id"),
        ({"streams": [5]}, "borrowed streams"),
        ({"timeout_s": 0.0}, "timeout"),
        ({"timeout_s": 3e6}, "timeout"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        AclDevice(acl=Twin().acl, **arguments)  # type: ignore[arg-type]  # a table of bad ones


# ---------------------------------------------------------------------- contexts


def test_an_application_keeps_its_context_streams_and_initialisation(tmp_path: Path) -> None:
    twin = Twin(CONFIG)
    acl = twin.acl
    assert acl.init() == 0
    assert acl.rt.set_device(0) == 0
    lent, _ = acl.rt.create_context(0)
    stream, _ = acl.rt.create_stream()
    current, _ = acl.rt.create_context(0)  # this thread works in another context
    device = AclDevice(acl=acl, context=lent, streams=[stream], name="twin")
    device.open()
    assert acl.rt.get_context() == (current, 0)
    source = om_source(tmp_path, chained_spec("m", 1))
    model = device.load(source, work=None, weights=None)
    assert acl.rt.get_context() == (current, 0)
    (output,) = device.finish(device.launch(model, [DATA], [None], StreamId(stream)))
    assert output is not None
    with pytest.raises(UsageError, match="borrowed"):
        device.destroy_stream(StreamId(stream))
    in_thread(lambda: device.synchronize(StreamId(stream)))
    device.unload(model)
    device.close()
    with pytest.raises(UsageError):
        device.synchronize(StreamId(stream))
    assert acl.rt.get_context() == (current, 0)
    assert acl.rt.set_context(lent) == 0
    assert acl.rt.synchronize_stream(stream) == 0
    assert acl.init() == 100002
    assert twin.devices[0].n_streams == 4


def test_devices_share_initialisation_and_the_last_one_ends_it() -> None:
    twin = Twin(replace(CONFIG, n_devices=2))
    devices = [AclDevice(number, acl=twin.acl, name="twin") for number in (0, 1)]
    for device in devices:
        device.open()
    block = devices[1].alloc(2 * MiB)
    assert devices[0].memory_info().used_bytes == 0
    devices[0].close()
    assert devices[1].memory_info().used_bytes == 2 * MiB
    devices[1].free(block)
    devices[1].close()
    assert twin.acl.finalize() == 100037  # done already
    check_empty(twin)


def test_an_applications_initialisation_is_not_undone() -> None:
    twin = Twin(CONFIG)
    assert twin.acl.init() == 0
    device = AclDevice(acl=twin.acl)
    device.open()
    device.close()
    assert twin.acl.finalize() == 0


def test_a_device_that_does_not_exist_leaves_nothing_open() -> None:
    twin = Twin(CONFIG)
    device = AclDevice(7, acl=twin.acl)
    with pytest.raises(DeviceError, match=r"device 7.*107001.*this process sees 1"):
        device.open()
    assert twin.acl.init() == 0
    check_empty(twin)


@pytest.mark.parametrize("kind", list(MemoryKind))
def test_the_chips_kind_of_memory_is_found(kind: MemoryKind) -> None:
    stage = Stage(replace(CONFIG, memory_kind=kind))
    assert stage.device.memory_info().total_bytes == 64 * MiB
    stage.device.close()


@pytest.mark.parametrize("soc", ["", "Ascend310P3"])
def test_it_tells_chip_and_number_of_devices(soc: str) -> None:
    stage = Stage(replace(CONFIG, soc=soc, n_devices=3))
    assert (stage.device.soc_name(), stage.device.device_count()) == (soc, 3)
    stage.device.close()


def test_closing_counts_what_is_out(stage: Stage, tmp_path: Path) -> None:
    device = stage.device
    stream = device.create_stream()
    event = device.record_event(stream)
    block = device.alloc(100)
    model = device.load(om_source(tmp_path, chained_spec("m", 1)), work=None, weights=None)
    with pytest.raises(
        UsageError, match="1 models, 1 blocks of memory, 1 streams, 1 events are still out"
    ):
        device.close()
    device.unload(model)
    device.free(block)
    device.destroy_event(event)
    device.destroy_stream(stream)


# ---------------------------------------------------------------------- memory


def test_small_blocks_are_aligned_although_the_device_promises_64(stage: Stage) -> None:
    for size in (1, 100, 4096, MiB - 600, MiB):
        block = stage.device.alloc(size)
        assert block.pointer % 512 == 0
        assert stage.used <= page_rounded(size) + 4 * KiB or stage.used == 2 * MiB
        stage.device.free(block)
    assert stage.used == 0


def test_nothing_is_added_to_a_block(stage: Stage) -> None:
    block = stage.device.alloc(4 * MiB)  # a plain malloc would take 32 bytes and 2 MiB more
    assert stage.used == 4 * MiB
    stage.device.free(block)


def test_old_bindings_cost_a_page_more_at_most() -> None:
    twin = Twin(CONFIG)
    del twin.acl.rt.malloc_align32
    device = AclDevice(acl=twin.acl)
    device.open()
    block = device.alloc(4 * MiB)
    assert twin.devices[0].memory.used_bytes == 6 * MiB
    device.free(block)
    device.close()


def test_streams_that_are_left_are_counted(stage: Stage) -> None:
    assert stage.device.streams_free() == CONFIG.streams_max - 2  # two contexts
    stream = stage.device.create_stream()
    assert stage.device.streams_free() == CONFIG.streams_max - 3
    stage.device.destroy_stream(stream)


# ---------------------------------------------------------------------- loads


def test_arguments_of_a_model_take_what_was_announced(stage: Stage, tmp_path: Path) -> None:
    tensors = tuple(TensorSpec(f"x{i}", "uint8", (700,), 700) for i in range(3))
    source = om_source(tmp_path, chained_spec("m", 1, inputs=tensors))
    model = stage.device.load(source, work=None, weights=None)
    description = stage.device.describe(model)
    announced = io_block_bytes(description.inputs, description.outputs)
    assert stage.device.io_bytes(model) == announced == 3 * 768 + 1088
    assert stage.used == page_rounded(90_624) + page_rounded(32_768) + page_rounded(announced)
    stage.device.unload(model)


def test_io_memory_can_wait_for_the_first_host_argument(stage: Stage, tmp_path: Path) -> None:
    device = stage.device
    source = om_source(tmp_path, chained_spec("m", 1))
    model = device.load(source, work=None, weights=None, options=LoadOptions(host_io=False))
    loaded = stage.used
    stream = device.create_stream()
    given, taken = device.alloc(CHAINED_BYTES), device.alloc(CHAINED_BYTES)
    device.fill(given, 1)
    before = stage.used
    device.finish(device.launch(model, [given], [taken], stream))
    assert stage.used == before
    device.finish(device.launch(model, [given], [None], stream))
    assert stage.used == before + page_rounded(device.io_bytes(model))
    device.destroy_stream(stream)
    device.free(given)
    device.free(taken)
    device.unload(model)
    assert stage.used == 0 < loaded


def test_config_loads_do_not_leave_the_zero_copy_option_behind(
    stage: Stage, tmp_path: Path
) -> None:
    source = om_source(tmp_path, chained_spec("m", 1, weight_bytes=0, zero_copy_bytes=8192))
    options = LoadOptions(by=LoadBy.CONFIG, reuse_zero_copy=True, host_io=False)
    plain = LoadOptions(host_io=False)
    taken = []
    for choice in (plain, options, plain):
        before = stage.used
        model = stage.device.load(source, work=None, weights=None, options=choice)
        taken.append(stage.used - before)
        stage.device.unload(model)
    assert taken == [94_208, 86_016, 94_208]


def test_config_handles_are_destroyed_whatever_happens(stage: Stage, tmp_path: Path) -> None:
    created: list[int] = []
    destroyed: list[int] = []
    acl = stage.twin.acl
    create, destroy = acl.mdl.create_config_handle, acl.mdl.destroy_config_handle

    def counted_create() -> int:
        created.append(create())
        return created[-1]

    def counted_destroy(handle: int) -> int:
        destroyed.append(handle)
        ret: int = destroy(handle)
        return ret

    acl.mdl.create_config_handle = counted_create
    acl.mdl.destroy_config_handle = counted_destroy
    options = LoadOptions(by=LoadBy.CONFIG)
    good = om_source(tmp_path, chained_spec("m", 1))
    bad = ModelSource("bad", path=tmp_path / "bad.om")
    stage.device.unload(stage.device.load(good, work=None, weights=None, options=options))
    with pytest.raises(DeviceError, match=r"model 'bad': loading with work of the system"):
        stage.device.load(bad, work=None, weights=None, options=options)
    assert created == destroyed
    assert len(created) == 2


@pytest.mark.parametrize("mode", list(RunMode))
def test_bytes_are_read_once_per_call(mode: RunMode, tmp_path: Path) -> None:
    stage = Stage(replace(CONFIG, run_mode=mode))
    data = om_bytes(chained_spec("m", 1))
    reads: list[int] = []

    def read() -> bytes:
        reads.append(1)
        return data

    source = ModelSource("generated", read=read)
    assert stage.device.query_size(source) == (90_624, 32_768)
    before = stage.used
    model = stage.device.load(source, work=None, weights=None)
    assert len(reads) == 2
    stream = stage.device.create_stream()
    (output,) = stage.device.finish(stage.device.launch(model, [DATA], [None], stream))
    path_model = stage.device.load(
        om_source(tmp_path, chained_spec("m", 1)), work=None, weights=None
    )
    assert stage.device.finish(stage.device.launch(path_model, [DATA], [None], stream)) == (output,)
    for loaded in (model, path_model):
        stage.device.unload(loaded)
    stage.device.destroy_stream(stream)
    assert stage.used == before == 0
    stage.device.close()


@pytest.mark.parametrize("data", [b"", bytearray(b"IMOD"), None])
def test_a_callable_must_return_bytes(stage: Stage, data: object) -> None:
    source = ModelSource("generated", read=lambda: data)  # type: ignore[arg-type,return-value]  # bad on purpose
    with pytest.raises(UsageError, match="its callable returned"):
        stage.device.query_size(source)


def test_paths_with_null_characters_are_refused(stage: Stage) -> None:
    source = ModelSource("odd", path=Path("a\0b"))
    with pytest.raises(UsageError, match="is no path"):
        stage.device.query_size(source)


def test_errors_of_loads_name_model_pointers_and_code(stage: Stage, tmp_path: Path) -> None:
    source = om_source(tmp_path, chained_spec("detector", 1))
    work = stage.device.alloc(4096)
    with pytest.raises(DeviceError) as caught:
        stage.device.load(source, work=work, weights=None)
    text = str(caught.value)
    assert f"model 'detector': loading with work {work}, weights of the system" in text
    assert "145000 (ACL_ERROR_GE_PARAM_INVALID" in text
    assert "work needs at least 90624 bytes, 4096 are given" in text
    assert caught.value.call == "acl.mdl.load_from_file_with_mem"
    stage.device.free(work)


# ---------------------------------------------------------------------- executions


def test_hidden_inputs_are_supplied(stage: Stage, tmp_path: Path) -> None:
    image = TensorSpec("x", "float32", (1, 256), CHAINED_BYTES)
    aipp = TensorSpec("ascend_dynamic_aipp_data", "uint8", (304,), 304)
    source = om_source(tmp_path, chained_spec("aipp", 1, inputs=(image, aipp)))
    model = stage.device.load(source, work=None, weights=None, options=LoadOptions(host_io=False))
    description = stage.device.describe(model)
    assert description.hidden == ("ascend_dynamic_aipp_data",)
    assert description.visible_inputs == (image,)
    stream = stage.device.create_stream()
    (output,) = stage.device.finish(stage.device.launch(model, [DATA], [None], stream))
    assert output is not None
    stage.device.destroy_stream(stream)
    stage.device.unload(model)


def test_one_model_has_one_execution_under_way(stage: Stage, tmp_path: Path) -> None:
    device = stage.device
    model = device.load(om_source(tmp_path, chained_spec("m", 1)), work=None, weights=None)
    stream = device.create_stream()
    launch = device.launch(model, [DATA], [None], stream)
    for refused in (
        lambda: device.launch(model, [DATA], [None], stream),
        lambda: device.unload(model),
        lambda: device.destroy_stream(stream),
    ):
        with pytest.raises(UsageError, match="finish"):
            refused()
    device.synchronize(stream)  # leaves the outputs to `finish`
    with pytest.raises(UsageError, match="finish its launch first"):
        device.launch(model, [DATA], [None], stream)
    device.finish(launch)
    with pytest.raises(UsageError, match="is over"):
        device.finish(launch)
    target = device.alloc(CHAINED_BYTES)
    launch = device.launch(model, [DATA], [target], stream)
    device.synchronize(stream)  # nothing is left to do
    device.launch(model, [DATA], [target], stream)
    with pytest.raises(UsageError, match="is over"):
        device.finish(launch)
    device.synchronize(stream)
    device.unload(model)
    device.free(target)
    device.destroy_stream(stream)


def test_read_only_and_shaped_host_memory_goes_in(stage: Stage, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    device = stage.device
    model = device.load(om_source(tmp_path, chained_spec("m", 1)), work=None, weights=None)
    stream = device.create_stream()
    array = numpy.frombuffer(DATA, dtype="float32").reshape(1, 256).copy()
    frozen = array.copy()
    frozen.flags.writeable = False
    outputs = [
        device.finish(device.launch(model, [data], [None], stream))
        for data in (
            DATA,
            bytearray(DATA),
            memoryview(DATA),
            memoryview(b"x" + DATA)[1:],
            array.data,
            frozen.data,
        )
    ]
    assert len({bytes(output or b"") for (output,) in outputs}) == 1
    device.destroy_stream(stream)
    device.unload(model)


def test_a_failed_stream_names_the_model_and_leaves_the_rest_usable(
    stage: Stage, tmp_path: Path
) -> None:
    device = stage.device
    source = om_source(tmp_path, chained_spec("victim", 1))
    model = device.load(source, work=None, weights=None)
    stream = device.create_stream()
    gone = device.alloc(CHAINED_BYTES)
    device.free(gone)
    launch = device.launch(model, [gone], [None], stream)
    with pytest.raises(DeviceError, match=r"running there: 'victim'") as caught:
        device.finish(launch)
    assert caught.value.code == 507015
    with pytest.raises(UsageError, match="is over"):
        device.finish(launch)
    (output,) = device.finish(device.launch(model, [DATA], [None], stream))
    assert output is not None
    device.unload(model)
    device.destroy_stream(stream)


def test_a_hung_stream_times_out_and_everything_can_be_given_back(tmp_path: Path) -> None:
    stage = Stage(replace(CONFIG, step_ns=120_000_000_000), timeout_s=0.02)
    device = stage.device
    source = om_source(tmp_path, chained_spec("sleeper", 1))
    work_bytes, weight_bytes = device.query_size(source)
    work, weights = device.alloc(work_bytes), device.alloc(weight_bytes)
    model = device.load(source, work=work, weights=weights)
    stream = device.create_stream()
    launch = device.launch(model, [DATA], [None], stream)
    with pytest.raises(DeviceError, match=r"507046.*running there: 'sleeper'"):
        device.finish(launch)
    with pytest.raises(DeviceError, match="its last execution did not end; unload it"):
        device.launch(model, [DATA], [None], stream)
    device.destroy_stream(stream)
    device.unload(model)
    device.free(work)
    device.free(weights)
    device.close()
    check_empty(stage.twin)


def test_without_a_forced_call_a_failed_stream_is_destroyed_as_usual(tmp_path: Path) -> None:
    stage = Stage(replace(CONFIG, step_ns=20_000_000), timeout_s=0.001)
    del stage.twin.acl.rt.destroy_stream_force
    device = stage.device
    model = device.load(om_source(tmp_path, chained_spec("m", 1)), work=None, weights=None)
    stream = device.create_stream()
    launch = device.launch(model, [DATA], [None], stream)
    with pytest.raises(DeviceError, match="507046"):
        device.finish(launch)
    device.destroy_stream(stream)  # waits
    device.unload(model)
    device.close()


# ---------------------------------------------------------------------- open shapes


def open_source(tmp_path: Path, shape: tuple[int, ...], dtype: str = "float32") -> ModelSource:
    spec = OmSpec(
        name="open",
        unknown_shapes=True,
        weight_bytes=512,
        inputs=(TensorSpec("x", dtype, shape, 0),),
        outputs=(TensorSpec("y", dtype, shape, 0),),
    )
    return om_source(tmp_path, spec)


def test_open_shapes_come_from_the_array_or_the_bytes(stage: Stage, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    device = stage.device
    model = device.load(open_source(tmp_path, (-1, 4)), work=None, weights=None)
    stream = device.create_stream()
    used = stage.used
    array = numpy.arange(16, dtype="float32").reshape(4, 4)
    block = device.alloc(64)
    buffer = bytearray(64)
    outputs = [
        device.finish(device.launch(model, [array.data], [None], stream))[0],
        device.finish(device.launch(model, [array.tobytes()], [None], stream))[0],
    ]
    device.finish(device.launch(model, [array.data], [buffer], stream))
    outputs.append(buffer)
    assert len({bytes(output or b"") for output in outputs}) == 1
    assert len(outputs[0] or b"") == 64
    device.fill(block, 0)
    device.finish(device.launch(model, [block], [block], stream))
    device.free(block)
    assert stage.used == used  # memory for one launch is given back after it
    for bad, named in (
        (array.reshape(2, 8).data, "found shape"),
        (b"\0" * 20, "found 5 elements"),
    ):
        with pytest.raises(UsageError, match=named):
            device.launch(model, [bad], [None], stream)
    assert stage.used == used
    device.unload(model)
    device.destroy_stream(stream)


def test_an_empty_array_goes_in_and_out(stage: Stage, tmp_path: Path) -> None:
    device = stage.device
    model = device.load(open_source(tmp_path, (-1, 4)), work=None, weights=None)
    stream = device.create_stream()
    assert device.finish(device.launch(model, [b""], [None], stream)) == (bytearray(),)
    device.unload(model)
    device.destroy_stream(stream)


def test_two_open_axes_need_an_array(stage: Stage, tmp_path: Path) -> None:
    device = stage.device
    model = device.load(open_source(tmp_path, (-1, -1), "int8"), work=None, weights=None)
    stream = device.create_stream()
    with pytest.raises(UsageError, match="pass an array of its shape, not bytes"):
        device.launch(model, [bytes(16)], [None], stream)
    shaped = memoryview(bytes(16)).cast("b", (4, 4))
    (output,) = device.finish(device.launch(model, [shaped], [None], stream))
    assert len(output or b"") == 16
    with pytest.raises(UsageError, match="pass an array"):
        device.launch(model, [DeviceRange(512, 16)], [None], stream)
    device.unload(model)
    device.destroy_stream(stream)


def test_an_execution_that_fails_gives_back_what_the_device_chose(
    stage: Stage, tmp_path: Path
) -> None:
    device = stage.device
    model = device.load(open_source(tmp_path, (-1, 4)), work=None, weights=None)
    stream = device.create_stream()
    used = stage.used
    gone = device.alloc(64)
    device.free(gone)
    with pytest.raises(DeviceError, match="507015"):
        device.launch(model, [gone], [None], stream)
    assert stage.used == used
    device.unload(model)
    device.destroy_stream(stream)


# ---------------------------------------------------------------------- real files


def test_real_files_run(stage: Stage, shared_data: Path) -> None:
    """Static, dynamic and older ones, and a flow model, which has no memory."""
    device = stage.device
    stream = device.create_stream()
    ran = []
    for path in sorted((shared_data / "om").glob("*.om")):
        source = ModelSource(path.stem, path=path)
        sizes = device.query_size(source)
        blocks = [device.alloc(size) if size else None for size in sizes]
        model = device.load(source, work=blocks[0], weights=blocks[1])
        specs = device.describe(model).visible_inputs
        results = []
        for value in (0, 0, 1):
            inputs = [bytes([value]) * (spec.size_bytes or 64) for spec in specs]
            launch = device.launch(
                model, inputs, [None] * len(device.describe(model).outputs), stream
            )
            results.append(device.finish(launch))
        assert results[0] == results[1] != results[2]
        assert all(results[0])
        ran.append(path.stem)
        device.unload(model)
        for block in blocks:
            if block is not None:
                device.free(block)
    device.destroy_stream(stream)
    assert {"root_model", "flow_model"} <= set(ran)
    assert len(ran) >= 5


# ---------------------------------------------------------------------- cycles


def test_a_thousand_loads_leave_nothing_behind(tmp_path: Path) -> None:
    import gc

    stage = Stage()
    device = stage.device
    source = om_source(tmp_path, chained_spec("m", 1))
    work_bytes, weight_bytes = device.query_size(source)
    work, weights = device.alloc(work_bytes), device.alloc(weight_bytes)

    def cycle() -> None:
        stream = device.create_stream()
        model = device.load(source, work=work, weights=weights)
        device.finish(device.launch(model, [DATA], [None], stream))
        device.unload(model)
        device.destroy_event(device.record_event(stream))
        device.destroy_stream(stream)

    for _ in range(10):
        cycle()
    used, streams = stage.used, stage.twin.devices[0].n_streams

    def count_ours() -> int:
        gc.collect()
        names = (str(type(thing).__module__) for thing in gc.get_objects())
        return sum(name.startswith("arena.") for name in names)

    objects = count_ours()
    threads = threading.active_count()
    for _ in range(1_000):
        cycle()
    assert (stage.used, stage.twin.devices[0].n_streams) == (used, streams)
    assert threading.active_count() == threads
    assert count_ours() == objects
    device.free(work)
    device.free(weights)
    device.close()
    check_empty(stage.twin)
