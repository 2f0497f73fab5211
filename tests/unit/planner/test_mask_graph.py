from planner.mask_graph import Shape, clique_in_parts, conflict_masks, dominators, take_apart
from planner.problem import Problem


def complete(n: int) -> list[int]:
    return [((1 << n) - 1) & ~(1 << i) for i in range(n)]


def test_lifetimes_that_touch_or_are_empty_do_not_conflict() -> None:
    problem = Problem((1, 1, 1, 1), lifetimes=((0, 2), (2, 4), (1, 3), (2, 2)))
    assert conflict_masks(problem) == (0b100, 0b100, 0b011, 0)


def test_a_dominated_buffer_follows_its_dominator_to_the_kept_one() -> None:
    # 2 < 1 < 0, none in conflict: all can take the offset of the largest.
    assert dominators([0, 0, 0], [4, 3, 2], 0b111) == {2: 0, 1: 0}


def test_pinned_and_coarser_buffers_are_not_dominated() -> None:
    assert dominators([0, 0], [4, 2], 0b11, pinned=0b10) == {}
    assert dominators([0, 0], [4, 2], 0b11, alignments=[2, 4]) == {}
    assert dominators([0, 0], [4, 2], 0b11, alignments=[4, 2]) == {1: 0}


def test_a_join_is_only_split_where_parts_may_be_stacked() -> None:
    assert [part.shape for part in take_apart(complete(2), [1, 1], 0b11)] == [
        Shape.JOIN,
        Shape.LEAF,
        Shape.LEAF,
    ]
    assert [part.shape for part in take_apart(complete(2), [1, 1], 0b11, with_joins=False)] == [
        Shape.LEAF
    ]


def test_parts_nest_as_deep_as_there_are_buffers() -> None:
    # Buffer i conflicts with all before it iff i is even: join, union, join, ... 1500 levels.
    n = 1500
    masks = [0] * n
    for i in range(0, n, 2):
        masks[i] |= (1 << i) - 1
        for j in range(i):
            masks[j] |= 1 << i
    sizes = [n - i for i in range(n)][::-1]
    parts = take_apart(masks, sizes, (1 << n) - 1)
    assert len(parts) > n
    assert all(k < child for k, part in enumerate(parts) for child in part.children)


def test_a_clique_in_parts_trades_dominated_members_for_their_dominators() -> None:
    # 1 is dominated by 0; both conflict with 2.
    parts = take_apart([0b100, 0b100, 0b011], [4, 2, 1], alive=0b111, with_joins=False)
    assert [part.shape for part in parts] == [Shape.THINNED, Shape.LEAF]
    assert clique_in_parts(parts, 0b110) == [0b110, 0b101]
