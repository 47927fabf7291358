"""States of nodes: small ones inside the checkpoint, larger ones as files with their hash."""

from __future__ import annotations

import base64
import hashlib

import pyarrow as pa

from orchestrator.engine.durable import sync_file, sync_folder
from orchestrator.engine.parts import PartFolder, PartName
from orchestrator.errors import OperatorError
from orchestrator.runs.checkpoint import NodeState

INLINE_BYTES = 256 << 10
SUFFIX = ".state"


class StateFolder:
    """Where the states of one attempt's nodes are kept."""

    def __init__(self, folder: PartFolder, attempt: int) -> None:
        self._folder, self._attempt = folder, attempt

    def save(self, writer: str, epoch: int, version: int, state: bytes) -> NodeState:
        """Keep a state; durable when this returns, or part of the checkpoint itself."""
        if len(state) <= INLINE_BYTES:
            return NodeState(version, inline=base64.b64encode(state).decode("ascii"), length=len(state))
        name = str(PartName(writer, epoch, self._attempt, SUFFIX))
        with (self._folder.path / name).open("xb") as file:
            file.write(state)
            sync_file(file)
        sync_folder(self._folder.path)
        return NodeState(version, file=name, sha256=hashlib.sha256(state).hexdigest(), length=len(state))

    def load(self, node: str, version: int, state: NodeState) -> bytes:
        """The state that `save` kept; `OperatorError` where it is damaged or of another version."""
        if state.version != version:
            raise OperatorError(
                f"node {node!r}: the checkpoint has state version {state.version}, not {version}",
                hint="start over with --clear, or give the operator a migrate_state",
                retry=False,
            )
        if state.file is None:
            return base64.b64decode(state.inline or "")
        path = self._folder.path / state.file
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        if hashlib.sha256(content).hexdigest() != state.sha256:
            raise OperatorError(
                f"node {node!r}: the state file {path} is missing or damaged",
                hint="restore the file, or start over with --clear",
                retry=False,
            )
        return content

    def remove(self, state: NodeState) -> None:
        """Remove a state that a later epoch has replaced."""
        if state.file is not None:
            (self._folder.path / state.file).unlink(missing_ok=True)


def schema_as_text(schema: pa.Schema | None) -> str | None:
    """A schema as it stands in a checkpoint: its IPC message, base64."""
    return None if schema is None else base64.b64encode(schema.serialize()).decode("ascii")


def schema_from_text(text: str | None) -> pa.Schema | None:
    """The schema that `schema_as_text` wrote."""
    return None if text is None else pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
