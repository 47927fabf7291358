"""The secrets that one attempt was given, and their place-holder wherever its words leave its process.

A secret is masked in each form that code shows it in: as it is, in a URL, within a `repr`, within JSON, and
each line of one that has several.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from orchestrator.sdk.connection import Connection
from orchestrator.telemetry.masking import MASK, is_secret

SHORTEST = 3  # characters: a shorter secret would mask half of every text
SHORTEST_LINE = 8  # of a secret of several lines: a bracket on a line of its own is none
_OPTION = re.compile(r"(?:^|[-_.])(?:key|pass|pwd|credentials?|sig|signature)$", re.IGNORECASE)


class Secrets:
    """Masks texts."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets` as they are; too short ones are left out."""
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        self.longest = len(self._forms[0]) if self._forms else 0

    def masked(self, text: str) -> str:
        """The text without them."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def settled(self, text: str) -> int:
        """How much of a masked text that goes on may be shown already: no secret can begin before there."""
        return len(text) - max(0, self.longest - 1)


def secrets_in(names: Mapping[str, Any], *connections: Mapping[str, Any] | Connection) -> Secrets:
    """Those of connections, of the connections among the names of templates, and what variables hold under
    a name such as `token`.
    """
    found: list[str] = []
    for connection in (*connections, *names.get("conn", {}).values()):
        found += _of(connection)
    for kind in ("var", "env"):
        found += [
            text for name, held in names.get(kind, {}).items() if is_secret(name) for text in _texts(held)
        ]
    return Secrets(found)


def _of(connection: Mapping[str, Any] | Connection) -> Iterator[str]:
    if isinstance(connection, Connection):
        yield connection.password.get_secret_value()
        yield from _marked(connection.extra)
    else:
        yield str(connection.get("password") or "")
        yield from _marked(connection.get("extra") or {})


def _marked(options: Mapping[str, Any]) -> Iterator[str]:
    """What stands under a secret's name in the options of a connection, at any depth."""
    for name, held in options.items():
        if is_secret(str(name)) or _OPTION.search(str(name)):
            yield from _texts(held)
        elif isinstance(held, Mapping):
            yield from _marked(held)


def _texts(held: Any) -> Iterator[str]:
    if isinstance(held, Mapping):
        held = [*held.values()]
    if isinstance(held, list | tuple):
        for one in held:
            yield from _texts(one)
    elif held is not None and not isinstance(held, bool):
        yield str(held)


def _forms(secret: str) -> Iterator[str]:
    yield from (secret, quote(secret), quote(secret, safe=""), quote_plus(secret))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    for show in (repr, ascii):  # which quotes surround it, and so which it escapes, depends on its neighbours
        parts = [show(f'"{part}')[2:-1] for part in secret.split("'")]
        yield from ("'".join(parts), "\\'".join(parts))
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= SHORTEST_LINE)
