"""Run the street corner on the CPU device and print what was read: `python -m street_reader`."""

from pathlib import Path

from arena import plan_and_load
from arena.demo_models import resolve_demo, resolve_settings

from . import app, content, text

meaning = app.Meaning(
    alphabet=text.read_alphabet(resolve_demo("ocr-rec")),
    file_types=content.read_labels(resolve_settings("file-type")),
)
with plan_and_load(Path(__file__).parents[1] / "demo.yaml", device="cpu") as fleet:
    corner = app.run(fleet, meaning, frames=3)
    for reading in corner.readings:
        print(f"camera {reading.camera}, frame {reading.frame}: {', '.join(reading.read) or '-'}")
    print(corner.heard, corner.file_types)
    print(fleet.report().text())
