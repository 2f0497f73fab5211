"""The table of commands, and how errors become exit codes."""

import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from arena.cli.advise import advise
from arena.cli.check import check
from arena.cli.compile import compile_onnx
from arena.cli.demo import demo
from arena.cli.devices import devices
from arena.cli.diff import diff
from arena.cli.doctor import doctor
from arena.cli.export import export
from arena.cli.frontier import frontier
from arena.cli.inspect import inspect
from arena.cli.output import emit_error, exit_code_of
from arena.cli.overwriting import keeping_inputs
from arena.cli.plan import plan
from arena.cli.report import report
from arena.cli.run import run
from arena.cli.schema import schema
from arena.cli.solve import solve
from arena.cli.time import time
from arena.cli.verify import verify
from planner.errors import ArenaError

__all__ = ["invoke"]

INTERRUPTED: Final = 130
"""What shells expect of a command that Ctrl-C ended: 128 + SIGINT."""

_SUMMARY_MAX: Final = 1_000
"""Longest summary of a command in the list of commands."""

INTERNAL: Final = 70
"""EX_SOFTWARE of sysexits.h: our own mistake is neither a no nor the caller's."""


class _Commands(TyperGroup):
    """The commands, each with its whole summary: what does not fit a line goes on below."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of commands."""
        rows = [
            (name, command.get_short_help_str(_SUMMARY_MAX))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    name="arena",
    cls=_Commands,
    help="Plan and share device memory for fleets of ahead-of-time compiled models.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    inspect,
    advise,
    plan,
    check,
    frontier,
    run,
    verify,
    solve,
    time,
    report,
    diff,
    export,
    devices,
    schema,
    doctor,
    demo,
):
    app.command()(keeping_inputs(command))
app.command("compile")(keeping_inputs(compile_onnx))  # `compile` itself is a built-in function


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Hold what every command shares; `invoke` reads it from the words themselves."""


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
        return code
    except (BrokenPipeError, SystemExit) as error:
        if not _comes_after(error, BrokenPipeError):
            raise
        # The reader went away (`| head`): nothing more can be said to it.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return 0


def _invoke(arguments: Sequence[str]) -> int:
    """Run one command line, and turn what it raises into its exit code."""
    words = [word for word in arguments if word != "--debug"] or ["--help"]
    debug = "--debug" in arguments
    as_json = "--json" in words
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may know fewer characters
    if words == ["--version"]:
        sys.stdout.write(f"npu-arena {_version()}\n")
        return 0
    try:
        code = typer.main.get_command(app).main(args=words, standalone_mode=False)
        if code == INTERRUPTED:
            sys.stderr.write("interrupted\n")
        return int(code or 0)
    except typer.TyperException as error:
        if debug:
            raise
        emit_error(error, message=error.format_message(), as_json=as_json)
        return 2
    except typer.Abort:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if debug:
            raise
        if _comes_after(error, KeyboardInterrupt):
            # What fails on the way out is no news.
            sys.stderr.write("interrupted\n")
            return INTERRUPTED
        if isinstance(error, ArenaError):
            emit_error(error, message=str(error), as_json=as_json)
            return exit_code_of(error)
        message = f"internal error: {type(error).__name__}: {error}; --debug shows where"
        emit_error(error, message=message, as_json=as_json)
        return INTERNAL


def _version() -> str:
    try:
        return metadata.version("npu-arena")
    except metadata.PackageNotFoundError:
        return "(not installed: run from its source)"


def _comes_after(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Return whether an error is of a kind, or was raised while one of that kind was handled."""
    while error is not None and not isinstance(error, kind):
        error = error.__context__
    return error is not None
