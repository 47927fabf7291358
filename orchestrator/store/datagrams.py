"""Hints between the processes of one host: datagrams to the Unix sockets of those who listen.

The sockets lie in a folder beside the database or, where its path is too long for a socket, in
`/tmp/fustgo-UID`. A datagram is sent without waiting: who does not read loses it. A socket that nobody has
open is removed by the first who finds it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import secrets
import socket
import stat
from collections.abc import Set
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.store.hints import TOPICS

_LONGEST = 100  # bytes of a socket's path; the kernel takes 107
_SHARED = f"/tmp/fustgo-{os.getuid()}"  # noqa: S108  # used only where it is ours alone
_NAME = 24  # bytes that the socket's own name takes at most
_FULL = 10  # datagrams: the kernel keeps no more for one reader (net.unix.max_dgram_qlen)


def folder_of(database: Path) -> Path:
    """Where those who listen to the hints of a database have their sockets."""
    database = Path(os.path.realpath(database))
    beside = database.with_name(database.name + ".hints")
    if len(os.fsencode(beside)) + 1 + _NAME <= _LONGEST:
        return beside
    digest = hashlib.sha256(os.fsencode(database)).hexdigest()[:20]
    return Path(_SHARED, digest)


class Datagrams:
    """The hints of one open store: sends to the sockets of all others."""

    def __init__(self, database: Path) -> None:
        """Open nothing yet."""
        self._folder = folder_of(database)
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._socket: socket.socket | None = None
        self._is_ours = False
        self._own: dict[str, Set[str]] = {}  # what our own listeners want to hear of us, by socket

    def send(self, topics: set[str]) -> None:
        """See `hints.Hints`."""
        with contextlib.suppress(OSError):  # the folder is absent: nobody has ever listened
            told = {name: self._own.get(name, topics) & topics for name in os.listdir(self._folder)}
            wanted = {name: heard for name, heard in told.items() if heard}
            if wanted and self._may_send():
                for name, heard in wanted.items():
                    self._send(" ".join(sorted(heard)).encode(), str(self._folder / name))

    def listen(self, own: Set[str] = frozenset()) -> DatagramListener:
        """A socket of our own; raises StoreError."""
        name = f"{self._name}.{next(self._numbers)}"
        path = self._folder / name
        self._own[name] = own
        try:
            for folder in (self._folder.parent, self._folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            if not _is_private(self._folder):
                raise StoreError(
                    f"{self._folder} is not a folder of yours alone, so hints in it would be anybody's",
                    hint="remove it; it is made again",
                )
            return DatagramListener(path)
        except OSError as error:
            raise StoreError(
                f"cannot listen to hints at {path}: {error.strerror}",
                hint="the folder must be writable by you",
            ) from error

    def close(self) -> None:
        """See `hints.Hints`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _may_send(self) -> bool:
        self._is_ours = self._is_ours or _is_private(self._folder)
        return self._is_ours

    def _send(self, message: bytes, path: str) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        try:
            self._socket.sendto(message, path)
        except ConnectionRefusedError:  # whoever bound it has gone
            with contextlib.suppress(OSError):
                os.unlink(path)
        except OSError:  # full, or gone since we looked
            pass


class DatagramListener:
    """A socket that other processes of this host send hints to."""

    def __init__(self, path: Path) -> None:
        """Bind the socket; raises OSError."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(str(path))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """See `hints.Listener`."""
        return self._socket.fileno()

    def take(self) -> set[str]:
        """See `hints.Listener`."""
        heard: set[str] = set()
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.update(self._socket.recv(64).decode().split())
                count += 1
        return set(TOPICS) if count >= _FULL else heard

    def close(self) -> None:
        """See `hints.Listener`."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._socket.close()


def _is_private(folder: Path) -> bool:
    """Whether a folder is ours alone, and so that in /tmp which holds it."""
    return _is_ours(folder) and (str(folder.parent) != _SHARED or _is_ours(folder.parent))


def _is_ours(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
