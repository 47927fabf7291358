"""bash: a shell command, its output line by line in the attempt's log.

A value never becomes part of the command's text: it goes in as an environment variable, where the shell
cannot read it as code. The command runs in a process group of its own, which is ended with the attempt: by
us when it is cancelled, and by a guard within the group when we are killed, who can do nothing any more.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pydantic import Field, field_validator

from orchestrator.errors import OperatorError
from orchestrator.sdk.action import Action
from orchestrator.sdk.context import Context
from orchestrator.sdk.fields import Templated, TemplatedDict, is_template
from orchestrator.sdk.lines import Lines
from orchestrator.sdk.operator import operator
from orchestrator.sdk.secrets import Secrets, secrets_in

LOOK_SECONDS = 0.1
GRACE_SECONDS = 5.0
LONGEST_LINE = 64 * 1024
LAST_LINES = 10
_GUARDED = """
trap '' HUP INT TERM
{{ read -r -u {pipe} || kill -KILL 0; }} </dev/null >/dev/null 2>&1 &
trap - HUP INT TERM
exec bash -c "$1" {pipe}<&-
"""
# The guard reads from a pipe whose other end only this process has: a line says that all is well, the end of
# the pipe without one that this process is gone. What asks the command to end does not end its guard.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@operator("bash")
class Bash(Action):
    """Runs a command with bash; its result is the last line that it writes to standard output."""

    command: str = Field(description="The command, or several lines of a script.", min_length=1)
    env: TemplatedDict[Any] = Field(
        default_factory=dict,
        description="Environment variables of the command; templates give their values.",
    )
    cwd: Templated[str] = Field(default="", description="The folder it runs in: the project folder.")

    @field_validator("env")
    @classmethod
    def _names(cls, env: dict[str, Any]) -> dict[str, Any]:
        for name, value in env.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of an environment variable: letters, digits and _")
            if not is_template(value):
                as_text(name, value)
        return env

    def run(self, context: Context) -> str | None:
        folder = context.resolve(self.cwd) if self.cwd else context.project
        with _guarded(self.command, _environment(self.env), folder) as process:
            try:
                last, tail = _follow(process, context)
            finally:
                code = _end(process)
        if context.cancelled:
            raise OperatorError("the command was ended: its attempt was cancelled", retry=False)
        if code:
            raise OperatorError(
                f"the command {_ended(code)}", hint="\n    ".join(["it said:", *tail]) if tail else ""
            )
        return last


def as_text(name: str, value: Any) -> str:
    """The value of an environment variable; ValueError where it cannot be one."""
    if value is None:
        raise ValueError(f"the value of {name!r} is null; write {{{{ x or '' }}}} for an empty one")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if "\0" in text:
        raise ValueError(f"the value of {name!r} holds a zero byte, which no variable can")
    return text


def _environment(env: dict[str, Any]) -> dict[str, str]:
    """This process's variables, without our own (they may hold secrets), and the node's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FUSTGO_")}
    try:
        return inherited | {name: as_text(name, value) for name, value in env.items()}
    except ValueError as error:
        raise OperatorError(str(error), retry=False) from None


@contextmanager
def _guarded(command: str, environ: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command under way, its group ended if this process dies before the block has ended."""
    theirs, ours = os.pipe()
    try:
        try:
            process = _started(command, environ, folder, theirs)
        finally:
            os.close(theirs)
        with process:
            yield process
            with suppress(BrokenPipeError):
                os.write(ours, b"\n")
    finally:
        os.close(ours)


def _started(command: str, environ: dict[str, str], folder: Path, pipe: int) -> subprocess.Popen[bytes]:
    if not folder.is_dir():
        raise OperatorError(f"there is no folder {folder}", hint="make it, or correct `cwd`", retry=False)
    try:
        return subprocess.Popen(
            ["bash", "-c", _GUARDED.format(pipe=pipe), "bash", command],  # noqa: S607  # the author's PATH
            pass_fds=(pipe,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environ,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise OperatorError("there is no bash on this host", hint="install it", retry=False) from None
    except OSError as error:
        hint = "variables and command together are too large: hand the data over in a file"
        raise OperatorError(f"bash cannot be started: {error.strerror}", hint=hint, retry=False) from None


def _follow(process: subprocess.Popen[bytes], context: Context) -> tuple[str | None, list[str]]:
    """Log each line as it comes, until the command has ended: the last of standard output, the last of all.

    What it leaves running in the background may keep the pipes open; that is not waited for.
    """
    last: str | None = None
    tail: deque[str] = deque(maxlen=LAST_LINES)
    assert process.stdout is not None
    assert process.stderr is not None
    secrets = secrets_in(context.names, *context.connections.values())
    lines = {pipe: _Lines(pipe, secrets) for pipe in (process.stdout, process.stderr)}
    with selectors.DefaultSelector() as selector:
        for pipe in lines:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map() and not context.cancelled:
            ready = selector.select(LOOK_SECONDS)
            for key, _ in ready:
                for line in lines[key.fileobj].read():  # type: ignore[index]
                    context.log.info("%s", line)
                    tail.append(line)
                    last = line if key.fileobj is process.stdout else last
                if lines[key.fileobj].ended:  # type: ignore[index]
                    selector.unregister(key.fileobj)
            if not ready and process.poll() is not None:
                break
        while not context.cancelled and process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
    return last, list(tail)


class _Lines:
    """The lines of a pipe; one that is too long comes in pieces."""

    def __init__(self, pipe: IO[bytes], secrets: Secrets) -> None:
        self._pipe, self._lines = pipe, Lines(LONGEST_LINE, secrets)
        self.ended = False

    def read(self) -> list[str]:
        """The lines that are complete by now."""
        found = os.read(self._pipe.fileno(), LONGEST_LINE)
        self.ended = not found
        return self._lines.rest() if self.ended else self._lines.cut(found)


def _end(process: subprocess.Popen[bytes]) -> int:
    """The exit code; the whole group of a command that still runs is ended first: asked, then killed."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        _signal(process, signal.SIGKILL)
    return process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _ended(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
