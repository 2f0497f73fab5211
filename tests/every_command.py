"""Every command of the command line, with words that it runs with: few frames, small models."""

from pathlib import Path
from typing import Final

from arena.cli import execute
from arena.cli.app import app
from tests.fleets import write_fleet

__all__ = ["WORDS", "commands", "write_inputs"]

ONNX_FLEET: Final = """\
version: 1
models: {net: {file: net.onnx}}
pipelines: {p: {steps: {s: {model: net}}}}
"""

WORDS: Final[dict[str, list[list[str]]]] = {
    "inspect": [["street/models/det.om"], ["net.onnx"]],
    "advise": [["street/models/det.om"], ["net.onnx", "-o", "start.yaml"]],
    "plan": [["street/fleet.yaml"], ["street/fleet.yaml", "--fit", "1MiB"], ["net.yaml"]],
    "check": [["p.json"], ["n.json", "--against", "."]],
    "frontier": [["street/fleet.yaml", "--points", "3"], ["net.yaml"]],
    "run": [
        ["street/fleet.yaml", "--frames", "1"],
        ["street/fleet.yaml", "--frames", "1", "--metrics", "0"],
        ["net.yaml", "--frames", "1"],
        ["n.json", "--device", "twin", "--frames", "1"],
    ],
    "verify": [["net.yaml"]],
    "solve": [["raw.csv", "--seconds", "1"]],
    "time": [["street/fleet.yaml", "--repeats", "1"], ["net.yaml", "--repeats", "1"]],
    "report": [["p.json", "--html", "p.html"], ["net.yaml"]],
    "diff": [["p.json", "street/fleet.yaml"], ["n.json", "net.yaml"]],
    "export": [["p.json", "--csv"]],
    "devices": [[]],
    "schema": [[]],
    "doctor": [[]],
    "demo": [[]],
    "compile": [["net.onnx", "-o", "net.arena"]],
}
"""What each command is given, in the folder of `write_inputs`: a new command must be added here."""


def commands() -> list[str]:
    """Return the names of all commands."""
    return [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]


def write_inputs(folder: Path) -> Path:
    """Write fleets of .om files and of a network, a plan of each, and an instance."""
    from tests.networks import convolutions, saved

    write_fleet(folder / "street")
    saved(convolutions(), folder, "net")
    (folder / "net.yaml").write_text(ONNX_FLEET)
    (folder / "raw.csv").write_text("id,lower,upper,size\na,0,2,4\nb,1,3,4\n")
    assert execute(["plan", str(folder / "street/fleet.yaml"), "-o", str(folder / "p.json")]) == 0
    assert execute(["plan", str(folder / "net.yaml"), "-o", str(folder / "n.json")]) == 0
    return folder
