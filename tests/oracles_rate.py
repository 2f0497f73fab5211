"""How long many frames take when nothing but order, locks and frames in flight makes them wait."""

from collections.abc import Mapping

from planner.schedule import Schedule

__all__ = ["simulated_time"]


def simulated_time(schedule: Schedule, times: Mapping[tuple[str, str], int], n_frames: int) -> int:
    """Return when the last of `n_frames` frames of every channel ends, as the guard grants calls.

    All steps of a frame are called when it opens; it opens when the frame d before it has ended.
    A call whose predecessors are over runs when no earlier such call wants one of its locks; on a
    pool, as the first of its choices of which that is true.
    """
    waiting: list[tuple[int, int, int, int]] = []  # (call, channel, frame, step), oldest first
    left: dict[tuple[int, int], int] = {}
    over: set[tuple[int, int, int]] = set()
    running: dict[tuple[int, int, int], int] = {}
    held: dict[tuple[int, int, int], frozenset[str]] = {}
    now = calls = 0

    def open_frame(channel: int, frame: int) -> None:
        nonlocal calls
        if frame < n_frames:
            order = schedule.channels[channel].order
            left[channel, frame] = len(order.topological)
            for step in order.topological:
                waiting.append((calls, channel, frame, step))
                calls += 1

    def may_run(channel: int, frame: int, step: int) -> bool:
        return all(
            (channel, frame - lag, first) in over or frame < lag
            for first, second, lag, _ in schedule.channels[channel].order.edges
            if second == step
        )

    for index, channel in enumerate(schedule.channels):
        for frame in range(channel.order.frames_in_flight):
            open_frame(index, frame)
    while waiting or running:
        taken = set().union(*(held[execution] for execution in running))
        for call in list(waiting):
            _, index, frame, step = call
            if not may_run(index, frame, step):
                continue
            channel = schedule.channels[index]
            choices = channel.choices[step]
            free = [choice for choice in choices if taken.isdisjoint(choice.locks)]
            wanted = frozenset().union(*(choice.locks for choice in choices))
            if free:
                wanted = held[index, frame, step] = free[0].locks
                step_id = channel.pipeline.steps[step].id
                running[index, frame, step] = now + times[channel.pipeline.id, step_id]
                waiting.remove(call)
            taken |= wanted
        now = min(running.values())
        for execution in [key for key, end in running.items() if end == now]:
            del running[execution]
            over.add(execution)
            index, frame, _ = execution
            left[index, frame] -= 1
            if left[index, frame] == 0:
                open_frame(index, frame + schedule.channels[index].order.frames_in_flight)
    return now
