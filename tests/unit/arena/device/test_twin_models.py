"""Queries, loads, descriptions and executions of the twin, with the traps of the real ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena.device.acl_types import ConfigAttribute as Attribute
from arena.device.acl_types import LoadType
from arena.device.twin import RunMode, Twin, TwinConfig
from arena.formats.om_layout import HEADER_BYTES
from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.om_writer import OmSpec, om_bytes
from planner.model import TensorSpec
from planner.units import MiB
from tests.device_rigs import CHAINED_BYTES, chained_spec
from tests.geared import geared_spec
from tests.twin_stand import Runner, Stand

WORK, WEIGHTS = 90_624, 32_768
REAL = ("a3c_pong_3e6bbc.om", 90_624, 320_000)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


# ---------------------------------------------------------------------- queries


def test_query_agrees_with_the_file_without_a_context(shared_data: Path) -> None:
    acl = Twin().acl
    acl.init()
    name, work, weights = REAL
    path = shared_data / "om" / name
    assert acl.mdl.query_size(str(path)) == (work, weights, 0)
    data = path.read_bytes()
    pointer = acl.util.bytes_to_ptr(data)
    assert acl.mdl.query_size_from_mem(pointer, len(data)) == (work, weights, 0)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"XXXX" + data[4:]])
def test_damaged_files_are_invalid_parameters(stand: Stand, damage: Any) -> None:
    data = damage(om_bytes(OmSpec(work_bytes=512, weight_bytes=512)))
    path = stand.directory / "damaged.om"
    path.write_bytes(data)
    assert stand.acl.mdl.query_size(str(path)) == (0, 0, 145000)
    assert stand.acl.mdl.load_from_file(str(path)) == (0, 145000)
    desc = stand.acl.mdl.create_desc()
    assert stand.acl.mdl.get_desc_from_file(desc, str(path)) == 145000


def test_flow_models_load_without_memory(stand: Stand, shared_data: Path) -> None:
    path = str(shared_data / "om" / "flow_model.om")
    assert stand.acl.mdl.query_size(path) == (0, 0, 0)
    model, ret = stand.acl.mdl.load_from_file(path)
    assert ret == 0
    assert stand.used == 0
    assert stand.acl.mdl.unload(model) == 0


# ---------------------------------------------------------------------- loads


def test_system_memory_is_allocated_at_load_and_given_back(stand: Stand) -> None:
    path = stand.file(chained_spec("m", 1, stream_count=3))
    model, ret = stand.acl.mdl.load_from_file(path)
    assert ret == 0
    assert stand.used == 94_208 + 32_768  # work and weights in pages of 4 KiB
    assert stand.twin.devices[0].n_streams == 4
    assert stand.acl.mdl.unload(model + (1 << 32)) == 0  # ids are masked to 32 bits
    assert stand.acl.mdl.unload(model) == 145003
    assert (stand.used, stand.twin.devices[0].n_streams) == (0, 1)


@pytest.mark.parametrize(
    ("work", "weights", "code"),
    [
        (WORK, WEIGHTS, 0),
        (WORK - 1, WEIGHTS, 145000),
        (WORK, WEIGHTS - 1, 145000),
        (0, WEIGHTS, 145000),
    ],
)
def test_small_buffers_are_refused(stand: Stand, work: int, weights: int, code: int) -> None:
    path = stand.file(chained_spec("m", 1))
    places = stand.malloc(WORK), stand.malloc(WEIGHTS)
    before = stand.used
    model, ret = stand.acl.mdl.load_from_file_with_mem(path, places[0], work, places[1], weights)
    assert ret == code
    assert stand.used == before
    if code == 0:
        assert stand.acl.mdl.unload(model) == 0


def test_the_zero_copy_tail_may_be_missing(stand: Stand) -> None:
    path = stand.file(chained_spec("m", 1, zero_copy_bytes=2048))
    work, weights = stand.malloc(WORK), stand.malloc(WEIGHTS)
    load = stand.acl.mdl.load_from_file_with_mem
    assert load(path, work, WORK - 2049, weights, WEIGHTS) == (0, 145000)
    model, ret = load(path, work, WORK - 2048, weights, WEIGHTS)
    assert ret == 0
    assert stand.acl.mdl.unload(model) == 0


@pytest.mark.parametrize("foreign", [0, 1])
def test_pointers_outside_any_allocation_are_an_error_not_a_crash(
    stand: Stand, foreign: int
) -> None:
    path = stand.file(chained_spec("m", 1))
    places = [stand.malloc(WORK), stand.malloc(WEIGHTS)]
    stand.acl.rt.free(places[foreign])
    arguments = (places[0], WORK, places[1], WEIGHTS)
    assert stand.acl.mdl.load_from_file_with_mem(path, *arguments) == (0, 145007)


def test_weights_are_copied_at_every_load(stand: Stand) -> None:
    path = stand.file(chained_spec("m", 1))
    work, weights = stand.malloc(WORK), stand.malloc(WEIGHTS)
    arguments = (path, work, WORK, weights, WEIGHTS)
    first, _ = stand.acl.mdl.load_from_file_with_mem(*arguments)
    original = stand.read(weights, WEIGHTS)
    assert len(set(original)) > 100
    stand.acl.rt.memset(weights, WEIGHTS, 0, WEIGHTS)
    second, _ = stand.acl.mdl.load_from_file_with_mem(*arguments)
    assert stand.read(weights, WEIGHTS) == original
    for model in (first, second):
        assert stand.acl.mdl.unload(model) == 0


def test_models_without_weights_or_work_ignore_the_pointers(stand: Stand) -> None:
    path = stand.file(chained_spec("empty", 1, work_bytes=0, weight_bytes=0))
    model, ret = stand.acl.mdl.load_from_file_with_mem(path, 8, 0, 8, 0)
    assert ret == 0
    assert stand.used == 0
    assert stand.acl.mdl.unload(model) == 0


def test_a_dynamic_model_falls_back_in_silence(stand: Stand) -> None:
    spec = OmSpec(name="dynamic", unknown_shapes=True, weight_bytes=WEIGHTS)
    path = stand.file(spec)
    assert stand.acl.mdl.query_size(path) == (0, WEIGHTS, 0)
    weights = stand.malloc(WEIGHTS)
    used = stand.used
    big, ret = stand.acl.mdl.load_from_file_with_mem(path, 8, 8, weights, WEIGHTS)  # work ignored
    assert (ret, stand.used) == (0, used)
    small, ret = stand.acl.mdl.load_from_file_with_mem(path, 0, 0, weights, WEIGHTS - 1)
    assert (ret, stand.used) == (0, used + WEIGHTS)  # allocated without a word
    for model in (big, small):
        assert stand.acl.mdl.unload(model) == 0
    assert stand.used == used


def test_loading_takes_streams_and_memory_or_nothing(tmp_path: Path) -> None:
    stand = Stand(tmp_path, TwinConfig(memory_bytes=WORK + 4096, streams_max=8))
    path = stand.file(chained_spec("m", 1))
    assert stand.acl.mdl.load_from_file(path) == (0, 245000)
    assert "bytes are free" in stand.acl.get_recent_err_msg()
    assert (stand.used, stand.twin.devices[0].n_streams) == (0, 1)
    many = stand.file(chained_spec("many", 1, stream_count=8))
    assert stand.acl.mdl.load_from_file(many) == (0, 207008)


def test_another_chip_is_noticed_at_load_not_at_query(tmp_path: Path) -> None:
    stand = Stand(tmp_path, TwinConfig(soc="Ascend310P3"))
    assert stand.acl.get_soc_name() == "Ascend310P3"
    path = stand.file(chained_spec("m", 1, soc="Ascend310B4"))
    assert stand.acl.mdl.query_size(path)[2] == 0
    assert stand.acl.mdl.load_from_file(path) == (0, 500002)
    same = stand.file(chained_spec("same", 1, soc="Ascend310P3"))
    assert stand.acl.mdl.load_from_file(same)[1] == 0


def test_models_belong_to_their_context(stand: Stand) -> None:
    path = stand.file(chained_spec("m", 1))
    home, _ = stand.acl.rt.get_context()
    model, _ = stand.acl.mdl.load_from_file(path)
    other, _ = stand.acl.rt.create_context(0)
    assert stand.acl.mdl.execute(model, 0, 0) == 107004
    assert stand.acl.mdl.unload(model) == 107004
    assert stand.acl.rt.destroy_context(other) == 0
    assert stand.acl.rt.set_context(home) == 0
    assert stand.acl.mdl.unload(model) == 0


def test_a_file_that_changed_is_read_again(stand: Stand) -> None:
    path = stand.file(chained_spec("m", 1))
    assert stand.acl.mdl.load_from_file(path)[1] == 0
    used = stand.used
    stand.file(replace(chained_spec("m", 1), weight_bytes=65_536))
    assert stand.acl.mdl.load_from_file(path)[1] == 0
    assert stand.used - used == 94_208 + 65_536


def test_many_files_do_not_fill_the_memory_of_the_twin(stand: Stand) -> None:
    for index in range(300):
        path = stand.file(OmSpec(name=f"m{index}", work_bytes=512, weight_bytes=512))
        model, ret = stand.acl.mdl.load_from_file(path)
        assert ret == 0
        assert stand.acl.mdl.unload(model) == 0
    assert stand.used == 0


# ---------------------------------------------------------------------- config handles


def configured(stand: Stand, *rows: tuple[int, object]) -> tuple[int, int]:
    handle = stand.acl.mdl.create_config_handle()
    for attribute, value in rows:
        assert stand.acl.mdl.set_config_opt(handle, attribute, value) == 0
    result: tuple[int, int] = stand.acl.mdl.load_with_config(handle)
    assert stand.acl.mdl.destroy_config_handle(handle) == 0
    return result


def test_config_loads_from_file_and_from_memory(stand: Stand) -> None:
    path = stand.file(chained_spec("m", 1))
    data = Path(path).read_bytes()
    pointer = stand.acl.util.bytes_to_ptr(data)
    work, weights = stand.malloc(WORK), stand.malloc(WEIGHTS)
    from_file = [(Attribute.PATH, path)]
    from_memory = [(Attribute.MODEL_POINTER, pointer), (Attribute.MODEL_SIZE, len(data))]
    memory = [
        (Attribute.WORK_POINTER, work),
        (Attribute.WORK_SIZE, WORK),
        (Attribute.WEIGHT_POINTER, weights),
        (Attribute.WEIGHT_SIZE, WEIGHTS),
    ]
    before = stand.used
    for rows, own in (
        ([(Attribute.LOAD_TYPE, LoadType.FILE), *from_file], 94_208 + WEIGHTS),
        ([(Attribute.LOAD_TYPE, LoadType.MEM), *from_memory], 94_208 + WEIGHTS),
        ([(Attribute.LOAD_TYPE, LoadType.FILE_WITH_MEM), *from_file, *memory], 0),
        ([(Attribute.LOAD_TYPE, LoadType.MEM_WITH_MEM), *from_memory, *memory], 0),
    ):
        model, ret = configured(stand, (Attribute.PRIORITY, 7), *rows)
        assert (ret, stand.used) == (0, before + own)
        assert stand.acl.mdl.unload(model) == 0


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([], 100000),  # no load type
        ([(Attribute.LOAD_TYPE, 9)], 100000),
        ([(Attribute.LOAD_TYPE, LoadType.FILE)], 100000),  # no path
        ([(Attribute.LOAD_TYPE, LoadType.MEM)], 100000),
        ([(Attribute.LOAD_TYPE, LoadType.FILE_WITH_QUEUES)], 200001),
        (
            [(Attribute.LOAD_TYPE, LoadType.FILE), (Attribute.PATH, "x.om"), (14, 4096)],
            100000,  # a weight path is rejected from a file
        ),
        (
            [
                (Attribute.LOAD_TYPE, LoadType.FILE),
                (Attribute.PATH, "x.om"),
                (Attribute.PRIORITY, 8),
            ],
            145000,
        ),
    ],
)
def test_bad_configurations_are_refused(
    stand: Stand, rows: list[tuple[int, object]], code: int
) -> None:
    assert configured(stand, *rows) == (0, code)


def test_attributes_have_types_and_one_never_works(stand: Stand) -> None:
    handle = stand.acl.mdl.create_config_handle()
    option = stand.acl.mdl.set_config_opt
    for attribute, value in (
        (Attribute.PATH, 5),
        (Attribute.PATH, b"x"),
        (Attribute.WEIGHT_PATH, "a path"),  # wants the address of a C string
        (Attribute.PRIORITY, 1 << 31),
        (Attribute.WORK_SIZE, 1.0),
    ):
        with pytest.raises(TypeError, match="set_config_opt args parse failed"):
            option(handle, attribute, value)
    assert option(handle, Attribute.WITHOUT_GRAPH, 1) == 100000  # 8 bytes where 4 are wanted
    for unknown in (15, 27, 29, 0xFFFF):
        assert option(handle, unknown, 1) == 100000


def test_a_config_load_leaves_its_threads_zero_copy_option_set(stand: Stand) -> None:
    path = stand.file(chained_spec("m", 1, weight_bytes=0, zero_copy_bytes=8192))
    file_type = (Attribute.LOAD_TYPE, LoadType.FILE)

    def load_plain() -> int:
        before = stand.used
        assert stand.acl.mdl.load_from_file(path)[1] == 0
        return stand.used - before

    assert load_plain() == 94_208
    assert configured(stand, file_type, (Attribute.PATH, path), (13, 1))[1] == 0
    assert load_plain() == 86_016  # the trap: inherited
    everything = stand.file(chained_spec("io", 1, weight_bytes=0, zero_copy_bytes=WORK))
    before = stand.used
    assert stand.acl.mdl.load_from_file(everything)[1] == 0
    assert stand.used == before
    assert configured(stand, file_type, (Attribute.PATH, path))[1] == 0
    assert load_plain() == 94_208


# ---------------------------------------------------------------------- descriptions


def test_descriptions_tell_tensors(stand: Stand) -> None:
    spec = chained_spec(
        "m",
        1,
        inputs=(
            TensorSpec("image", "uint8", (1, 3, 4, 4), 48),
            TensorSpec("scale", "float16", (), 2),
        ),
    )
    path = stand.file(spec)
    data = Path(path).read_bytes()
    mdl = stand.acl.mdl
    model, _ = mdl.load_from_file(path)
    desc = mdl.create_desc()
    assert mdl.get_num_inputs(desc) == 0
    pointer = stand.acl.util.bytes_to_ptr(data)
    for fill, arguments in (
        (mdl.get_desc, (model,)),
        (mdl.get_desc_from_file, (path,)),
        (mdl.get_desc_from_mem, (pointer, len(data))),
    ):
        assert fill(desc, *arguments) == 0
        assert (mdl.get_num_inputs(desc), mdl.get_num_outputs(desc)) == (2, 1)
        assert mdl.get_input_name_by_index(desc, 0) == "image"
        assert mdl.get_input_size_by_index(desc, 0) == 48
        assert mdl.get_input_data_type(desc, 0) == 4
        assert mdl.get_input_data_type(desc, 1) == 1
        assert mdl.get_output_data_type(desc, 0) == 0
        assert mdl.get_input_format(desc, 0) == mdl.get_output_format(desc, 0) == 2
        dims = {"name": "image", "dimCount": 4, "dims": [1, 3, 4, 4]}
        assert mdl.get_input_dims(desc, 0) == mdl.get_input_dims_v2(desc, 0) == (dims, 0)
        assert mdl.get_output_size_by_index(desc, 0) == CHAINED_BYTES
        assert mdl.get_output_dims(desc, 0) == mdl.get_cur_output_dims(desc, 0)
        assert mdl.get_output_dims(desc, 0)[0]["dims"] == [1, CHAINED_BYTES // 4]
        assert mdl.get_input_index_by_name(desc, "scale") == (1, 0)
        assert mdl.get_input_index_by_name(desc, "other") == (0, 100000)
        assert mdl.get_input_size_by_index(desc, 2) == 0
        assert mdl.get_input_dims(desc, 2) == ({}, 100000)
        assert mdl.get_dynamic_batch(desc) == ({"batchCount": 0, "batch": []}, 0)
        assert mdl.get_dynamic_hw(desc, -1) == ({"hwCount": 0, "hw": []}, 0)
    assert mdl.destroy_desc(desc) == 0


# ---------------------------------------------------------------------- executions


def test_outputs_are_a_function_of_model_weights_and_input(stand: Stand) -> None:
    first = Runner(stand, chained_spec("first", 1))
    same = Runner(stand, chained_spec("same", 1))
    other_weights = Runner(stand, chained_spec("other", 2))
    assert first.run(1) == first.run(1)
    results = {first.run(1), first.run(2), other_weights.run(1), same.run(1)}
    assert len(results) == 4  # the name is in the graph: `same` is another model
    assert Runner(stand, chained_spec("first", 1)).run(1) == first.run(1)


def test_output_bytes_are_finite_numbers(stand: Stand) -> None:
    runner = Runner(stand, chained_spec("m", 1))
    assert max(runner.run(1)) < 64
    floats = memoryview(runner.output).cast("f")
    assert all(0 <= value < 2 for value in floats)


def test_weights_are_read_from_memory_at_every_execution(stand: Stand) -> None:
    spec = chained_spec("m", 1)
    work, weights = stand.malloc(WORK), stand.malloc(WEIGHTS)
    runner = Runner(stand, spec, (work, weights))
    expected = runner.run()
    byte = stand.read(weights + WEIGHTS - 1, 1)[0]
    stand.acl.rt.memset(weights + WEIGHTS - 1, 1, byte ^ 1, 1)
    assert runner.run() != expected
    stand.acl.rt.memset(weights + WEIGHTS - 1, 1, byte, 1)
    assert runner.run() == expected


def test_sync_and_async_agree_and_models_without_work_run(stand: Stand) -> None:
    for spec in (
        chained_spec("usual", 1),
        chained_spec("no_work", 1, work_bytes=0),
        chained_spec("no_weights", 1, weight_bytes=0),
        chained_spec("tiny", 1, work_bytes=3, weight_bytes=1),
        chained_spec("odd", 1, work_bytes=777_777, weight_bytes=99_999),
    ):
        runner = Runner(stand, spec)
        expected = runner.run()
        stand.acl.rt.memset(runner.target, CHAINED_BYTES, 0, CHAINED_BYTES)
        assert runner.execute_async(0) == 0
        assert stand.acl.rt.synchronize_stream(0) == 0
        assert runner.output == expected
    assert stand.twin.devices[0].n_damaged == 0
    assert stand.twin.devices[0].n_executions == 10


def test_buffers_are_checked_at_the_call(stand: Stand) -> None:
    runner = Runner(stand, chained_spec("m", 1))
    mdl = stand.acl.mdl
    good_in, good_out = runner.inputs, runner.outputs
    short = stand.dataset([(runner.source, CHAINED_BYTES - 65)])
    slack = stand.dataset([(runner.source, CHAINED_BYTES - 64)])
    empty = stand.dataset([])
    nothing = stand.dataset([(0, 0)])
    for inputs, outputs, code in (
        (short, good_out, 145000),
        (good_in, short, 145000),
        (empty, good_out, 145000),
        (good_in, empty, 145000),
        (nothing, good_out, 145000),
        (1, good_out, 100000),
        (slack, good_out, 0),
    ):
        assert mdl.execute(runner.model, inputs, outputs) == code
        assert mdl.execute_async(runner.model, inputs, outputs, 0) == code
    assert mdl.execute_async(runner.model, good_in, nothing, 0) == 145000
    assert stand.acl.rt.synchronize_stream(0) == 0


def test_the_synchronous_call_gives_outputs_memory(stand: Stand) -> None:
    runner = Runner(stand, chained_spec("m", 1))
    expected = runner.run()
    nothing = stand.dataset([(0, 0)])
    before = stand.used
    assert stand.acl.mdl.execute(runner.model, runner.inputs, nothing) == 0
    buffer = stand.acl.mdl.get_dataset_buffer(nothing, 0)
    pointer = stand.acl.get_data_buffer_addr(buffer)
    assert stand.acl.get_data_buffer_size_v2(buffer) == CHAINED_BYTES
    assert stand.read(pointer, CHAINED_BYTES) == expected
    assert stand.used > before
    assert stand.acl.rt.free(pointer) == 0  # the caller's to free
    assert stand.acl.mdl.get_dataset_buffer(nothing, 1) == 0


def test_data_buffers_can_be_pointed_elsewhere(stand: Stand) -> None:
    runner = Runner(stand, chained_spec("m", 1))
    expected = runner.run()
    elsewhere = stand.malloc(CHAINED_BYTES)
    buffer = stand.acl.mdl.get_dataset_buffer(runner.outputs, 0)
    assert stand.acl.mdl.get_dataset_num_buffers(runner.outputs) == 1
    assert stand.acl.update_data_buffer(buffer, elsewhere, CHAINED_BYTES) == 0
    assert runner.execute() == 0
    assert stand.read(elsewhere, CHAINED_BYTES) == expected
    assert stand.acl.destroy_data_buffer(buffer) == 0
    assert stand.acl.mdl.destroy_dataset(runner.outputs) == 0


def test_freed_memory_fails_in_the_stream(stand: Stand) -> None:
    work, weights = stand.malloc(WORK), stand.malloc(WEIGHTS)
    runner = Runner(stand, chained_spec("m", 1), (work, weights))
    stand.acl.rt.free(work)
    assert runner.execute() == 507015
    assert runner.execute_async(0) == 0
    assert stand.acl.rt.synchronize_stream(0) == 507015
    assert "does not lie in one live allocation" in stand.acl.get_recent_err_msg()
    assert stand.acl.rt.synchronize_stream(0) == 0  # told once, later work runs


def test_memory_freed_under_an_execution_is_an_error_not_a_crash(tmp_path: Path) -> None:
    stand = Stand(tmp_path, TwinConfig(memory_bytes=64 * MiB, step_ns=50_000_000))
    work, weights = stand.malloc(WORK), stand.malloc(WEIGHTS)
    runner = Runner(stand, chained_spec("m", 1), (work, weights))
    for pointer in (work, weights):
        assert runner.execute_async(0) == 0
        assert stand.acl.rt.free(pointer) == 0
        assert stand.acl.rt.synchronize_stream(0) == 507015


def test_simulated_time_passes_per_model(tmp_path: Path) -> None:
    slow: dict[str, int] = {"slow": 40_000_000}
    stand = Stand(tmp_path, TwinConfig(step_ns=lambda name: slow.get(name, 0)))
    event, end = (stand.acl.rt.create_event()[0] for _ in range(2))
    for name, least in (("slow", 40.0), ("quick", 0.0)):
        runner = Runner(stand, chained_spec(name, 1))
        runner.run()  # in this thread
        stand.acl.rt.record_event(event, 0)
        assert runner.execute_async(0) == 0
        stand.acl.rt.record_event(end, 0)
        stand.acl.rt.synchronize_stream(0)
        elapsed, ret = stand.acl.rt.event_elapsed_time(event, end)
        assert ret == 0
        assert elapsed >= least


def test_a_stream_that_hangs_is_destroyed_by_force(tmp_path: Path) -> None:
    stand = Stand(tmp_path, TwinConfig(step_ns=60_000_000_000))
    stream, _ = stand.acl.rt.create_stream()
    runner = Runner(stand, chained_spec("m", 1))
    assert runner.execute_async(stream) == 0
    assert stand.acl.rt.synchronize_stream_with_timeout(stream, 10) == 507046
    assert stand.acl.rt.destroy_stream_force(stream) == 0


# ---------------------------------------------------------------------- gears, open shapes


def test_gears_are_chosen_before_execution(stand: Stand) -> None:
    image = TensorSpec("x", "float32", (1, CHAINED_BYTES // 4), CHAINED_BYTES)
    hidden = TensorSpec("ascend_mbatch_shape_data", "int32", (1,), 4)
    for name, gears, choose, chosen, wrong in (
        ("batch", Gears(GearsKind.BATCH, ((1,), (4,))), "set_dynamic_batch_size", (4,), (3,)),
        (
            "hw",
            Gears(GearsKind.HW, ((224, 224), (64, 32))),
            "set_dynamic_hw_size",
            (64, 32),
            (1, 1),
        ),
    ):
        mdl = stand.acl.mdl
        spec = chained_spec(name, 1, inputs=(image, hidden), gears=gears)
        model, ret = mdl.load_from_file(stand.file(spec))
        assert ret == 0
        desc = mdl.create_desc()
        mdl.get_desc(desc, model)
        batches = [choice[0] for choice in gears.choices] if name == "batch" else []
        sizes = [list(choice) for choice in gears.choices] if name == "hw" else []
        assert mdl.get_dynamic_batch(desc)[0] == {"batchCount": len(batches), "batch": batches}
        assert mdl.get_dynamic_hw(desc, -1)[0] == {"hwCount": len(sizes), "hw": sizes}
        places = [(stand.malloc(CHAINED_BYTES), CHAINED_BYTES), (stand.malloc(64), 4)]
        inputs = stand.dataset(places)
        target = stand.malloc(CHAINED_BYTES)
        outputs = stand.dataset([(target, CHAINED_BYTES)])
        index, _ = mdl.get_input_index_by_name(desc, "ascend_mbatch_shape_data")
        assert mdl.execute(model, inputs, outputs) == 145013  # nothing chosen
        assert getattr(mdl, choose)(model, inputs, index, *wrong) == 145013
        assert getattr(mdl, choose)(model, inputs, 0, *chosen) == 100000
        assert getattr(mdl, choose)(model, inputs, index, *chosen) == 0
        assert mdl.execute(model, inputs, outputs) == 0
        first = stand.read(target, CHAINED_BYTES)
        stand.acl.rt.memset(places[1][0], 4, 1, 4)  # the device fills it: not read
        assert mdl.execute(model, inputs, outputs) == 0
        assert stand.read(target, CHAINED_BYTES) == first
        assert getattr(mdl, choose)(model, inputs, index, *gears.choices[0]) == 0
        assert mdl.execute(model, inputs, outputs) == 0
        assert stand.read(target, CHAINED_BYTES) != first


def test_dims_are_chosen_as_the_axes_of_all_inputs(stand: Stand) -> None:
    mdl = stand.acl.mdl
    spec = geared_spec(GearsKind.DIMS)
    model, ret = mdl.load_from_file(stand.file(spec))
    assert ret == 0
    desc = mdl.create_desc()
    mdl.get_desc(desc, model)
    assert mdl.get_input_dynamic_gear_count(desc, -1) == (2, 0)
    rows, ret = mdl.get_input_dynamic_dims(desc, -1, 2)
    assert ret == 0
    assert [row["dims"] for row in rows] == [[2, 3, 7], [2, 6, 2]]
    assert mdl.get_input_dynamic_dims(desc, -1, 1) == ([], 100000)
    source, hidden, target = stand.malloc(168), stand.malloc(64), stand.malloc(64)
    inputs, outputs = stand.dataset([(source, 168), (hidden, 16)]), stand.dataset([(target, 64)])
    for dims, code in (
        (7, 100000),
        ({"dims": [2, 3, 7]}, 100000),
        ({"name": "", "dimCount": 3, "dims": [2, 3, "x"]}, 100000),
        ({"name": "", "dimCount": 3, "dims": [2, 3, 8]}, 145013),
        ({"name": "", "dimCount": 2, "dims": [2, 3, 7]}, 145013),
        ({"name": "", "dimCount": 3, "dims": [2, 3, 7, 0, 0]}, 0),
    ):
        assert mdl.set_input_dynamic_dims(model, inputs, 1, dims) == code
    assert mdl.execute(model, inputs, outputs) == 0
    bare = stand.dataset([(source, 168), (0, 0)])
    assert mdl.set_input_dynamic_dims(model, bare, 1, rows[1]) == 100000, "no memory to write to"


def test_buffers_are_as_large_as_the_gear_needs(stand: Stand) -> None:
    mdl = stand.acl.mdl
    model, ret = mdl.load_from_file(stand.file(geared_spec(GearsKind.BATCH)))
    assert ret == 0
    desc = mdl.create_desc()
    mdl.get_desc(desc, model)
    source, hidden, target = stand.malloc(96), stand.malloc(64), stand.malloc(160)
    for size, out, gear, code in (
        (24, 40, 2, 0),
        (23, 40, 2, 145000),
        (24, 39, 2, 145000),
        (24, 40, 8, 145000),
        (96, 160, 1, 0),
    ):
        inputs = stand.dataset([(source, size), (hidden, 16)])
        outputs = stand.dataset([(target, out)])
        assert mdl.set_dynamic_batch_size(model, inputs, 1, gear) == 0
        assert mdl.get_cur_output_dims(desc, 0)[0]["dims"] == [gear, 5]
        assert mdl.execute(model, inputs, outputs) == code


def test_open_shapes_are_said_before_execution(stand: Stand) -> None:
    spec = OmSpec(
        name="open",
        unknown_shapes=True,
        weight_bytes=512,
        inputs=(TensorSpec("x", "float32", (-1, 4), 0),),
        outputs=(TensorSpec("y", "float32", (-1, 4), 0),),
    )
    mdl = stand.acl.mdl
    model, ret = mdl.load_from_file(stand.file(spec))
    assert ret == 0
    source, target = stand.malloc(64), stand.malloc(64)
    inputs, outputs = stand.dataset([(source, 64)]), stand.dataset([(target, 64)])
    assert mdl.execute(model, inputs, outputs) == 100000
    for dims in ([4], [4, 5], [-1, 4]):
        desc = stand.acl.create_tensor_desc(0, dims, 2)
        assert mdl.set_dataset_tensor_desc(inputs, desc, 0) == (inputs, 0)
        assert mdl.execute(model, inputs, outputs) == 100000
    desc = stand.acl.create_tensor_desc(0, [4, 4], 2)
    assert mdl.set_dataset_tensor_desc(inputs, desc, 1) == (inputs, 100000)
    assert mdl.set_dataset_tensor_desc(inputs, desc, 0) == (inputs, 0)
    assert mdl.execute(model, inputs, outputs) == 0
    nothing = stand.dataset([(0, 0)])
    assert mdl.execute(model, inputs, nothing) == 0
    buffer = mdl.get_dataset_buffer(nothing, 0)
    assert stand.acl.get_data_buffer_size_v2(buffer) == 64
    assert stand.acl.rt.free(stand.acl.get_data_buffer_addr(buffer)) == 0


# ---------------------------------------------------------------------- on a board


def test_on_a_board_models_are_loaded_from_device_memory(tmp_path: Path) -> None:
    stand = Stand(tmp_path, TwinConfig(run_mode=RunMode.DEVICE))
    data = om_bytes(chained_spec("m", 1))
    host = stand.acl.util.bytes_to_ptr(data)
    assert stand.acl.mdl.load_from_mem(host, len(data)) == (0, 145000)
    pointer = stand.malloc(len(data))
    assert stand.acl.rt.memcpy(pointer, len(data), host, len(data), 3) == 0
    assert stand.acl.mdl.load_from_mem(pointer, len(data))[1] == 0


def test_a_device_pointer_is_no_host_memory(stand: Stand) -> None:
    data = om_bytes(chained_spec("m", 1))
    pointer = stand.malloc(len(data))
    assert stand.acl.mdl.query_size_from_mem(pointer, len(data)) == (0, 0, 100000)
    assert len(data) > HEADER_BYTES
