"""The tables of moves: complete, without loops but the one, and drawn in the documentation."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from arena.errors import GuardError
from arena.guard.moves import (
    CALL_MOVES,
    FRAME_MOVES,
    CallEvent,
    CallState,
    FrameEvent,
    FrameState,
    MoveTable,
)
from tests.conftest import ROOT

TABLES: Mapping[str, tuple[MoveTable[Any, Any], type[StrEnum], type[StrEnum]]] = {
    "frame": (FRAME_MOVES, FrameState, FrameEvent),
    "call": (CALL_MOVES, CallState, CallEvent),
}


def drawn(kind: str) -> str:
    """Draw a table of moves as Markdown: states down, events across."""
    table, states, events = TABLES[kind]
    lines = [f"| {kind} | {' | '.join(events)} |", "|---" * (len(events) + 1) + "|"]
    for state in states:
        cells = [table.moves[state].get(event, "-") for event in events]
        lines.append(f"| **{state}** | {' | '.join(cells)} |")
    return "\n".join(lines)


@pytest.mark.parametrize("kind", TABLES)
def test_the_table_is_drawn_in_the_documentation(kind: str) -> None:
    assert drawn(kind) in (ROOT / "docs" / "guard.md").read_text()


@pytest.mark.parametrize("kind", TABLES)
def test_every_state_has_its_moves_and_a_way_out(kind: str) -> None:
    table, states, _ = TABLES[kind]
    assert set(table.moves) == set(table.ways_out) == set(states)
    assert all(table.ways_out.values())


@pytest.mark.parametrize("kind", TABLES)
def test_every_illegal_move_says_what_is_allowed_and_the_way_out(kind: str) -> None:
    table, states, events = TABLES[kind]
    for state in states:
        for event in events:
            if event in table.moves[state]:
                assert table.after(state, event, "it") in states
                continue
            with pytest.raises(GuardError) as refusal:
                table.after(state, event, "it")
            allowed = ", ".join(table.moves[state]) or "nothing"
            assert str(refusal.value) == (
                f"it: {event} while {state}; allowed: {allowed}; {table.ways_out[state]}"
            )


@pytest.mark.parametrize("kind", TABLES)
def test_every_life_ends(kind: str) -> None:
    table, states, _ = TABLES[kind]
    final = {state for state in states if not table.moves[state]}
    assert final
    for state in states:
        seen, open_ends = {state}, [state]
        while open_ends:
            for after in table.moves[open_ends.pop()].values():
                if after not in seen:
                    seen.add(after)
                    open_ends.append(after)
        assert seen & final, f"{state} never ends"
