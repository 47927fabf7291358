"""Connections: where a system is and how to enter it, by name.

Until the store keeps them, they come from the environment: `FUSTGO_CONN_CRM` is a URL
(`postgresql://user:secret@host/db?option=1`) or a JSON object with a `type`. `FUSTGO_VAR_*` are variables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from orchestrator.errors import UsageError, nearest

CONNECTION_PREFIX, VARIABLE_PREFIX = "FUSTGO_CONN_", "FUSTGO_VAR_"


class Connection(BaseModel):
    """One connection. The password never shows in a log, a page or an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    host: str = ""
    port: int | None = None
    login: str = ""
    password: SecretStr = SecretStr("")
    database: str = ""
    extra: Mapping[str, Any] = Field(default_factory=dict)


def connection_from_text(name: str, text: str) -> Connection:
    """A connection from a URL or a JSON object; `UsageError` says what is wrong without the secret."""
    variable = CONNECTION_PREFIX + name.upper()
    try:
        if text.lstrip().startswith("{"):
            return Connection.model_validate(json.loads(text))
        url = urlsplit(text)
        if not url.scheme:
            raise ValueError("no type")
        return Connection(
            type=url.scheme,
            host=url.hostname or "",
            port=url.port,
            login=unquote(url.username or ""),
            password=SecretStr(unquote(url.password or "")),
            database=unquote(url.path.lstrip("/")) if url.hostname else unquote(url.path),
            extra=dict(parse_qsl(url.query)),
        )
    except ValueError:
        raise UsageError(
            f"{variable} is neither a URL nor a JSON object with a type",
            hint=f"write {variable}=type://login:password@host:port/database, or a JSON object with a `type`",
        ) from None


def connections_from_environment(
    environ: Mapping[str, str], names: Mapping[str, str]
) -> dict[str, Connection]:
    """The named connections; `names` maps each name to the node that asks for it."""
    found: dict[str, Connection] = {}
    for name, node in names.items():
        text = environ.get(CONNECTION_PREFIX + name.upper())
        if text is None:
            known = [
                key[len(CONNECTION_PREFIX) :].lower() for key in environ if key.startswith(CONNECTION_PREFIX)
            ]
            variable = CONNECTION_PREFIX + name.upper()
            raise UsageError(
                f"node {node!r} needs connection {name!r}, which is not set",
                hint=f"set {variable}=type://login:password@host/database, or give dag.test() "
                f"connections={{{name!r}: ...}}. {nearest(name, known)}".strip(),
            )
        found[name] = connection_from_text(name, text)
    return found


def variables_from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """All variables, by lower-case name."""
    return {
        key[len(VARIABLE_PREFIX) :].lower(): value
        for key, value in environ.items()
        if key.startswith(VARIABLE_PREFIX)
    }
