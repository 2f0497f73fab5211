"""What the solver's bench compares is the same problem for everyone, and the answers are valid."""

import pytest

from bench.families import FAMILIES, Instance
from bench.peers import REIMPLEMENTED, Peer, clocks
from planner.problem import Problem
from planner.validator import validate


@pytest.mark.parametrize("family", FAMILIES)
def test_an_instance_is_a_function_of_its_arguments(family: str) -> None:
    make = FAMILIES[family]
    assert make(40, 3) == make(40, 3)
    assert make(40, 3).problem != make(40, 4).problem
    assert make(40, 3).problem.n == 40


@pytest.mark.parametrize("family", FAMILIES)
def test_vector_clocks_say_the_same_conflicts(family: str) -> None:
    instance = FAMILIES[family](30, 1)
    if instance.edges is None:
        return
    lives = clocks(instance)

    def is_before(i: int, j: int) -> bool:
        return all(end <= start for end, start in zip(lives[i][1], lives[j][0], strict=True))

    for i in range(30):
        for j in range(i):
            apart = is_before(i, j) or is_before(j, i)
            assert instance.problem.in_conflict(i, j) is not apart


@pytest.mark.parametrize("peer", REIMPLEMENTED, ids=lambda peer: str(peer.name))
@pytest.mark.parametrize("family", ["8 lanes", "timeline", "fleet"])
def test_peers_place_validly_or_refuse(peer: Peer, family: str) -> None:
    instance = FAMILIES[family](40, 0)
    found = peer.run(instance, 0.2)
    if found is None:
        assert "ExecuTorch" in peer.name
        assert instance.problem.lifetimes is None
    else:
        assert list(validate(instance.problem, found)) == []


def test_peers_refuse_what_they_would_place_wrongly() -> None:
    empty = Instance("empty", "empty", Problem((0, 4), lifetimes=((0, 1), (0, 1))))
    with pytest.raises(ValueError, match="no empty"):
        REIMPLEMENTED[0].run(empty, 1.0)
