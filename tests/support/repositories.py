"""Real repositories of git: a bare one, commits to it, and a server that asks for a password."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import FustgoError
from orchestrator.scheduler.bundles import Source, Tree, source_of
from orchestrator.settings import BundleSettings

ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(*arguments: str, folder: Path) -> str:
    """Run git in a folder; what it prints."""
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **ENVIRONMENT}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Bare:
    """A bare repository, with a clone of it in which commits are made."""

    def __init__(self, folder: Path, ids: str = "sha1") -> None:
        self.path, self.work = folder / "bare.git", folder / "work"
        for path, option in ((self.path, "--bare"), (self.work, "--quiet")):
            path.mkdir(parents=True)
            git("init", "--quiet", option, "--initial-branch=main", f"--object-format={ids}", folder=path)

    def commit(self, files: Mapping[str, str | None], *, branch: str = "main", amend: bool = False) -> str:
        """Write these files (None removes one), commit and push; the commit. `amend` rewrites the last."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True) if text is None else path.write_text(text)
        return self.push(branch=branch, amend=amend)

    def push(self, *, branch: str = "main", amend: bool = False) -> str:
        """Commit what lies in the clone, and push it."""
        git("add", "--all", folder=self.work)
        amending = ["--amend"] if amend else []
        git("commit", "--quiet", "--allow-empty", "--message=A change", *amending, folder=self.work)
        git("push", "--quiet", "--force", str(self.path), f"HEAD:refs/heads/{branch}", folder=self.work)
        return git("rev-parse", "HEAD", folder=self.work)

    def run(self, *arguments: str) -> str:
        """Run git in the bare repository."""
        return git(*arguments, folder=self.path)


def source(address: object, artifacts: Path, **settings: Any) -> Source:
    """The bundle of a repository."""
    return source_of("default", BundleSettings(git=str(address), **settings), artifacts)


def look(source: Source) -> Tree:
    """What a look finds, which has to be something new."""
    tree = source.look()
    assert tree is not None
    return tree


def fails(source: Source) -> str:
    """What a look that fails says."""
    with pytest.raises(FustgoError) as caught:
        source.look()
    return str(caught.value)


class Server(ThreadingHTTPServer):
    """Serves the repositories of a folder to one user with one password.

    `seen` are the arguments of all processes of this machine that held `secret` while a request was answered.
    """

    def __init__(self, folder: Path, user: str, secret: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.secret, self.seen = folder, secret, set[str]()
        self.allowed = "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
        self.answered, self.agents = 0, set[str]()

    def look_around(self) -> None:
        """See who tells the secret to everybody."""
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = process.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if self.secret in arguments:
                self.seen.add(arguments)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def _answer(self, body: bytes) -> None:
        self.server.look_around()
        if self.headers["Authorization"] != self.server.allowed:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        head, _, content = self._backend(body).partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, text in fields.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)
        self.server.answered += 1
        self.server.agents.add(self.headers["User-Agent"])

    def _backend(self, body: bytes) -> bytes:
        path, _, query = self.path.partition("?")
        environment = {
            **ENVIRONMENT,
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        command = ["git", "http-backend"]
        return subprocess.run(command, input=body, env=environment, capture_output=True, check=True).stdout


@contextmanager
def serving(folder: Path, user: str, secret: str) -> Iterator[Server]:
    """A server at work."""
    with Server(folder, user, secret) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
