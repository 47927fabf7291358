"""What a worker and its runner say to each other: JSON of tagged values over a stream socket.

Every message names its attempt, so that an answer that comes late is no answer to another. A frame is four
bytes of length and the JSON. The same messages travel to a cluster.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from orchestrator.engine.progress import StageProgress
from orchestrator.runs.checkpoint import Checkpoint, Decision
from orchestrator.runs.order import Order
from orchestrator.runs.report import Report

_LENGTH = struct.Struct("<I")
_CHUNK = 1 << 18


class _Message(msgspec.Struct, frozen=True, tag_field="say"):
    attempt: int


class Execute(_Message, frozen=True, tag="execute"):
    """Run this order; what is said meanwhile goes to the file `log`."""

    order: Order
    log: str


class Opened(_Message, frozen=True, tag="opened"):
    """The answer to `Open`: where to go on."""

    checkpoint: Checkpoint


class Done(_Message, frozen=True, tag="done"):
    """The answer to `Decide` and `Applied`: it is in the store."""


class Refused(_Message, frozen=True, tag="refused"):
    """The answer to any request that the store did not grant; `lost`: the attempt was taken away."""

    message: str
    hint: str = ""
    lost: bool = False


class Stop(_Message, frozen=True, tag="stop"):
    """Stop at a savepoint; `at_once`: without keeping the open epoch."""

    at_once: bool = False


class Open(_Message, frozen=True, tag="open"):
    """The targets are ready: the checkpoint, please (rule 3.4)."""


class Decide(_Message, frozen=True, tag="decide"):
    """All parts of an epoch are sealed."""

    decision: Decision


class Applied(_Message, frozen=True, tag="applied"):
    """All outputs hold an epoch."""

    epoch: int


class Moved(_Message, frozen=True, tag="moved"):
    """The present figures; nobody answers."""

    progress: StageProgress


class CannotPause(_Message, frozen=True, tag="cannot_pause"):
    """A savepoint was asked for, but the stage has one epoch; nobody answers."""

    reason: str


class Ended(_Message, frozen=True, tag="ended"):
    """The attempt is over, and the runner free for another one; `leaves`: but it has left something behind
    that may still run, so that the runner must go.
    """

    report: Report
    leaves: bool = False


ToRunner: TypeAlias = Execute | Opened | Done | Refused | Stop
ToWorker: TypeAlias = Open | Decide | Applied | Moved | CannotPause | Ended

encoder = msgspec.json.Encoder()
to_runner = msgspec.json.Decoder(ToRunner)
to_worker = msgspec.json.Decoder(ToWorker)


def frame(message: ToRunner | ToWorker) -> bytes:
    """The bytes of a message."""
    body = encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Reader:
    """Cuts what arrives on a socket into the bodies of messages."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = bytearray()

    def read(self) -> bool:
        """Take all that is there, without waiting; false at the end of the stream."""
        while True:
            try:
                chunk = self._connection.recv(_CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not chunk:
                return False
            self._held += chunk
            if len(chunk) < _CHUNK:
                return True

    def bodies(self) -> Iterator[bytes]:
        """The messages that have arrived whole."""
        held = self._held
        while len(held) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(held)[0]
            if len(held) < end:
                return
            body = bytes(held[_LENGTH.size : end])
            del held[:end]
            yield body


class Writer:
    """Sends without ever waiting for the reader: what does not fit is kept for `flush`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._kept = bytearray()

    @property
    def waits(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self._kept)

    def send(self, message: ToRunner) -> None:
        """Send a message, or keep it; a reader that is gone shows at the reading end."""
        self._kept += frame(message)
        self.flush()

    def flush(self) -> None:
        """Send what was kept, as far as it goes."""
        while self._kept:
            try:
                sent = self._connection.send(self._kept, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except ConnectionError:
                self._kept.clear()
                return
            del self._kept[:sent]
