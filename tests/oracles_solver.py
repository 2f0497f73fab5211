"""Slow, plain truth about offset assignment: every order of a few buffers, every clique."""

from itertools import chain, combinations, permutations

from hypothesis import strategies as st

from planner.problem import Problem


def conflicting_pairs(problem: Problem) -> list[tuple[int, int]]:
    """Pairs of non-empty buffers in conflict."""
    solid = [i for i in range(problem.n) if problem.sizes[i]]
    return [(i, j) for i, j in combinations(solid, 2) if problem.in_conflict(i, j)]


def heaviest_clique_weight(problem: Problem) -> int:
    """The largest sum of sizes of buffers that pairwise conflict, from all subsets."""
    pairs = set(conflicting_pairs(problem))
    subsets = chain.from_iterable(
        combinations(range(problem.n), k) for k in range(1, problem.n + 1)
    )
    return max(
        (
            sum(problem.sizes[i] for i in subset)
            for subset in subsets
            if all(pair in pairs for pair in combinations(subset, 2))
        ),
        default=0,
    )


def least_height(problem: Problem) -> int | None:
    """The optimum: each order in turn, each buffer at its lowest legal offset; None: impossible.

    Legal offsets are tried one by one among those worth it, with `is_legal` spelled out anew.
    """
    pins = dict(problem.pins)
    if any(not _is_legal(problem, {}, i, pin) for i, pin in pins.items()):
        return None
    for (i, a), (j, b) in combinations(pins.items(), 2):
        if not _is_legal(problem, {j: b}, i, a):
            return None
    solid = [i for i in range(problem.n) if problem.sizes[i] and i not in pins]
    heights = [_height_of(problem, order, pins) for order in permutations(solid)]
    possible = [height for height in heights if height is not None]
    return min(possible, default=None)


def _height_of(problem: Problem, order: tuple[int, ...], pins: dict[int, int]) -> int | None:
    placed = dict(pins)
    for i in order:
        ends = {0, *(placed[j] + problem.sizes[j] for j in placed), *_block_bases(problem)}
        step = problem.alignment(i)
        candidates = sorted(-(-end // step) * step for end in ends)
        offset = next((o for o in candidates if _is_legal(problem, placed, i, o)), None)
        if offset is None:
            return None
        placed[i] = offset
    return max((o + problem.sizes[i] for i, o in placed.items() if problem.sizes[i]), default=0)


def _block_bases(problem: Problem) -> list[int]:
    return [sum(problem.blocks[:k]) for k in range(len(problem.blocks))]


def _is_legal(problem: Problem, placed: dict[int, int], i: int, offset: int) -> bool:
    size = problem.sizes[i]
    if size == 0:
        return True
    if problem.blocks and not any(
        base <= offset and offset + size <= base + block
        for base, block in zip(_block_bases(problem), problem.blocks, strict=True)
    ):
        return False
    return not any(
        problem.sizes[j]
        and problem.in_conflict(i, j)
        and max(offset, other) < min(offset + size, other + problem.sizes[j])
        for j, other in placed.items()
    )


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    n_max: int = 7,
    size_max: int = 8,
    is_plain: bool = False,
    with_lifetimes: bool | None = None,
) -> Problem:
    """Problems of at most `n_max` buffers; unless plain also alignments, pins and blocks."""
    n = draw(st.integers(0, n_max))
    sizes = tuple(draw(st.lists(st.integers(0, size_max), min_size=n, max_size=n)))
    if draw(st.booleans()) if with_lifetimes is None else with_lifetimes:
        lowers = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
        spans = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
        lifetimes = tuple((a, a + span) for a, span in zip(lowers, spans, strict=True))
        base = Problem(sizes, lifetimes=lifetimes)
    else:
        pairs = list(combinations(range(n), 2))
        kept = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
        base = Problem.of_edges(sizes, [p for p, keep in zip(pairs, kept, strict=True) if keep])
    if is_plain:
        return base
    alignments = draw(
        st.just(()) | st.lists(st.sampled_from([1, 2, 3, 4]), min_size=n, max_size=n).map(tuple)
    )
    pins = []
    if n and draw(st.booleans()):
        for i in draw(st.lists(st.integers(0, n - 1), max_size=2, unique=True)):
            step = alignments[i] if alignments else 1
            pins.append((i, draw(st.integers(0, 5)) * step))
    blocks = tuple(
        draw(st.just([]) | st.lists(st.integers(0, 2 * size_max), min_size=1, max_size=4))
    )
    return Problem(
        sizes,
        conflict_masks=base.conflict_masks,
        lifetimes=base.lifetimes,
        alignments=alignments,
        pins=tuple(pins),
        blocks=blocks,
    )
