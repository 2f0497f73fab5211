"""Speed of reading and hashing .om files: `python -m bench.bench_om [MEBIBYTES]`.

Every figure is the least of several runs, and every ratio is taken in this one run: hashlib over
the same bytes is measured beside the digests. The file lies in the page cache.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from arena.formats.digest import digest_model, file_digest, weights_digest
from arena.formats.om import read_om, read_om_sizes
from arena.formats.om_writer import OmSpec, write_om
from planner.model import TensorSpec
from planner.units import GiB, MiB, format_bytes

RUNS = 7


def best_seconds(*runs: Callable[[], object]) -> list[float]:
    """Return the least wall-clock time of each, taking turns: what disturbs one disturbs all."""
    best = [float("inf")] * len(runs)
    for _ in range(RUNS):
        for index, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def bench_reading(folder: Path) -> None:
    """Sizes and descriptions of a file with a gigabyte of weights, none of which is read."""
    path = folder / "gigabyte.om"
    tensors = tuple(TensorSpec(f"x{index}", "float32", (1, 640, 640), 0) for index in range(8))
    write_om(path, OmSpec(11 * MiB, GiB, sparse=True, inputs=tensors, outputs=tensors))
    sizes, everything = best_seconds(lambda: read_om_sizes(path), lambda: read_om(path))
    print(f"{format_bytes(path.stat().st_size)}, sparse:")
    print(f"  read_om_sizes  {sizes * 1e3:8.3f} ms")
    print(f"  read_om        {everything * 1e3:8.3f} ms")


def bench_digests(folder: Path, size_bytes: int) -> None:
    """Digests against hashlib over the same bytes, from a file and from memory."""
    path = folder / "weights.om"
    write_om(path, OmSpec(weight_bytes=size_bytes, seed=1))
    spans = read_om(path).weight_spans
    data = path.read_bytes()

    def hashlib_file() -> None:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")

    rows: tuple[tuple[str, Callable[[], object], int, int], ...] = (
        ("hashlib.sha256, bytes in memory", lambda: hashlib.sha256(data).digest(), 0, 1),
        ("hashlib.file_digest", hashlib_file, 1, 1),
        ("file_digest", lambda: file_digest(path), 1, 1),
        ("weights_digest", lambda: weights_digest(path, spans), 1, 1),
        ("digest_model: both digests, one pass", lambda: digest_model(path, spans), 1, 2),
        ("file_digest, bytes in memory", lambda: file_digest(data), 0, 1),
        ("digest_model, bytes in memory", lambda: digest_model(data, spans), 0, 2),
    )
    best = best_seconds(*(run for _, run, _, _ in rows))
    gib = len(data) / GiB
    print(f"{format_bytes(len(data))}, from the page cache; shares are of hashlib's own pass:")
    for (name, _, reference, digests), seconds in zip(rows, best, strict=True):
        share = best[reference] / seconds
        print(
            f"  {name:<36} {gib / seconds:5.2f} GiB/s of file, share {share:4.2f}, "
            f"per byte hashed {digests * share:4.2f}"
        )


def main() -> None:
    """Print the tables."""
    size_bytes = int(sys.argv[1]) * MiB if len(sys.argv) > 1 else 512 * MiB
    with tempfile.TemporaryDirectory() as name:
        bench_reading(Path(name))
        bench_digests(Path(name), size_bytes)


if __name__ == "__main__":
    main()
