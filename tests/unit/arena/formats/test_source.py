import io
from pathlib import Path

import pytest

from arena.errors import FormatError
from arena.formats.source import ByteSource, ModelInput, open_source

DATA = bytes(range(200))


class OneByteFile:
    """An open file without readinto that never returns more than one byte."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int = -1, /) -> bytes | None:
        return self._file.read(min(size, 1))


@pytest.fixture(params=["path", "str", "bytes", "bytearray", "memoryview", "file", "slow file"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> ModelInput:
    path = tmp_path / "data.om"
    path.write_bytes(DATA)
    inputs: dict[str, ModelInput] = {
        "path": path,
        "str": str(path),
        "bytes": DATA,
        "bytearray": bytearray(DATA),
        "memoryview": memoryview(DATA),
        "file": io.BytesIO(DATA),
        "slow file": OneByteFile(DATA),
    }
    return inputs[request.param]


def test_every_input_gives_the_same_ranges(given: ModelInput) -> None:
    with open_source(given) as source:
        assert source.size_bytes == 200
        assert bytes(source.view(3, 70)) == DATA[3:70]
        assert bytes(source.view(200, 200)) == b""
        buffer = memoryview(bytearray(5))
        source.read_into(195, buffer)
        assert bytes(buffer) == DATA[195:]


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (4, 3), (0, 201), (300, 301)])
def test_ranges_outside_the_file_are_refused(given: ModelInput, start: int, end: int) -> None:
    with open_source(given) as source, pytest.raises(FormatError, match="the file has 200"):
        source.view(start, end)


def test_paths_are_closed_and_open_files_are_not(tmp_path: Path) -> None:
    path = tmp_path / "data.om"
    path.write_bytes(DATA)
    with open_source(path) as source:
        pass
    with pytest.raises(ValueError, match="closed file"):
        source.view(0, 1)
    file = io.BytesIO(DATA)
    with open_source(file):
        pass
    assert not file.closed


def test_an_open_source_is_passed_on() -> None:
    with open_source(DATA, "outer") as outer, open_source(outer, "inner") as inner:
        assert inner is outer
        assert inner.name == "outer"


def test_errors_carry_the_name(tmp_path: Path) -> None:
    path = tmp_path / "data.om"
    path.write_bytes(DATA)
    with open_source(path) as source:
        assert str(source.refuse(7, "found x")) == f"{path}: at byte 7: found x"
        assert source.refuse(7, "found x").offset == 7
    assert str(ByteSource(memoryview(b"")).refuse(0, "found x")) == "at byte 0: found x"


def test_a_file_that_shrank_is_refused(given: ModelInput) -> None:
    class Shrunk(io.BytesIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            return super().seek(offset, whence) + (100 if whence == io.SEEK_END else 0)

    with (
        open_source(Shrunk(DATA), "x.om") as source,
        pytest.raises(FormatError, match=r"x\.om: at byte 200: the file ends here, it had 300"),
    ):
        source.view(150, 250)


def test_a_missing_path_is_the_callers_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_source(tmp_path / "absent.om"):
        pass
