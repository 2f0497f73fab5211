"""Vector clocks: the laws of the order, and agreement with plain reachability."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.device.adaptors.happens_before import Clock, Epoch, HappensBefore
from arena.device.base import EventId, StreamId

X, Y = StreamId(1), StreamId(2)


def starts_after(order: HappensBefore, host: Clock, stream: StreamId, before: Epoch) -> bool:
    return before.precedes(order.launch(host, stream)[1])


def test_launches_on_one_stream_are_ordered_whoever_makes_them() -> None:
    order = HappensBefore()
    first, _ = order.launch({}, X)
    assert starts_after(order, {}, X, first)
    assert not starts_after(order, {}, Y, first)


def test_a_finished_execution_precedes_what_its_host_does_next() -> None:
    order, host = HappensBefore(), Clock()
    first, _ = order.launch(host, X)
    assert not starts_after(order, host, Y, first)
    order.finish(host, first)
    assert starts_after(order, host, Y, first)
    assert not starts_after(order, {}, StreamId(3), first), "another thread was told nothing"


def test_synchronising_a_stream_finishes_everything_on_it() -> None:
    order, other, host = HappensBefore(), Clock(), Clock()
    first, _ = order.launch(other, X)
    order.synchronize(host, X)
    order.synchronize(host, Y)
    assert starts_after(order, host, Y, first)


def test_an_event_stands_for_what_was_on_its_stream_when_it_was_recorded() -> None:
    order, event = HappensBefore(), EventId(7)
    early, _ = order.launch({}, X)
    order.record({}, X, event)
    late, _ = order.launch({}, X)
    order.wait({}, Y, event)
    _, start = order.launch({}, Y)
    assert early.precedes(start)
    assert not late.precedes(start)
    order.forget(event)
    with pytest.raises(KeyError):
        order.wait({}, Y, event)


def test_a_cancelled_launch_orders_nothing() -> None:
    order, host = HappensBefore(), Clock()
    first, _ = order.launch(host, X)
    order.cancel(first)
    with pytest.raises(KeyError):
        order.finish(host, first)


def test_what_a_host_saw_precedes_whatever_it_enqueues() -> None:
    order, host = HappensBefore(), Clock()
    first, _ = order.launch(host, X)
    order.finish(host, first)
    order.record(host, Y, EventId(1))
    order.wait({}, StreamId(3), EventId(1))
    assert starts_after(order, {}, StreamId(3), first)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["launch", "finish", "synchronize", "record", "wait"]),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(0, 7),
    ),
    max_size=40,
)


@given(OPERATIONS)
def test_clocks_agree_with_reachability(operations: list[tuple[str, int, int, int]]) -> None:
    """Nodes are operations; an edge for program order, stream order, finish, wait. No clocks."""
    order = HappensBefore()
    hosts = [Clock() for _ in range(3)]
    edges: dict[int, set[int]] = {}  # Node -> the nodes right before it.
    last_of_host: dict[int, int] = {}
    last_on_stream: dict[int, int] = {}
    launches: list[tuple[Epoch, int, Clock]] = []
    finished: set[int] = set()
    events: list[int] = []

    for node, (kind, h, s, pick) in enumerate(operations):
        host, stream = hosts[h], StreamId(s)
        before = {last_of_host[h]} if h in last_of_host else set()
        on_stream = {last_on_stream[s]} if s in last_on_stream else set()
        if kind == "launch":
            epoch, start = order.launch(host, stream)
            launches.append((epoch, node, start))
            # The launch returns at once: it follows the host, the host does not follow it.
            edges[node] = before | on_stream
            last_on_stream[s] = node
            continue
        if kind == "finish" and launches:
            epoch, launched, _ = launches[pick % len(launches)]
            if launched not in finished:
                finished.add(launched)
                order.finish(host, epoch)
                edges[node] = before | {launched}
                last_of_host[h] = node
        elif kind == "synchronize":
            order.synchronize(host, stream)
            edges[node] = before | on_stream
            last_of_host[h] = node
        elif kind == "record":
            order.record(host, stream, EventId(len(events)))
            edges[node] = before | on_stream
            events.append(node)
            last_on_stream[s] = node
        elif kind == "wait" and events:
            event = pick % len(events)
            order.wait(host, stream, EventId(event))
            edges[node] = before | on_stream | {events[event]}
            last_on_stream[s] = node

    for epoch, first, _ in launches:
        for other, second, start in launches:
            if other is not epoch:
                assert epoch.precedes(start) == is_before(edges, first, second)


def is_before(edges: dict[int, set[int]], first: int, second: int) -> bool:
    open_ends, seen = [second], {second}
    while open_ends:
        for node in edges[open_ends.pop()]:
            if node == first:
                return True
            if node not in seen:
                seen.add(node)
                open_ends.append(node)
    return False
