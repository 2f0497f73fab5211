"""Our solver and its peers on the same instances, with the same wall time, in one run.

    python -m bench.bench_solver                      the page bench/solver.md and its plots
    python -m bench.bench_solver --quick              a smoke run: small instances, nothing written
    python -m bench.bench_solver --minimalloc PATH    that binary too, told the capacity as we are
    python -m bench.bench_solver --runs FILE          keep every run there, and go on from there

Every height is judged by the validator before it counts. Kernels are compiled before the clock
runs, instances are put into each peer's terms before, too. Peers marked * are re-implemented.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from bench.families import FAMILIES, Instance, public
from bench.peers import Peer, allocations, peers_for
from planner.bounds.antichain import heaviest_antichain
from planner.problem import Assignment
from planner.solvers import SolveOptions, branch_intervals, solve
from planner.validator import validate

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = ROOT.parent / "shared" / "data" / "dsa" / "minimalloc"
OURS = "npu-arena"
TOLD_BYTES = 1_048_576

PLAN: tuple[tuple[str, int, float], ...] = (
    ("independent", 1000, 3.0),
    ("independent", 5000, 3.0),
    ("2 lanes", 1000, 3.0),
    ("2 lanes", 5000, 3.0),
    ("series-parallel", 1000, 3.0),
    ("series-parallel", 5000, 3.0),
    ("4 lanes", 50, 3.0),
    ("4 lanes", 200, 3.0),
    ("4 lanes", 1000, 3.0),
    ("8 lanes", 1000, 3.0),
    ("16 lanes", 200, 3.0),
    ("16 lanes", 1000, 3.0),
    ("32 lanes", 1000, 3.0),
    ("layered", 1000, 3.0),
    ("random DAG", 1000, 3.0),
    ("fleet", 50, 3.0),
    ("fleet", 200, 3.0),
    ("timeline", 1000, 3.0),
    ("timeline", 5000, 3.0),
)
"""Family, buffers, seconds for everyone."""


@dataclass(slots=True)
class Run:
    """What one solver made of one instance; height None: it refused or found nothing."""

    name: str
    family: str
    n: int
    solver: str
    height_bytes: int | None
    seconds: float
    bound_bytes: int = 0
    is_proven: bool = False
    curve: list[tuple[float, int]] = field(default_factory=list)


class Runs:
    """Runs by instance, kept as a JSON line each where a file is given: hours can be resumed."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, list[Run]] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self._known[entry["key"]] = [Run(**run) for run in entry["runs"]]

    def compare(self, instance: Instance, seconds: float, peers: Sequence[Peer]) -> list[Run]:
        """Return the runs of all solvers on one instance, made now or before."""
        key = f"{instance.name}, {seconds:g} s"
        if key not in self._known:
            print(key, file=sys.stderr, flush=True)
            self._known[key] = list(compare(instance, seconds, peers))
            if self._path is not None:
                entry = {"key": key, "runs": [asdict(run) for run in self._known[key]]}
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
        return self._known[key]


def run_ours(instance: Instance, seconds: float) -> Run:
    """Solve an instance with everything on, bound included in the time."""
    begin = perf_counter()
    curve: list[tuple[float, int]] = []

    def note(height: int | None, _: int) -> None:
        if height is not None:
            curve.append((perf_counter() - begin, height))

    problem = instance.problem
    bound = (
        heaviest_antichain(problem.sizes, instance.edges) if instance.edges is not None else None
    )
    found = solve(
        problem,
        SolveOptions(rounds_max=60, seconds=seconds),
        bound=bound,
        report=note,
        should_stop=lambda: perf_counter() - begin > seconds,
    )
    spent = perf_counter() - begin
    assert found.assignment is not None
    height = _judged(instance, found.assignment)
    is_proven = found.status.value == "optimal"
    return Run(
        *_title(instance),
        OURS,
        height,
        spent,
        found.bound.lower_bound_bytes,
        is_proven,
        curve=curve,
    )


def run_peer(peer: Peer, instance: Instance, seconds: float) -> Run:
    """Let a peer solve an instance."""
    begin = perf_counter()
    assignment = peer.run(instance, seconds)
    spent = perf_counter() - begin
    height = None if assignment is None else _judged(instance, assignment)
    return Run(*_title(instance), peer.name, height, spent)


def _title(instance: Instance) -> tuple[str, str, int]:
    return instance.name, instance.family, instance.problem.n


def _judged(instance: Instance, assignment: Assignment) -> int:
    """Return the height of a valid assignment; the plain judge is quadratic, so up to 5,000."""
    if instance.problem.n <= 5_000:
        wrong = next(validate(instance.problem, assignment), None)
        if wrong is not None:
            raise AssertionError(f"{instance.name}: {wrong}")
    return assignment.height_bytes(instance.problem)


def told(
    instances: Sequence[Instance], minimalloc: Path | None
) -> Iterator[tuple[str, float, float]]:
    """Yield name, our seconds and minimalloc's to a height of 1,048,576, both told it."""
    for instance in instances:
        begin = perf_counter()
        attempt = branch_intervals.fit(instance.problem, TOLD_BYTES, 20_000_000)
        ours = perf_counter() - begin if attempt.assignment is not None else float("nan")
        theirs = float("nan")
        if minimalloc is not None:
            with tempfile.TemporaryDirectory() as directory:
                begin = perf_counter()
                subprocess.run(
                    [
                        minimalloc,
                        f"--capacity={TOLD_BYTES}",
                        f"--input={PUBLIC / f'{instance.name}.{TOLD_BYTES}.csv'}",
                        f"--output={Path(directory) / 'out.csv'}",
                    ],
                    check=True,
                    capture_output=True,
                    timeout=600,
                )
                theirs = perf_counter() - begin
        yield instance.name, ours, theirs


def collect(
    plan: Sequence[tuple[str, int, float]],
    seeds: int,
    peers: Sequence[Peer],
    seconds: float | None,
    kept: Runs,
) -> Iterator[Run]:
    """Yield every run of every solver over the seeded families."""
    for family, n, limit in plan:
        for seed in range(seeds):
            yield from kept.compare(FAMILIES[family](n, seed), seconds or limit, peers)


def compare(instance: Instance, seconds: float, peers: Sequence[Peer]) -> Iterator[Run]:
    """Yield the runs of all solvers on one instance."""
    if any(peer.name.startswith("omnimalloc") for peer in peers):
        allocations(instance)
    ours = run_ours(instance, seconds)
    yield ours
    for peer in peers:
        run = run_peer(peer, instance, seconds)
        run.bound_bytes = ours.bound_bytes
        yield run


def table(runs: Sequence[Run], key: Callable[[Run], str]) -> Iterator[str]:
    """Yield a table of mean height over bound, one row a group of instances, and who won."""
    solvers = list(dict.fromkeys(run.solver for run in runs))
    peers = [solver for solver in solvers if solver != OURS]
    yield (
        f"| instances | proven | {OURS} | s | best peer | mean of the peer that is best here "
        "| wins | ties | losses |"
    )
    yield "|---|--:|--:|--:|--:|---|--:|--:|--:|"
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    for name, group in groups.items():
        ours = [run for run in group if run.solver == OURS]
        theirs = _heights([run for run in group if run.solver != OURS])
        wins = ties = losses = 0
        best_each = []
        for run in ours:
            best = min(theirs[run.name].values())
            assert run.height_bytes is not None
            wins += run.height_bytes < best
            ties += run.height_bytes == best
            losses += run.height_bytes > best
            best_each.append(best / run.bound_bytes)
        means = {
            peer: sum(theirs[r.name][peer] / r.bound_bytes for r in ours) / len(ours)
            for peer in peers
            if all(peer in theirs[r.name] for r in ours)
        }
        leader = min(means, key=lambda peer: (means[peer], peer))
        yield (
            f"| {name} | {sum(run.is_proven for run in ours)}/{len(ours)} "
            f"| {sum((r.height_bytes or 0) / r.bound_bytes for r in ours) / len(ours):.4f} "
            f"| {sum(r.seconds for r in ours) / len(ours):.2f} "
            f"| {sum(best_each) / len(best_each):.4f} "
            f"| {means[leader]:.4f} {leader} | {wins} | {ties} | {losses} |"
        )


def _heights(runs: Sequence[Run]) -> dict[str, dict[str, int]]:
    """Return instance -> solver -> height, of those that found something."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for run in runs:
        if run.height_bytes is not None:
            found[run.name][run.solver] = run.height_bytes
    return found


def losses(runs: Sequence[Run]) -> Iterator[str]:
    """Yield each instance where a peer is below us, by name."""
    theirs = _heights([run for run in runs if run.solver != OURS])
    for run in runs:
        if run.solver != OURS or run.height_bytes is None:
            continue
        peer, height = min(theirs[run.name].items(), key=lambda item: (item[1], item[0]))
        if height < run.height_bytes:
            yield (
                f"- {run.name}: {run.height_bytes:,} against {height:,} of {peer} "
                f"({run.height_bytes / height - 1:.2%} above)"
            )


def every_solver(runs: Sequence[Run]) -> Iterator[str]:
    """Yield a table of every solver's mean height over bound, one column a group."""
    solvers = list(dict.fromkeys(run.solver for run in runs))
    groups = list(dict.fromkeys(f"{r.family} {r.n}" for r in runs))
    yield "| | " + " | ".join(groups) + " |"
    yield "|---|" + "--:|" * len(groups)
    for solver in solvers:
        cells = []
        for group in groups:
            ratios = [
                None if r.height_bytes is None else r.height_bytes / r.bound_bytes
                for r in runs
                if r.solver == solver and f"{r.family} {r.n}" == group
            ]
            known = [ratio for ratio in ratios if ratio is not None]
            cells.append(f"{sum(known) / len(known):.3f}" if len(known) == len(ratios) else "-")
        yield f"| {solver} | " + " | ".join(cells) + " |"


def plot_quality(runs: Sequence[Run], path: Path) -> None:
    """Draw our height over bound against time, and the peers' answers as points."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "npu-arena"
    ours = [run for run in runs if run.solver == OURS and not run.is_proven][:6]
    ours = ours or [run for run in runs if run.solver == OURS][:6]
    figure, axes = pyplot.subplots(2, 3, figsize=(11, 6), layout="constrained")
    for axis, run in zip(axes.flat, ours, strict=False):
        times = [time for time, _ in run.curve] + [run.seconds]
        ratios = [height / run.bound_bytes for _, height in run.curve]
        axis.step(times, [*ratios, ratios[-1]], where="post", label=OURS, color="black")
        for other in runs:
            is_here = other.name == run.name and "omnimalloc" in other.solver
            if is_here and other.height_bytes is not None:
                ratio = other.height_bytes / run.bound_bytes
                label = other.solver.removeprefix("omnimalloc ")
                axis.plot(other.seconds, ratio, "o", label=label)
        axis.set_title(run.name, fontsize=9)
        axis.set_ylim(0.98, 1.7)
    axes.flat[0].legend(fontsize=7)
    figure.supxlabel("seconds")
    figure.supylabel("height / lower bound")
    figure.savefig(path, metadata={"Date": None})


def plot_scaling(runs: Sequence[Run], path: Path) -> None:
    """Draw the time of quick planners against the number of buffers of timelines."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "npu-arena"
    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for solver in dict.fromkeys(run.solver for run in runs):
        points = sorted((run.n, run.seconds) for run in runs if run.solver == solver)
        axis.loglog(*zip(*points, strict=True), "o-", label=solver)
    axis.set_xlabel("buffers of a timeline")
    axis.set_ylabel("seconds")
    axis.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def scaling(sizes: Sequence[int], peers: Sequence[Peer]) -> Iterator[Run]:
    """Yield greedy runs alone on ever longer timelines: ours without search, and omnimalloc's."""
    for n in sizes:
        instance = FAMILIES["timeline"](n, 0)
        begin = perf_counter()
        found = solve(instance.problem, SolveOptions(rounds_max=0))
        spent = perf_counter() - begin
        assert found.assignment is not None
        height = _judged(instance, found.assignment)
        yield Run(*_title(instance), OURS, height, spent, found.bound.lower_bound_bytes)
        for peer in peers:
            if peer.name == "omnimalloc omni":
                allocations(instance)
                run = run_peer(peer, instance, 600)
                run.bound_bytes = found.bound.lower_bound_bytes
                yield run


def warm_up(peers: Sequence[Peer]) -> None:
    """Compile and import everything before a clock runs."""
    for family in ("4 lanes", "16 lanes", "timeline", "fleet"):
        instance = FAMILIES[family](60, 99)
        run_ours(instance, 2.0)
        run_ours(FAMILIES[family](400, 99), 4.0)
        for peer in peers:
            run_peer(peer, instance, 0.1)
    solve(FAMILIES["timeline"](2500, 99).problem, SolveOptions(rounds_max=0))


def main() -> None:
    """Run what was asked for, and write the page unless it is a smoke run."""
    parser = argparse.ArgumentParser(description="Our solver against its peers.")
    parser.add_argument("--quick", action="store_true", help="a smoke run, nothing written")
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each family")
    parser.add_argument("--seconds", type=float, help="for everyone; default: the plan's")
    parser.add_argument("--public-seconds", type=float, default=60.0, help="on A to K")
    parser.add_argument("--minimalloc", type=Path, help="its binary")
    parser.add_argument(
        "--runs", type=Path, help="keep runs in this file, and take them from there"
    )
    arguments = parser.parse_args()
    if not arguments.quick and find_spec("matplotlib") is None:
        parser.error("the page has plots: pip install matplotlib")
    peers = peers_for(with_omnimalloc=find_spec("omnimalloc") is not None)
    warm_up(peers)
    if arguments.quick:
        plan = [(family, 40, 0.3) for family in FAMILIES]
        runs = list(collect(plan, 1, peers, None, Runs()))
        print("\n".join(every_solver(runs)))
        return
    write_page(arguments, peers)


def write_page(arguments: argparse.Namespace, peers: Sequence[Peer]) -> None:
    """Run everything and rebuild bench/solver.md and its plots."""
    kept = Runs(arguments.runs)
    runs = list(collect(PLAN, arguments.seeds, peers, arguments.seconds, kept))
    given = list(public(PUBLIC))
    free = [
        run for instance in given for run in kept.compare(instance, arguments.public_seconds, peers)
    ]
    times = list(told(given, arguments.minimalloc))
    long = list(scaling((1_000, 4_000, 16_000, 60_000), peers))
    plot_quality(runs, ROOT / "bench" / "solver-quality.svg")
    plot_scaling(long, ROOT / "bench" / "solver-scaling.svg")
    lines = [
        "# The solver and its peers",
        "",
        f"Written by `python -m bench.bench_solver --seeds {arguments.seeds}"
        + (f" --seconds {arguments.seconds:g}" if arguments.seconds else "")
        + f" --public-seconds {arguments.public_seconds:g}`: Python {platform.python_version()}, "
        f"{platform.machine()}, two shared cores, other work beside. Equal wall time for everyone "
        "on an instance; kernels compiled and peers' inputs made before the clock runs; away from "
        "timelines ours has CP-SAT in a thread beside it; every height judged. Ratios are heights "
        "over our bound.",
        "",
        "Peers marked * are re-implemented from their papers and may differ in detail; omnimalloc "
        "1.0.0 runs as published, at its defaults but for the time, without its genetic allocator "
        "(which needs a further package). Allocators that refuse vector clocks take no part "
        "outside timelines; no published peer takes the conflicts of a fleet.",
        "",
        "## Seeded families",
        "",
        *table(runs, lambda run: f"{run.family} {run.n}"),
        "",
        "`best peer` is the mean of the lowest peer of each instance. Every solver's mean:",
        "",
        *every_solver(runs),
        "",
        "Every loss:",
        "",
        *(list(losses(runs)) or ["- none"]),
        "",
        "![quality over time](solver-quality.svg)",
        "",
    ]
    if free:
        lines += [
            f"## minimalloc's A to K, not told the capacity, {arguments.public_seconds:g} s",
            "",
            *table(free, lambda run: run.name),
            "",
            "| | " + " | ".join(run.name for run in free if run.solver == OURS) + " |",
            "|---|" + "--:|" * len(given),
            "| height | "
            + " | ".join(f"{run.height_bytes:,}" for run in free if run.solver == OURS)
            + " |",
            "| bound | "
            + " | ".join(f"{run.bound_bytes:,}" for run in free if run.solver == OURS)
            + " |",
            "",
            "Every loss:",
            "",
            *(list(losses(free)) or ["- none"]),
            "",
            f"## A to K, told the capacity {TOLD_BYTES:,}",
            "",
            "Seconds to a placement, single thread."
            + ("" if arguments.minimalloc else " minimalloc's binary was not given."),
            "",
            "| | " + " | ".join(name for name, _, _ in times) + " | sum |",
            "|---|" + "--:|" * (len(times) + 1),
            f"| {OURS} | "
            + " | ".join(f"{ours:.2f}" for _, ours, _ in times)
            + f" | {sum(ours for _, ours, _ in times):.2f} |",
        ]
        if arguments.minimalloc:
            lines.append(
                "| minimalloc | "
                + " | ".join(f"{theirs:.2f}" for _, _, theirs in times)
                + f" | {sum(theirs for _, _, theirs in times):.2f} |"
            )
        lines.append("")
    lines += [
        "## Long timelines, without search",
        "",
        "| buffers | solver | height / bound | s |",
        "|--:|---|--:|--:|",
        *(
            f"| {run.n:,} | {run.solver} "
            f"| {(run.height_bytes or 0) / run.bound_bytes:.4f} | {run.seconds:.2f} |"
            for run in long
        ),
        "",
        "![scaling](solver-scaling.svg)",
        "",
    ]
    (ROOT / "bench" / "solver.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
