"""Laws of capacity figures where steps hand tensors on: every byte has an account, numbers hold."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner.capacity import (
    Kind,
    account_bytes,
    bytes_by_kind,
    channels_fit,
    levers,
    shares,
    with_channels,
)
from planner.explanation.culprits import find_culprits
from planner.fleet import FleetSpec
from planner.fleet_file import parse_fleet
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.strategies import strategies
from tests.fleets import declared_sizes
from tests.strategies_io import handing_fleets


def _planned(fleet: FleetSpec) -> Plan:
    return plan_fleet(fleet, declared_sizes(fleet))


@settings(max_examples=60, deadline=None)
@given(handing_fleets())
def test_accounts_sum_to_what_is_needed(fleet: FleetSpec) -> None:
    plan = _planned(fleet)
    accounts = account_bytes(plan)
    assert sum(account.bytes for account in accounts) == plan.needed_bytes
    kinds = bytes_by_kind(accounts)
    regions = sum(plan.rule.reserved_bytes(buffer.size_bytes) for buffer in plan.buffers)
    assert kinds[Kind.IO] <= regions + plan.outside_bytes
    for share in shares(plan):
        assert 0 <= share.alone_bytes <= share.reserved_bytes
    planned = {strategy.name: strategy.bytes for strategy in strategies(plan)}
    assert planned["planned"] <= planned["one-max-per-lane"]


@settings(max_examples=40, deadline=None)
@given(handing_fleets(executions_max=24))
def test_a_lever_never_frees_more_than_there_is(fleet: FleetSpec) -> None:
    plan = _planned(fleet)
    for lever in levers(plan):
        assert lever.shrink_bytes is not None
        row = next(row for row in plan.instances if row.id == lever.instance)
        assert 0 <= lever.shrink_bytes <= plan.rule.reserved_bytes(row.work_bytes)


LISTENERS = """\
version: 1
models:
  m: {work: 900KiB, weights: 8KiB, inputs: {x: 8, h: 300KiB}, outputs: {y: 300KiB, k: 300KiB}}
  r: {work: 700KiB, weights: 8KiB, inputs: {x: 300KiB}, outputs: {y: 8}}
pipelines:
  microphone:
    steps:
      listen: {model: m, state: {h: k}}
      read: {model: r, lane: reading, after: [listen], feeds: {x: listen.y}}
"""


@pytest.mark.parametrize("pages", range(2, 8))
def test_so_many_channels_fit_and_one_more_does_not(pages: int) -> None:
    """All channels share two instances, and each brings tensors of its own."""
    fleet = parse_fleet(LISTENERS)
    limited = replace(fleet, device=replace(fleet.device, memory_bytes=pages << 21))
    (found,) = channels_fit(_planned(limited))
    assert found.largest is not None
    assert _planned(with_channels(limited, {"microphone": found.largest + 1})).fits is False
    if found.largest:
        assert _planned(with_channels(limited, {"microphone": found.largest})).fits


@settings(max_examples=40, deadline=None)
@given(handing_fleets(executions_max=24), st.integers(1, 9))
def test_culprits_need_more_than_there_is(fleet: FleetSpec, tenths: int) -> None:
    plan = _planned(fleet)
    assume(plan.height_bytes)
    limit = plan.planned_bytes * tenths // 10
    limited = replace(fleet, device=replace(fleet.device, memory_bytes=limit))
    plan = _planned(limited)
    assume(not plan.fits)
    culprits = find_culprits(plan, lambda _: True)
    assert culprits.needed_bytes > limit
    assert culprits.lower_bound_bytes <= culprits.needed_bytes <= plan.needed_bytes
