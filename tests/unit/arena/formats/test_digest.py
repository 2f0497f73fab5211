import hashlib
import io
import tracemalloc
from pathlib import Path

import pytest

from arena.errors import FormatError
from arena.formats.digest import Digests, digest_model, file_digest, weights_digest
from arena.formats.om import read_om
from arena.formats.om_writer import OmSpec, om_bytes, write_om

CHUNK = 4 << 20


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def data() -> bytes:
    """More chunks than buffers, and a tail."""
    return om_bytes(OmSpec(weight_bytes=6 * CHUNK + 12_345, seed=5))


def test_both_digests_are_hashlibs(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.om"
    path.write_bytes(data)
    spans = read_om(path).weight_spans
    ((start, end),) = spans
    expected = Digests(sha(data), sha(data[start:end]))
    for given in (path, data, io.BytesIO(data)):
        assert digest_model(given, spans) == expected
        assert file_digest(given) == expected.file_sha256
        assert weights_digest(given, spans) == expected.weights_sha256


@pytest.mark.parametrize(
    "spans",
    [
        [(0, 10), (10, 20), (90, 100)],
        [(CHUNK - 1, CHUNK + 1), (2 * CHUNK, 3 * CHUNK)],
        [(5, 5), (7, 3 * CHUNK + 1)],
        [(0, 1)],
    ],
)
def test_weights_of_several_models_are_hashed_one_after_the_other(
    data: bytes, spans: list[tuple[int, int]]
) -> None:
    expected = sha(b"".join(data[start:end] for start, end in spans))
    assert digest_model(data, spans).weights_sha256 == expected
    assert weights_digest(io.BytesIO(data), spans) == expected


@pytest.mark.parametrize("spans", [[], [(7, 7)]])
def test_no_weights_have_no_digest(spans: list[tuple[int, int]]) -> None:
    assert digest_model(b"file", spans) == Digests(sha(b"file"), "")
    assert weights_digest(b"file", spans) == ""


def test_an_empty_file_has_one() -> None:
    assert file_digest(b"") == sha(b"")


def test_progress_counts_to_the_end(data: bytes) -> None:
    for run in (
        lambda report: digest_model(data, [(0, CHUNK)], report),
        lambda report: file_digest(io.BytesIO(data), report),
    ):
        seen: list[tuple[int, int]] = []
        run(lambda done, total, seen=seen: seen.append((done, total)))
        assert seen == [
            (min(index * CHUNK, len(data)), len(data)) for index in range(1, len(seen) + 1)
        ]
        assert seen[-1] == (len(data), len(data))
    seen = []
    weights_digest(data, [(3, 8)], lambda done, total: seen.append((done, total)))
    assert seen == [(5, 5)]


def test_an_error_of_the_callback_stops_the_hashing(data: bytes) -> None:
    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        digest_model(data, [(0, 5)], fail)


def test_a_file_that_shrank_is_refused(data: bytes) -> None:
    class Shrunk(io.BytesIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            return super().seek(offset, whence) + (CHUNK if whence == io.SEEK_END else 0)

    with pytest.raises(FormatError, match="the file ends here"):
        digest_model(Shrunk(data), [(0, 5)])


def test_memory_stays_small_whatever_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.om"
    write_om(path, OmSpec(weight_bytes=256 << 20, sparse=True))
    spans = read_om(path).weight_spans
    tracemalloc.start()
    try:
        digest_model(path, spans)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 32 << 20
