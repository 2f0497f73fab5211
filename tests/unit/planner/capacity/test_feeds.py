"""What feeds take in memory: beside a plan of the same fleet that was written without them."""

import pytest

from planner.capacity.feeds import feeds_bytes
from planner.fleet_file import parse_fleet
from planner.pipeline import plan_fleet
from planner.plan import Plan
from tests.fleets import declared_sizes

CHAIN = """
version: 1
name: chain
models:
  a: {work: 8MiB, weights: 2MiB, inputs: {x: 2MiB}, outputs: {y: 4MiB}}
  b: {work: 6MiB, weights: 2MiB, inputs: {y: 4MiB}, outputs: {z: 4MiB}}
  c: {work: 12MiB, weights: 2MiB, inputs: {z: 4MiB}, outputs: {r: 64KiB}}
pipelines:
  p:
    steps:
      one: {model: a}
      two: {model: b, after: [one], feeds: {y: one.y}}
      three: {model: c, after: [two], feeds: {z: two.z}}
device: {io: PLACE}
"""
NO_FEEDS = CHAIN.replace(", feeds: {y: one.y}", "").replace(", feeds: {z: two.z}", "")


def planned(text: str, place: str) -> Plan:
    fleet = parse_fleet(text.replace("PLACE", place))
    return plan_fleet(fleet, declared_sizes(fleet))


@pytest.mark.parametrize(("place", "more"), [("outside", 4), ("arena", 6)])
def test_feeds_take_what_a_fleet_without_them_needs_less(place: str, more: int) -> None:
    plan, none = planned(CHAIN, place), planned(NO_FEEDS, place)
    assert feeds_bytes(plan) == plan.needed_bytes - none.needed_bytes == more << 20
    assert plan.outside_bytes == none.outside_bytes
    assert feeds_bytes(none) == 0
