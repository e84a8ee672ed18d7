"""How verbs end: with a status, and in one line on stderr when something is wrong; knows no verb."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from captioner.errors import CaptionerError

HOW_TO_INSTALL = "activate the environment that has it (source .venv/bin/activate), or pip install {what} in its folder"
"""What to do when a library is missing."""


def in_one_line(work: Callable[[], int], program: str, *, doing: str) -> int:
    """Do the work of a verb and return its status, or that of what went wrong.

    Args:
        work: prints results to stdout and returns the status.
        program: how the command is called in messages.
        doing: what a missing library is needed for, for example `scoring`.

    Returns:
        1 for an error of ours, and when stdout cannot be written; 2 for wrong options and missing libraries; 130 after
        Ctrl-C.
    """
    if sys.stderr is None:  # closed too: what is meant for it would go to stdout, among the results
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process
    if sys.stdout is None:  # closed by who started the process
        print(f"{program}: cannot write to stdout: it is closed", file=sys.stderr)
        return 1
    try:
        status = work()
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        print(f"{program}: {doing} needs {error.name}: {HOW_TO_INSTALL.format(what='.')}", file=sys.stderr)
        return 2
    except CaptionerError as error:
        print(f"{program}: {error.message}", file=sys.stderr)
        return 2 if error.code in ("config", "missing_dependency") else 1
    except BrokenPipeError:  # the reader has seen enough, as in `… | head`
        _give_up_stdout()
        return 1
    except OSError as error:
        _give_up_stdout()
        what = f"{error.filename}: " if error.filename else "cannot write to stdout: "
        print(f"{program}: {what}{error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: stopped", file=sys.stderr)
        return 130
    return status


def leave(status: int) -> NoReturn:
    """End the process at once, as what is left to do is done by the system anyway.

    Python takes its modules apart, and ONNX Runtime its sessions, one by one: 22 ms, a tenth of captioning a picture.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):  # nobody reads it: `in_one_line` has said so
            stream.flush()
    os._exit(status)


def _give_up_stdout() -> None:
    """Send what is still in the buffer nowhere; Python would try to write it once more when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
