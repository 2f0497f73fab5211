"""The task pages: every command in them runs as written, and says what the page says it says.

Blocks of a page run in order, in one folder beside links to `docs` and `examples`. A `text` block
shows what the `sh` block before it prints; a line of three dots stands for what it leaves out. A
comment such as ``<!-- needs: g++ -->`` names what a block needs: its page runs without the block,
and again with it where that can be had.
"""

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

import pytest

from arena.demo_models import DEMO_MODELS
from tests.networks import demo_onnx

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "docs" / "tasks"
PAGES = sorted(path.stem for path in TASKS.glob("*.md") if path.stem != "README")
RUN = [*PAGES, "../reports"]
"""Pages whose commands are run: those of tasks, and others with blocks of the same form."""
BLOCK = re.compile(
    r"^(?:<!-- needs: (?P<needs>.+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    needs: str


def blocks(page: str) -> Iterator[Block]:
    for found in BLOCK.finditer((TASKS / f"{page}.md").read_text()):
        yield Block(found["kind"], found["text"], found["needs"] or "")


def need_nothing() -> None:
    """Do what is needed by most blocks."""


def need_compiler() -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")


def need_demo_models() -> None:
    for name in DEMO_MODELS:
        demo_onnx(name)


NEEDS: dict[str, Callable[[], None]] = {
    "": need_nothing,
    "g++": need_compiler,
    "the demo models": need_demo_models,
}
"""What a block may need -> a check that skips, and says so, where that is missing."""


def needs_of(page: str) -> list[str]:
    """Return what the commands of a page need, one after another."""
    return sorted({block.needs for block in blocks(page) if block.kind == "sh"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder as the pages mean it: the project's documents and examples, and `arena`."""
    for name in ("docs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = tmp_path / "bin" / "arena"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m arena "$@"\n')
    command.chmod(0o755)
    return tmp_path


def run(text: str, folder: Path) -> str:
    path = [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join(path), "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, (text, done.stdout, done.stderr)
    return done.stdout


def assert_shown(expected: str, printed: str) -> None:
    """Assert that the parts between three dots are printed, in order, and nothing but dots away."""
    parts = re.split(r"^\.\.\.\n", expected, flags=re.M)
    rest = printed
    for index, part in enumerate(parts):
        if part:
            before, found, rest = rest.partition(part)
            assert found, (part, printed)
            assert not before or (index > 0 and before.endswith("\n")), (before, part)
    assert not parts[-1] or not rest, rest


@pytest.mark.parametrize(
    ("page", "needs"), [(page, needs) for page in RUN for needs in needs_of(page)]
)
def test_every_command_of_a_page_runs(page: str, needs: str, folder: Path) -> None:
    NEEDS[needs]()
    printed: str | None = None
    ran = 0
    for block in blocks(page):
        if block.kind == "sh":
            printed = run(block.text, folder) if block.needs in ("", needs) else None
            ran += printed is not None
        elif block.kind == "text" and printed is not None:
            assert_shown(block.text, printed)
    assert ran


@pytest.mark.parametrize("page", PAGES)
def test_code_of_a_page_is_code_of_an_example(page: str) -> None:
    examples = [path.read_text() for path in (ROOT / "examples").glob("*.*")]
    for block in blocks(page):
        if block.kind in ("python", "cpp"):
            own = dedent(block.text)
            assert any(
                indent(own, " " * depth) in text for text in examples for depth in range(0, 17, 4)
            ), own


def test_committed_arenas_are_what_the_commands_draw(tmp_path: Path) -> None:
    """`python docs/pictures.py` rebuilds them, where this fails."""
    arenas = runpy.run_path(str(ROOT / "docs" / "pictures.py"))["arenas"]
    for name, fleets in (
        ("task-arena", ["street-corner"]),
        ("task-adopt", ["detect-and-classify"]),
        ("task-pool", ["plates"]),
        ("task-one-more", ["street-corner-faces-lane", "street-corner-faces"]),
        ("task-review", ["street-corner", "street-corner-faces"]),
    ):
        drawn = tmp_path / f"{name}.svg"
        arenas(drawn, fleets, tmp_path)
        assert drawn.read_text() == (ROOT / "docs" / "images" / drawn.name).read_text(), name


def test_the_chinese_readme_has_the_same_commands() -> None:
    """The commands of README.md run in CI: these are the same ones, and links lead somewhere."""
    english, chinese = (ROOT / name for name in ("README.md", "README.zh.md"))
    fence = re.compile(r"^```(?:sh|python)\n.*?^```$", re.M | re.S)
    assert fence.findall(chinese.read_text()) == fence.findall(english.read_text())
    for page in (chinese, ROOT / "docs" / "glossary.zh.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), link


def rows(page: Path, start: str) -> list[str]:
    """Return the rows of the first table after a word."""
    return (
        page.read_text()
        .partition(start)[2]
        .partition("\n|---|")[2]
        .split("\n\n")[0]
        .split("\n")[1:]
    )


def test_the_chinese_readme_has_the_same_options_and_figures() -> None:
    """Row by row: what is typed, what was measured, and where it leads."""
    english, chinese = (ROOT / name for name in ("README.md", "README.zh.md"))
    for starts, pattern in (
        (("## The command line", "## 命令行"), r"arena \w+|--[\w-]+|docs/[\w.-]+"),
        (("## Figures", "## 实测数字"), r"[\d.,]+\d|\d|bench/[\w.-]+"),
    ):
        found = [rows(page, start) for page, start in zip((english, chinese), starts, strict=True)]
        assert len(found[0]) == len(found[1]) > 5
        for one, two in zip(*found, strict=True):
            assert set(re.findall(pattern, one)) == set(re.findall(pattern, two)), one


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_a_small_picture_and_its_links_lead_somewhere(page: str) -> None:
    text = (TASKS / f"{page}.md").read_text()
    pictures = re.findall(r"!\[.{20,}?\]\(([^)]+)\)", text)
    assert pictures
    for picture in pictures:
        assert (TASKS / picture).stat().st_size < 150_000
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert link.startswith("https://") or (TASKS / link).exists(), link
    assert f"({page}.md)" in (TASKS / "README.md").read_text()
