"""The command line: one command a file, each a small function whose docstring is its help.

Only this room prints. Exit codes: 0 yes, 1 no (does not fit, invalid plan, mismatch), 2 wrong input
or use, 3 the device failed, 130 interrupted.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["execute", "main"]


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors print one line, `--debug` the rest."""
    try:
        from arena.cli.app import invoke
    except ImportError as error:
        sys.stderr.write(
            f"error (the caller): the command line cannot be imported here ({error}): install "
            "npu-arena with its dependencies; on a board, use the library\n"
        )
        return 2
    except KeyboardInterrupt:  # before anything that handles it was there
        sys.stderr.write("interrupted\n")
        return 130
    return invoke(arguments)
