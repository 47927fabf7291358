"""What a process writes, as lines of text."""

from __future__ import annotations

import codecs

from orchestrator.sdk.secrets import Secrets


class Lines:
    """Cuts the bytes of a stream into lines; bytes that are no UTF-8 are replaced.

    A line of more than `longest` characters comes in pieces. Those are without `secrets`, and what may be
    the beginning of one is held back: no cut goes through it, and nobody who masks a piece misses it.
    """

    def __init__(self, longest: int, secrets: Secrets) -> None:
        self.secrets = secrets
        self._longest = longest
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def cut(self, chunk: bytes) -> list[str]:
        """The lines that are whole now."""
        *ended, self._rest = (self._rest + self._decoder.decode(chunk)).split("\n")
        whole = [line.rstrip("\r") for line in ended]
        if len(self._rest) > self._longest:
            text = self.secrets.masked(self._rest)
            shown = max(0, self.secrets.settled(text))
            whole += [text[:shown]] if shown else []
            self._rest = text[shown:]
        return whole

    def rest(self) -> list[str]:
        """What is left without an end."""
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        self._decoder.reset()
        return [rest.rstrip("\r")] if rest else []
