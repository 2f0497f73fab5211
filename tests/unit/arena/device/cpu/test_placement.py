"""Placements answer every allocation, never with 0, and tell afterwards what went wrong."""

import ctypes

from arena.device.cpu.placement import HeapPlacement, PlannedPlacement, TracedPlacement


def test_a_plan_answers_with_its_offsets_in_order() -> None:
    plan = PlannedPlacement(1 << 20, [100, 64, 7], [0, 128, 0])
    assert [plan.place(size) for size in (100, 64, 7)] == [1 << 20, (1 << 20) + 128, 1 << 20]
    plan.freed(1 << 20)
    assert plan.finish() == ""


def test_another_size_leaves_the_plan_for_good_and_is_served_from_the_heap() -> None:
    plan = PlannedPlacement(1 << 20, [100, 64], [0, 128])
    plan.place(100)
    strays = [plan.place(65), plan.place(64)]
    for pointer in strays:
        assert pointer % 64 == 0
        assert not 1 << 20 <= pointer < (1 << 20) + 192
        ctypes.memset(pointer, 1, 64)
    assert plan.finish() == "allocation 1 asks for 65 bytes, the plan has 64 bytes"


def test_an_allocation_too_many_leaves_the_plan() -> None:
    plan = PlannedPlacement(1 << 20, [], [])
    assert plan.place(8) > 0
    assert plan.finish() == "allocation 0 asks for 8 bytes, the plan has no more"


def test_an_allocation_too_few_is_told() -> None:
    plan = PlannedPlacement(1 << 20, [8, 8], [0, 64])
    plan.place(8)
    assert plan.finish() == "the run made 1 of 2 planned allocations"


def test_a_trace_counts_every_birth_and_end() -> None:
    trace = TracedPlacement()
    a, b = trace.place(100), trace.place(50)
    trace.freed(a)
    c = trace.place(100)
    trace.freed(c)
    trace.freed(0)  # not ours: the runtime may hand back what it never asked for
    assert b != c
    trace.finish()
    assert trace.sizes == [100, 50, 100]
    assert trace.lifetimes == [(0, 2), (1, 5), (3, 4)]


def test_the_heap_keeps_its_blocks_until_release() -> None:
    heap = HeapPlacement()
    first = heap.place(10)
    heap.freed(first)
    assert heap.place(10) != first
    heap.release()
    heap.release()
