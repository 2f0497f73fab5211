"""Rebuild the pictures of the documents from the project's own commands.

    python docs/pictures.py [FOLDER]

Writes into docs/images, or into FOLDER. Arenas are what `arena report --svg` draws; the lanes are
drawn from a trace of `arena run --trace`; the page is `arena run --html` in headless Chromium, and
left as it is where there is none.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from arena.cli import execute

DOCS = Path(__file__).resolve().parent
FLEETS = DOCS / "fleets"
PAPER = '<rect width="100%" height="100%" fill="#fff"/>'
COLOURS = ("#3b6fb6", "#6d9fe0", "#c8553d", "#2f8f6b")
SHOWN_MS = 120
CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def arena(*words: str | Path) -> None:
    """Run one command of ours, quietly."""
    with tempfile.TemporaryFile("w") as nowhere:
        shown, sys.stdout = sys.stdout, nowhere
        try:
            code = execute([str(word) for word in words])
        finally:
            sys.stdout = shown
    if code != 0:
        raise SystemExit(f"arena {' '.join(map(str, words))}: exit code {code}")


def arenas(target: Path, fleets: Sequence[str], folder: Path) -> None:
    """Draw the arenas of some fleets side by side."""
    parts, left, height = [], 0, 0
    for name in fleets:
        drawn = folder / f"{name}.svg"
        arena("report", FLEETS / f"{name}.yaml", "--svg", drawn)
        text = drawn.read_text()
        found = re.search(r'viewBox="0 0 (\d+) (\d+)"', text)
        assert found is not None
        parts.append(text.strip().replace("<svg ", f'<svg x="{left}" ', 1))
        left += int(found[1]) + 24
        height = max(height, int(found[2]))
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left} {height}" width="{left}" '
        f'height="{height}">{PAPER}{"".join(parts)}</svg>\n'
    )


def lanes(target: Path, folder: Path) -> None:
    """Draw the beginning of a run from its trace: a row a lane."""
    trace = folder / "trace.json"
    words = ("--device", "twin", "--frames", "6", "--threads", "8", "--trace", trace)
    arena("run", FLEETS / "street-corner.yaml", *words)
    events: list[dict[str, Any]] = json.loads(trace.read_text())["traceEvents"]
    names = {
        event["tid"]: event["args"]["name"]
        for event in events
        if event["name"] == "thread_name" and event["pid"] == 1
    }
    runs = [event for event in events if event.get("cat") == "execution"]
    begin = min(run["ts"] for run in runs)
    models = sorted({run["name"] for run in runs})
    colours = dict(zip(models, COLOURS, strict=True))
    out = []
    for row, lane in enumerate(names.values()):
        out.append(f'<text x="84" y="{row * 44 + 34}" text-anchor="end">{escape(lane)}</text>')
        out.append(f'<line x1="92" x2="812" y1="{row * 44 + 48}" y2="{row * 44 + 48}"/>')
    scale = 720 / SHOWN_MS / 1000
    rows = {tid: row for row, tid in enumerate(names)}
    for run in runs:
        start, width = 92 + (run["ts"] - begin) * scale, max(1.0, run["dur"] * scale)
        if start + width > 812:
            continue
        owner = run["args"]
        title = escape(f"{run['name']}: {owner['channel']} frame {owner['frame']}")
        label = (
            owner["channel"].removeprefix("camera") if owner["channel"] != "microphone[0]" else ""
        )
        out.append(
            f'<rect x="{start:.1f}" y="{rows[run["tid"]] * 44 + 16}" width="{width:.1f}" '
            f'height="30" fill="{colours[run["name"]]}"><title>{title}</title></rect>'
        )
        if label and width > 18:
            out.append(
                f'<text x="{start + width / 2:.1f}" y="{rows[run["tid"]] * 44 + 35}" '
                f'text-anchor="middle" fill="#fff" font-size="10">{escape(label)}</text>'
            )
    foot = len(names) * 44 + 24
    for index, model in enumerate(models):
        x = 92 + index * 130
        out.append(f'<rect x="{x}" y="{foot}" width="12" height="12" fill="{colours[model]}"/>')
        out.append(f'<text x="{x + 18}" y="{foot + 11}">{escape(model)}</text>')
    out.append(f'<text x="812" y="{foot + 11}" text-anchor="end">{SHOWN_MS} ms</text>')
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 830 {foot + 24}" width="830" '
        f'height="{foot + 24}" font-family="system-ui, sans-serif" font-size="12" '
        f'stroke-width="1">{PAPER}<g stroke="none">{"".join(out)}</g></svg>\n'
    )


def frontier(target: Path, folder: Path) -> None:
    """Draw what memory buys for the yard."""
    drawn = folder / "frontier.svg"
    arena("frontier", FLEETS / "yard.yaml", "--points", "8", "--svg", drawn)
    target.write_text(re.sub(r"^(<svg [^>]*>)", rf"\1{PAPER}", drawn.read_text()))


def screenshot(page: Path, target: Path, *, size: str, folder: Path) -> None:
    """Open a page in Chromium and keep what it shows, in few colours."""
    from PIL import Image

    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.stderr.write(f"{target.name} stays as it is: Chromium is not installed here\n")
        return
    shot = folder / "shot.png"
    command = [browser, *CHROMIUM, f"--user-data-dir={folder / 'profile'}"]
    subprocess.run(
        [*command, f"--window-size={size}", f"--screenshot={shot}", page.as_uri()],
        capture_output=True,
        check=True,
        timeout=120,
    )
    with Image.open(shot) as picture:
        few = picture.convert("RGB").quantize(32, method=Image.Quantize.MAXCOVERAGE)
        few.save(target, optimize=True)


def one_section(page: Path, section: str) -> Path:
    """Return a copy of a page that shows one of its sections alone."""
    style = f"header, footer, section:not([aria-labelledby={section}]) {{ display: none; }}"
    copy = page.with_name(f"{section}.html")
    copy.write_text(page.read_text().replace("</style>", f"{style} h2 {{ margin: 0; }}</style>", 1))
    return copy


def main(target: Path) -> None:
    """Rebuild every picture."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arenas(target / "task-arena.svg", ["street-corner"], folder)
        arenas(target / "task-adopt.svg", ["detect-and-classify"], folder)
        arenas(target / "task-pool.svg", ["plates"], folder)
        both = ["street-corner-faces-lane", "street-corner-faces"]
        arenas(target / "task-one-more.svg", both, folder)
        arenas(target / "task-review.svg", ["street-corner", "street-corner-faces"], folder)
        lanes(target / "task-lanes.svg", folder)
        frontier(target / "task-frontier.svg", folder)
        page = folder / "page.html"
        arena("report", FLEETS / "yard.yaml", "--device-model", "Ascend310B1", "--html", page)
        devices = one_section(page, "h-devices")
        screenshot(devices, target / "task-devices.png", size="820,460", folder=folder)
        arena("run", FLEETS / "street-corner.yaml", "--frames", "3", "--html", page)
        screenshot(page, target / "report-page.png", size="1120,3860", folder=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "images")
