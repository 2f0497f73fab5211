"""Arguments and results of the twin are those of the real binding, letter by letter."""

from types import ModuleType
from typing import Any

import pytest

from arena.device.twin import Twin

np = pytest.importorskip("numpy")
MASK_64 = (1 << 64) - 1


@pytest.fixture
def acl() -> ModuleType:
    acl = Twin().acl
    assert acl.init() == 0
    assert acl.rt.set_device(0) == 0
    return acl


def resolve(acl: ModuleType, name: str) -> Any:
    found: Any = acl
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rt.malloc", ()),  # too few
        ("rt.malloc", (1,)),
        ("rt.malloc", (1, 0, 0)),  # too many
        ("rt.malloc", ("1", 0)),  # text for a number
        ("rt.malloc", (1.0, 0)),  # a float is no integer
        ("rt.malloc", (np.uint64(1), 0)),  # numpy integers are refused for pointers and sizes
        ("rt.malloc", (None, 0)),
        ("rt.malloc", (1, 1 << 31)),  # i: overflow
        ("rt.malloc", (1, -(1 << 31) - 1)),
        ("rt.set_device", (0.0,)),
        ("mdl.query_size", (b"path",)),  # s: text only
        ("mdl.query_size", ("a\0b",)),
        ("mdl.query_size", ("\ud800",)),
        ("mdl.load_from_file_with_mem", ("path", 0, 0)),  # a usual mistake
        ("mdl.load_from_mem_with_mem", (0, 0, 0, 0, 0, 0, 0)),  # one doc page lists seven
        ("mdl.unload", ("1",)),
        ("init", (None,)),
        ("create_data_buffer", (0,)),
    ],
)
def test_wrong_arguments_are_one_error_without_a_cause(
    acl: ModuleType, name: str, arguments: tuple[object, ...]
) -> None:
    with pytest.raises(TypeError) as caught:
        resolve(acl, name)(*arguments)
    assert str(caught.value) == f"acl.{name} args parse failed"
    assert caught.value.__cause__ is None


def test_keywords_are_refused(acl: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"^malloc\(\) takes no keyword arguments$"):
        acl.rt.malloc(size=1, policy=0)


def test_calls_without_parameters_ignore_what_they_get(acl: ModuleType) -> None:
    assert acl.rt.get_device_count("anything", 1, None) == (1, 0)


def test_pointers_are_masked_to_64_bits(acl: ModuleType) -> None:
    assert acl.get_data_buffer_addr(acl.create_data_buffer(-1, 0)) == MASK_64
    assert acl.get_data_buffer_addr(acl.create_data_buffer((1 << 64) + 5, 0)) == 5
    assert acl.get_data_buffer_addr(acl.create_data_buffer(True, 0)) == 1


def test_negative_policies_pass(acl: ModuleType) -> None:
    pointer, ret = acl.rt.malloc(64, -1)
    assert ret == 0
    assert acl.rt.free(pointer) == 0


def test_sizes_of_buffers_have_two_widths(acl: ModuleType) -> None:
    buffer = acl.create_data_buffer(4096, (1 << 32) + 7)
    assert acl.get_data_buffer_size(buffer) == 7
    assert acl.get_data_buffer_size_v2(buffer) == (1 << 32) + 7


def test_functions_tell_their_names(acl: ModuleType) -> None:
    assert acl.rt.malloc.__name__ == "malloc"
    assert acl.rt.malloc.__qualname__ == "acl.rt.malloc"
    assert acl.rt.malloc.__doc__


def test_what_the_binding_lacks_is_missing(acl: ModuleType) -> None:
    for name in ("get_version", "get_soc_name"):
        assert not hasattr(acl.rt, name)
    assert not hasattr(acl.mdl, "load_from_file_with_q")
    assert acl.get_version() == (1, 0, 0, 0)
    assert acl.get_soc_name() is None


def test_the_error_text_is_of_the_thread_and_read_once(acl: ModuleType) -> None:
    assert acl.get_recent_err_msg() is None
    assert acl.rt.malloc(0, 0) == (0, 100000)
    assert acl.get_recent_err_msg() == "acl.rt.malloc: size is 0"
    assert acl.get_recent_err_msg() is None


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("rt.free", (0,), 100000),
        ("rt.free", (4096,), 107000),
        ("rt.set_device", (9,), 107001),
        ("rt.set_context", (1,), 107000),
        ("rt.destroy_context", (1,), 107000),
        ("rt.reset_device", (9,), 107001),
        ("rt.create_context", (1,), (0, 107001)),
        ("rt.destroy_stream", (1,), 107000),
        ("rt.destroy_stream", (0,), 107000),
        ("rt.stream_query", (1,), (0, 107000)),
        ("rt.synchronize_stream", (1,), 107000),
        ("rt.synchronize_stream_with_timeout", (0, 0), 107000),
        ("rt.record_event", (1, 0), 107000),
        ("rt.query_event", (1,), (0, 107000)),
        ("rt.event_elapsed_time", (1, 1), (0.0, 107000)),
        ("rt.destroy_event", (1,), 107000),
        ("rt.malloc_host", (0,), (0, 100000)),
        ("rt.free_host", (4096,), 107000),
        ("rt.get_mem_info", (99,), (0, 0, 100000)),
        ("rt.get_mem_info", (-1,), (0, 0, 100000)),
        ("rt.memset", (4096, 8, 0, 8), 107000),
        ("rt.memset", (4096, 8, 0, 9), 100000),
        ("rt.memcpy", (0, 8, 0, 9, 1), 100000),
        ("rt.memcpy", (0, 8, 0, 8, 9), 100000),
        ("rt.memcpy", (4096, 8, 4096, 8, 1), 107000),
        ("mdl.query_size", ("missing.om",), (0, 0, 145002)),
        ("mdl.query_size_from_mem", (0, 8), (0, 0, 100000)),
        ("mdl.query_size_from_mem", (4096, 0), (0, 0, 100000)),
        ("mdl.load_from_file", ("missing.om",), (0, 145002)),
        ("mdl.load_from_mem", (0, 8), (0, 100000)),
        ("mdl.unload", (77,), 145003),
        ("mdl.get_desc", (1, 77), 145003),
        ("mdl.destroy_desc", (1,), 100000),
        ("mdl.get_num_inputs", (1,), 0),
        ("mdl.get_input_size_by_index", (1, 0), 0),
        ("mdl.get_output_name_by_index", (1, 0), ""),
        ("mdl.get_input_format", (1, 0), -1),
        ("mdl.get_output_data_type", (1, 0), -1),
        ("mdl.get_input_dims", (1, 0), ({}, 100000)),
        ("mdl.get_cur_output_dims", (1, 0), ({}, 100000)),
        ("mdl.get_dynamic_batch", (1,), ({}, 100000)),
        ("mdl.get_dynamic_hw", (1, 0), ({}, 100000)),
        ("mdl.get_input_index_by_name", (1, "x"), (0, 100000)),
        ("mdl.destroy_dataset", (1,), 100000),
        ("mdl.get_dataset_num_buffers", (1,), 0),
        ("mdl.add_dataset_buffer", (1, 2), (1, 100000)),  # nonzero although it failed
        ("mdl.set_dataset_tensor_desc", (1, 2, 0), (1, 100000)),
        ("mdl.execute", (77, 0, 0), 145003),
        ("mdl.execute_async", (77, 0, 0, 0), 145003),
        ("mdl.set_config_opt", (1, 0, 0), 100000),
        ("mdl.load_with_config", (1,), (0, 100000)),
        ("mdl.destroy_config_handle", (1,), 100000),
        ("destroy_data_buffer", (1,), 100000),
        ("update_data_buffer", (1, 0, 0), 100000),
        ("get_data_buffer_addr", (1,), 0),
        ("destroy_tensor_desc", (1,), None),
        ("init", (), 100002),
        ("init", ("acl.json",), 100002),
    ],
)
def test_shapes_and_codes_of_failures(
    acl: ModuleType, name: str, arguments: tuple[object, ...], result: object
) -> None:
    assert resolve(acl, name)(*arguments) == result


def test_bytes_and_pointers(acl: ModuleType) -> None:
    data = b"some bytes"
    pointer = acl.util.bytes_to_ptr(data)
    assert acl.util.ptr_to_bytes(pointer, len(data)) == data
    with pytest.raises(ValueError, match="needs an byte as argument"):
        acl.util.bytes_to_ptr(bytearray(data))


def test_tensor_descriptions_want_a_list(acl: ModuleType) -> None:
    with pytest.raises(TypeError, match="not list"):
        acl.create_tensor_desc(0, (1, 2), 2)
    assert acl.create_tensor_desc(0, [1, 2], 2) != 0


def test_init_and_finalize_are_counted_once() -> None:
    acl = Twin().acl
    assert acl.finalize() == 100037
    assert acl.rt.set_device(0) == 100001
    assert acl.rt.create_context(0) == (0, 100001)
    assert acl.mdl.query_size("missing.om") == (0, 0, 145001)
    assert acl.mdl.load_from_file("missing.om") == (0, 145001)
    assert acl.init() == 0
    assert acl.finalize() == 0
    assert acl.init("acl.json") == 0


def test_import_finds_an_installed_twin_and_the_old_one_comes_back() -> None:
    import sys

    twin = Twin()
    before = {name for name in sys.modules if name.partition(".")[0] == "acl"}
    with twin.installed():
        import acl
        import acl.rt

        assert acl is twin.acl
        with Twin().installed():
            import acl as other

            assert other is not twin.acl
        assert sys.modules["acl"] is twin.acl
    assert {name for name in sys.modules if name.partition(".")[0] == "acl"} == before
