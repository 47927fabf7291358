"""Runs git: it asks nobody, runs no hook, is ended when it is silent for too long, and says why it failed."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from orchestrator.clock import SystemClock
from orchestrator.errors import FustgoError
from orchestrator.readiness import readable
from orchestrator.scheduler.bundles import Interrupted
from orchestrator.scheduler.bundles.remote import Remote

SILENCE = 60.0  # seconds
_LOOK_EVERY = 0.5
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
# What it says after the line that matters.
_IDLE = ("fatal: Could not read from remote repository.", "Please make sure", "and the repository exists.")


class GitFailed(FustgoError):
    """Git has said no."""


class Git:
    """Git on one remote. `silence` are the seconds after which a command that says nothing is ended.

    A command under way when the descriptor `stop` becomes readable is ended, and raises Interrupted.
    """

    def __init__(self, remote: Remote, stop: int | None = None, silence: float = SILENCE) -> None:
        self.remote = remote
        self._stops = [] if stop is None else [stop]
        self._silence, self._clock = silence, SystemClock()

    def run(
        self,
        *arguments: str,
        output: IO[bytes] | None = None,
        lock: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Run a command, and give what it prints, unless that goes to `output`.

        `lock` is a descriptor that the command holds too, so that a lock on it outlives us if we are killed.
        Raises GitFailed, with its own last words; FustgoError where there is no git, or it took too long.
        """
        with self._scratch() as said, self._scratch() as printed:
            process = self._start(arguments, output or printed, said, lock, environment or {})
            try:
                self._wait(process, [output or printed, said], arguments)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
            if process.wait():
                raise self._failed(arguments, last_words(_read(said)) or f"exit code {process.returncode}")
            return _read(printed)

    def _scratch(self) -> IO[bytes]:
        try:
            return tempfile.TemporaryFile()
        except OSError as error:
            raise FustgoError(
                f"{self.remote.url} cannot be read: no temporary file can be made: {error.strerror}",
                hint="TMPDIR must be a folder you can write, with space left",
            ) from error

    def pause(self, seconds: float) -> None:
        """Wait; raises Interrupted."""
        if readable(self._stops, seconds):
            raise Interrupted

    def _start(
        self,
        arguments: Iterable[str],
        output: IO[bytes],
        said: IO[bytes],
        lock: int | None,
        environment: dict[str, str],
    ) -> subprocess.Popen[bytes]:
        settings = (word for name, text in _SETTINGS.items() for word in ("-c", f"{name}={text}"))
        try:
            return subprocess.Popen(
                ["git", *settings, *arguments],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=said,
                env=self.remote.environment() | environment,
                cwd="/",
                pass_fds=() if lock is None else (lock,),
                start_new_session=True,
            )
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise FustgoError(
                    f"{self.remote.url} cannot be read: git cannot be started: {error.strerror}"
                ) from error
            raise FustgoError(
                f"{self.remote.url} cannot be read: there is no command git",
                hint="install git (apt install git, dnf install git), or leave bundle.git out",
            ) from error

    def _wait(
        self, process: subprocess.Popen[bytes], files: Iterable[IO[bytes]], arguments: Iterable[str]
    ) -> None:
        """Wait for its end; as long as it says or prints something now and then it may take its time."""
        heard, since = -1, 0.0
        ended = os.pidfd_open(process.pid)
        try:
            while True:
                length = sum(os.fstat(file.fileno()).st_size for file in files)
                if length != heard:
                    heard, since = length, self._clock.monotonic()
                if self._clock.monotonic() > since + self._silence:
                    raise self._failed(
                        arguments, f"nothing was heard for {self._silence:g} s", "is the server reachable?"
                    )
                ready = readable([ended, *self._stops], min(_LOOK_EVERY, self._silence))
                if any(stop in ready for stop in self._stops):
                    raise Interrupted
                if ended in ready:
                    return
        finally:
            os.close(ended)

    def _failed(self, arguments: Iterable[str], why: str, hint: str = "") -> FustgoError:
        verb = next(word for word in arguments if not word.startswith("-"))
        kind = FustgoError if hint else GitFailed
        return kind(
            self.remote.masked(f"{self.remote.url}: git {verb}: {why}"),
            hint=hint
            or f"`git ls-remote {shlex.quote(self.remote.url)}` as the user of the scheduler says more",
        )


def last_words(said: str) -> str:
    """The line of git's messages that says what is wrong."""
    lines = [line.strip() for line in said.replace("\r", "\n").splitlines()]
    lines = [line for line in lines if line and not line.startswith(_IDLE)]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return [*lines, *fatal][-1] if lines else ""


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def git_dir(mirror: Path) -> str:
    """The option that names the repository that a command is about."""
    return f"--git-dir={mirror}"
