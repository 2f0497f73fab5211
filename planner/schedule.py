"""The serial-execution schedule: which executions are ordered, and which locks they hold.

    camera[0], frames in flight d = 2:         Every channel is unrolled over d + 1 frames, since
                                               the order looks the same from every frame. Inside a
    frame 0   detect --> read --.              frame `after` orders the steps; a boundary joins the
                 `----> track --+-> (0)        end of frame t with the start of frame t + d. Nothing
    frame 1   detect --> read       |          else is ordered: frame 1 runs beside frames 0 and 2,
                 `----> track       |          other channels beside this one.
    frame 2   detect <--------------'
                 `----> ...                    Executions that hold a common lock (their lane is
                                               one) exclude each other in any order.

Two executions may overlap iff no path joins them and they hold no lock in common. What that means
for instances is `conflict`'s matter; offsets, sizes and times belong elsewhere.

A step that takes any lane of a pool has a choice for each lane: the instance and the locks it then
has. Two executions may overlap iff some choices of theirs hold no lock in common. One execution
takes one lane at a time, so it never overlaps itself.

All channels of a pipeline have one shape, so the closure is computed once for each pipeline, as
int bit masks over its steps, one row of masks for each distance in frames. Precedences and locks
that planning adds fit the same form: they may differ between channels and reach over frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, Self

from planner.errors import SpecError, UsageError
from planner.fleet import FleetSpec, PipelineSpec, StepSpec, channel_name, instance_id
from planner.model import InstanceId

if TYPE_CHECKING:
    import networkx as nx

__all__ = [
    "Boundary",
    "Channel",
    "ChannelOrder",
    "Choice",
    "Execution",
    "OrderEdge",
    "Schedule",
    "order_between",
]


@dataclass(frozen=True, slots=True, order=True)
class Execution:
    """All runs of one step in one frame of one channel; `channel` and `frame` count from 0."""

    pipeline: str
    channel: int
    step: str
    frame: int = 0

    def __str__(self) -> str:
        return f"{channel_name(self.pipeline, self.channel)}.{self.step} of frame {self.frame}"


@dataclass(frozen=True, slots=True, order=True)
class Boundary:
    """The moment when a frame has ended and the frame d later may start."""

    pipeline: str
    channel: int
    frame: int

    def __str__(self) -> str:
        return f"end of frame {self.frame} of {channel_name(self.pipeline, self.channel)}"


class OrderEdge(NamedTuple):
    """An added precedence: `first` of frame t precedes `second` of frame t + `lag`, for every t.

    Attributes
    ----------
    pipeline, first, second : str
        A pipeline and two of its steps.
    lag : int
        Frames between the two, >= 0; a step may precede itself at lag >= 1.
    channel : int or None
        The channel where this holds; None: all channels of the pipeline.
    """

    pipeline: str
    first: str
    second: str
    lag: int = 0
    channel: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ChannelOrder:
    """The order inside every channel of one shape; steps are counted as declared.

    Shapes are shared between channels and compared by identity.

    Attributes
    ----------
    steps : dict of str to int
        Index of each step.
    frames_in_flight : int
        d >= 1: everything of frame t precedes everything of frame t + d and later.
    edges : tuple of (first, second, lag, added)
        Precedences as given, indices and frames; `added`: not from the fleet's `after`.
    topological : tuple of int
        Steps in an order that agrees with the precedences inside a frame.
    reach : tuple of tuple of int
        Bit j of ``reach[lag][i]`` is set iff step i of frame t precedes step j of frame t + lag.
        Rows exist for lag 0 and, where some precedence reaches over frames, up to d - 1; a missing
        row below d means that nothing is ordered at that distance.
    concurrent : tuple of int
        Bit j of ``concurrent[i]`` is set iff no path joins some execution of step i with some
        execution of step j. Symmetric; locks are not considered.
    """

    steps: dict[str, int]
    frames_in_flight: int
    edges: tuple[tuple[int, int, int, bool], ...]
    topological: tuple[int, ...]
    reach: tuple[tuple[int, ...], ...]
    concurrent: tuple[int, ...]

    def precedes(self, *, first: int, second: int, lag: int) -> bool:
        """Return whether step `first` of a frame precedes step `second` of the frame `lag` on."""
        if lag >= self.frames_in_flight:
            return True
        if not 0 <= lag < len(self.reach):
            return False
        return bool(self.reach[lag][first] >> second & 1)

    def are_concurrent(self, *, first: int, second: int, lag: int) -> bool:
        """Return whether no path joins `first` of a frame and `second` of the frame `lag` on."""
        return not (
            self.precedes(first=first, second=second, lag=lag)
            or self.precedes(first=second, second=first, lag=-lag)
            or (first == second and lag == 0)
        )


class Choice(NamedTuple):
    """One way to execute a step: on one of the lanes that it may take.

    Attributes
    ----------
    instance : int
        Index in `Schedule.instances` of the instance that executes then.
    locks : frozenset of str
        Locks that it holds then: the lane, the step's locks, and what planning added.
    """

    instance: int
    locks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a pipeline: its order, and what each step uses there.

    Attributes
    ----------
    pipeline : PipelineSpec
    index : int
        Channel, counted from 0.
    order : ChannelOrder
    choices : tuple of tuple of Choice
        The ways to execute each step: one, or one for each lane of its pool, in the pool's order.
    """

    pipeline: PipelineSpec
    index: int
    order: ChannelOrder
    choices: tuple[tuple[Choice, ...], ...]

    @property
    def name(self) -> str:
        """Name of the channel, such as ``camera[0]``."""
        return channel_name(self.pipeline.id, self.index)

    def execution(self, step: int, frame: int = 0) -> Execution:
        """Return the execution of the step with index `step` in `frame`."""
        return Execution(self.pipeline.id, self.index, self.pipeline.steps[step].id, frame)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Locks, executions and the order of a fleet.

    Attributes
    ----------
    spec : FleetSpec
    instances : tuple of InstanceId
        In order of first use, as ``FleetSpec.instances()``.
    channels : tuple of Channel
        Pipelines as declared, channels upward.
    pipeline_starts : dict of str to int
        Position in `channels` of each pipeline's channel 0.

    Notes
    -----
    Building costs one closure for each shape of channel, O(steps x precedences / word), and one
    pass over the steps of all channels.

    Examples
    --------
    >>> from planner.fleet import ModelSpec
    >>> from planner.model import ModelId
    >>> m = ModelId("m")
    >>> spec = FleetSpec(
    ...     name="camera",
    ...     models=(ModelSpec(m, work_bytes=1, weight_bytes=0),),
    ...     pipelines=(
    ...         PipelineSpec(
    ...             "cam", (StepSpec("detect", m, "a"), StepSpec("read", m, "b", ("detect",)))
    ...         ),
    ...     ),
    ... )
    >>> detect, read = Execution("cam", 0, "detect"), Execution("cam", 0, "read")
    >>> Schedule.of_fleet(spec).may_overlap(detect, read)
    False
    """

    spec: FleetSpec
    instances: tuple[InstanceId, ...]
    channels: tuple[Channel, ...]
    pipeline_starts: dict[str, int]

    @classmethod
    def of_fleet(
        cls,
        spec: FleetSpec,
        *,
        order: Iterable[OrderEdge] = (),
        exclusive: Iterable[tuple[InstanceId, InstanceId]] = (),
    ) -> Self:
        """Return the schedule of a fleet, with what planning added to it.

        Parameters
        ----------
        spec : FleetSpec
        order : iterable of OrderEdge
            Added precedences.
        exclusive : iterable of pairs of instance ids
            Instances that never run at the same time, in any order: a lock each.

        Raises
        ------
        SpecError
            An added constraint names what the fleet does not have, or makes a cycle.
        """
        extra_locks = _exclusion_locks(spec, tuple(exclusive))
        everywhere: dict[str, list[OrderEdge]] = {pipeline.id: [] for pipeline in spec.pipelines}
        somewhere: dict[tuple[str, int], list[OrderEdge]] = {}
        for index, edge in enumerate(order):
            _check_edge(spec, edge, f"order[{index}]")
            if edge.channel is None:
                everywhere[edge.pipeline].append(edge)
            else:
                somewhere.setdefault((edge.pipeline, edge.channel), []).append(edge)
        index_of: dict[InstanceId, int] = {}
        channels: list[Channel] = []
        starts: dict[str, int] = {}
        for pipeline in spec.pipelines:
            starts[pipeline.id] = len(channels)
            shape = _order_of(pipeline, everywhere[pipeline.id])
            varies = any(step.varies for step in pipeline.steps)
            for channel in range(pipeline.channels):
                if channel == 0 or varies:
                    choices = tuple(
                        tuple(_choices(step, channel, index_of, extra_locks))
                        for step in pipeline.steps
                    )
                here = somewhere.get((pipeline.id, channel))
                own = _order_of(pipeline, everywhere[pipeline.id] + here) if here else shape
                channels.append(Channel(pipeline, channel, own, choices))
        return cls(spec, tuple(index_of), tuple(channels), starts)

    def executions(self) -> Iterator[Execution]:
        """Yield the executions of d + 1 frames of every channel: channels, frames, then steps."""
        for channel in self.channels:
            for frame in range(channel.order.frames_in_flight + 1):
                for step in range(len(channel.choices)):
                    yield channel.execution(step, frame)

    def instances_of(self, execution: Execution) -> tuple[InstanceId, ...]:
        """Return the instances that may serve an execution: one, or one for each lane of a pool."""
        return tuple(self.instances[choice.instance] for choice in self.choices_of(execution))

    def choices_of(self, execution: Execution) -> tuple[Choice, ...]:
        """Return the ways to run an execution, each with the locks that it holds then."""
        channel, step = self._locate(execution)
        return channel.choices[step]

    def precedes(self, first: Execution, second: Execution) -> bool:
        """Return whether `first` has always ended before `second` starts."""
        channel, i = self._locate(first)
        other, j = self._locate(second)
        lag = second.frame - first.frame
        return channel is other and channel.order.precedes(first=i, second=j, lag=lag)

    def may_overlap(self, first: Execution, second: Execution) -> bool:
        """Return whether two executions may run at the same time.

        Any frame >= 0 may be asked for; an execution never overlaps itself.

        Raises
        ------
        UsageError
            The fleet has no such execution. Caused by the caller.
        """
        choices = product(self.choices_of(first), self.choices_of(second))
        if first == second or not any(a.locks.isdisjoint(b.locks) for a, b in choices):
            return False
        return not (self.precedes(first, second) or self.precedes(second, first))

    def as_digraph(self) -> nx.DiGraph[Execution | Boundary]:
        """Return the serial-execution schedule as a graph to draw and to analyse.

        Nodes are the executions of d + 1 frames of every channel and a `Boundary` between the
        first and the last of these frames. Executions carry `instances`, `lanes` and `locks` (a
        sorted tuple), one of each for every lane that they may take, `model` and `time_ns` (None
        where unknown); edges carry `kind`: ``after``, ``added`` or ``frame``. A path joins two
        nodes iff the first precedes the second.

        Examples
        --------
        >>> from planner.fleet import ModelSpec
        >>> from planner.model import ModelId
        >>> m = ModelId("m")
        >>> pipeline = PipelineSpec("p", (StepSpec("s", m, "lane"),))
        >>> spec = FleetSpec("f", (ModelSpec(m, work_bytes=1, weight_bytes=0),), (pipeline,))
        >>> print(*Schedule.of_fleet(spec).as_digraph(), sep=", ")
        p[0].s of frame 0, p[0].s of frame 1, end of frame 0 of p[0]
        """
        import networkx as nx

        graph: nx.DiGraph[Execution | Boundary] = nx.DiGraph(name=self.spec.name)
        for execution in self.executions():
            channel, index = self._locate(execution)
            step = channel.pipeline.steps[index]
            choices = channel.choices[index]
            graph.add_node(
                execution,
                instances=tuple(self.instances[choice.instance] for choice in choices),
                model=step.model,
                lanes=step.lanes_of(channel.index),
                locks=tuple(tuple(sorted(choice.locks)) for choice in choices),
                time_ns=step.time_ns,
            )
        for channel in self.channels:
            _add_edges(graph, channel)
        return graph

    def _locate(self, execution: Execution) -> tuple[Channel, int]:
        start = self.pipeline_starts.get(execution.pipeline)
        if start is not None and execution.frame >= 0:
            pipeline = self.channels[start].pipeline
            if 0 <= execution.channel < pipeline.channels:
                channel = self.channels[start + execution.channel]
                step = channel.order.steps.get(execution.step)
                if step is not None:
                    return channel, step
        raise UsageError(
            f"fleet {self.spec.name!r} has no execution {execution}: expected a pipeline, "
            "a channel and a step of the fleet, and a frame >= 0"
        )


def order_between(
    spec: FleetSpec, first: InstanceId, second: InstanceId, *, lag: int = 0
) -> tuple[OrderEdge, ...]:
    """Return the precedences that make one instance precede another in every channel of both.

    Every step that `first` serves then precedes every step that `second` serves `lag` frames on. A
    step that takes any lane of a pool is served by each of its instances.

    Raises
    ------
    SpecError
        No channel uses both: channels are never ordered, only kept apart by a lock.
    """
    model, _, lane = first.partition("@")
    other_model, _, other_lane = second.partition("@")
    edges = []
    for pipeline in spec.pipelines:
        sources = [step for step in pipeline.steps if step.model == model]
        targets = [step for step in pipeline.steps if step.model == other_model]
        for source, target in product(sources, targets):
            if source.id == target.id and lag == 0:
                continue
            if source.varies or target.varies:
                channels: Iterable[int | None] = range(pipeline.channels)
            else:
                channels = (None,)
            for channel in channels:
                here = source.lanes_of(channel or 0), target.lanes_of(channel or 0)
                if lane in here[0] and other_lane in here[1]:
                    edges.append(OrderEdge(pipeline.id, source.id, target.id, lag, channel))
    if not edges:
        raise SpecError(
            f"no channel uses both {first!r} and {second!r}, so nothing can order them: "
            "make them exclusive instead"
        )
    return tuple(edges)


def _choices(
    step: StepSpec,
    channel: int,
    index_of: dict[InstanceId, int],
    extra_locks: Mapping[InstanceId, frozenset[str]],
) -> Iterator[Choice]:
    """Yield the ways to execute a step in a channel; new instances get the next index."""
    for lane in step.lanes_of(channel):
        instance = instance_id(step.model, lane)
        locks = step.locks_on(lane, channel) | extra_locks.get(instance, frozenset())
        yield Choice(index_of.setdefault(instance, len(index_of)), locks)


def _check_edge(spec: FleetSpec, edge: OrderEdge, path: str) -> None:
    pipeline = spec.pipeline(edge.pipeline)
    pipeline.step(edge.first)
    pipeline.step(edge.second)
    if edge.lag < 0:
        raise SpecError(f"found lag {edge.lag}, expected frames >= 0", path)
    if edge.channel is not None and not 0 <= edge.channel < pipeline.channels:
        raise SpecError(
            f"found channel {edge.channel}, expected 0 to {pipeline.channels - 1}", path
        )


def _exclusion_locks(
    spec: FleetSpec, exclusive: Sequence[tuple[InstanceId, InstanceId]]
) -> dict[InstanceId, frozenset[str]]:
    if not exclusive:
        return {}
    known = spec.instances()
    locks: dict[InstanceId, set[str]] = {}
    for index, pair in enumerate(exclusive):
        for instance in pair:
            if instance not in known:
                raise SpecError(f"unknown instance {instance!r}", f"exclusive[{index}]")
        if pair[0] == pair[1]:
            raise SpecError(
                f"{pair[0]!r} excludes itself already: its lane is serial", f"exclusive[{index}]"
            )
        # Instance ids hold an "@", which no lane or lock of a fleet may: the name is never taken.
        name = "|".join(sorted(pair))
        for instance in pair:
            locks.setdefault(instance, set()).add(name)
    return {instance: frozenset(names) for instance, names in locks.items()}


def _order_of(pipeline: PipelineSpec, added: Sequence[OrderEdge]) -> ChannelOrder:
    steps = {step.id: index for index, step in enumerate(pipeline.steps)}
    edges = [
        (steps[name], steps[step.id], 0, False) for step in pipeline.steps for name in step.after
    ]
    edges += [(steps[edge.first], steps[edge.second], edge.lag, True) for edge in added]
    predecessors: dict[int, list[int]] = {index: [] for index in steps.values()}
    for first, second, lag, _ in edges:
        if lag == 0:
            predecessors[second].append(first)
    try:
        topological = tuple(TopologicalSorter(predecessors).static_order())
    except CycleError as error:
        cycle = " after ".join(pipeline.steps[index].id for index in error.args[1][::-1])
        raise SpecError(
            f"the added order has a cycle: {cycle}", f"pipelines.{pipeline.id}"
        ) from None
    d = pipeline.frames_in_flight
    # Nothing reaches over frames inside the window unless some precedence does.
    lags = d if any(0 < lag < d for _, _, lag, _ in edges) else 1
    forward = [(i, j, lag) for i, j, lag, _ in edges]
    backward = [(j, i, lag) for i, j, lag, _ in edges]
    reach = _closure(forward, topological[::-1], lags)
    return ChannelOrder(
        steps=steps,
        frames_in_flight=d,
        edges=tuple(edges),
        topological=topological,
        reach=reach,
        concurrent=_concurrent(reach, _closure(backward, topological, lags), d),
    )


def _closure(
    edges: Iterable[tuple[int, int, int]], targets_first: Sequence[int], lags: int
) -> tuple[tuple[int, ...], ...]:
    """Return ``rows[lag][i]``, the steps that `i` reaches over paths of `lag` frames in total."""
    outgoing: list[list[tuple[int, int]]] = [[] for _ in targets_first]
    for first, second, lag in edges:
        outgoing[first].append((second, lag))
    rows: list[list[int]] = []
    for frames in range(lags):
        row = [0] * len(targets_first)
        rows.append(row)
        for i in targets_first:
            for j, lag in outgoing[i]:
                if lag <= frames:
                    row[i] |= rows[frames - lag][j] | (lag == frames) << j
    return tuple(map(tuple, rows))


def _concurrent(
    reach: Sequence[Sequence[int]], reach_back: Sequence[Sequence[int]], frames_in_flight: int
) -> tuple[int, ...]:
    n = len(reach[0])
    everything = (1 << n) - 1
    if len(reach) < frames_in_flight:
        return (everything,) * n  # the next frame runs beside this one, in any order
    ordered = [reach[0][i] | reach_back[0][i] | 1 << i for i in range(n)]
    for row, row_back in zip(reach[1:], reach_back[1:], strict=True):
        # Both ways round: i before j of a later frame, and j before i of a later frame.
        ordered = [ordered[i] & row[i] & row_back[i] for i in range(n)]
    return tuple(everything & ~mask for mask in ordered)


def _add_edges(graph: nx.DiGraph[Execution | Boundary], channel: Channel) -> None:
    order, d = channel.order, channel.order.frames_in_flight
    inside = [(first, second) for first, second, lag, _ in order.edges if lag == 0]
    ends = set(order.topological) - {first for first, _ in inside}
    starts = set(order.topological) - {second for _, second in inside}
    for first, second, lag, added in order.edges:
        for frame in range(d + 1 - lag):
            graph.add_edge(
                channel.execution(first, frame),
                channel.execution(second, frame + lag),
                kind="added" if added else "after",
            )
    boundary = Boundary(channel.pipeline.id, channel.index, 0)
    for step in sorted(ends):
        graph.add_edge(channel.execution(step, 0), boundary, kind="frame")
    for step in sorted(starts):
        graph.add_edge(boundary, channel.execution(step, d), kind="frame")
