"""The operators of type `python`: a decorated function at work on batches, or as an action."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator

from orchestrator.sdk.action import Action, Branching
from orchestrator.sdk.action_function import ActionFunction
from orchestrator.sdk.decorated import DecoratedFunction, find_function, fitting_arguments
from orchestrator.sdk.fields import TemplatedDict
from orchestrator.sdk.function import ProcessorFunction
from orchestrator.sdk.operator import Operator, Schemas, operator
from orchestrator.sdk.processor import Processor, ProcessorRuntime

if TYPE_CHECKING:
    from orchestrator.sdk.context import Context


class _OfFunction(Operator):
    """What both are: a function by its name, and arguments that fit it."""

    decorated: ClassVar[type[DecoratedFunction[Any]]]

    function: str = Field(description="The function: package.module:name, or path/in/bundle.py:name.")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Its keyword arguments, by name.", validate_default=True
    )
    _found: DecoratedFunction[Any] | None = PrivateAttr(default=None)

    @field_validator("function")
    @classmethod
    def _exists(cls, reference: str) -> str:
        find_function(reference, cls.decorated)
        return reference

    @field_validator("arguments")
    @classmethod
    def _fit(cls, arguments: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "function" not in info.data:
            return arguments
        found = find_function(info.data["function"], cls.decorated)
        return fitting_arguments(found, arguments, found.written_arguments)

    def model_post_init(self, _: Any) -> None:
        self._found = find_function(self.function, self.decorated)

    def _find(self) -> Any:
        """The decorated function; found once, when the node is built."""
        try:
            found = self._found
        except AttributeError:  # a node whose configuration is still to be validated
            found = None
        return found if found is not None else find_function(self.function, self.decorated)

    @property
    def target(self) -> DecoratedFunction[Any]:
        """The decorated function."""
        found: DecoratedFunction[Any] = self._find()
        return found

    @property
    def wants_results(self) -> bool:  # type: ignore[override]
        """A function that takes the context may read them."""
        return self.target.takes_context

    def connection_names(self) -> tuple[str, ...]:
        return self.target.connections


@operator("python")
class Python(_OfFunction, Processor):
    """Runs a Python function or class that is decorated with `@processor`."""

    decorated = ProcessorFunction

    @property
    def target(self) -> ProcessorFunction[Any]:
        """The decorated function or class."""
        found: ProcessorFunction[Any] = self._find()
        return found

    @property
    def stateful(self) -> bool:  # type: ignore[override]
        """A class may remember between batches."""
        return self.target.keeps_state

    @property
    def can_snapshot(self) -> bool:  # type: ignore[override]
        """A class without `snapshot` cannot be continued: its stage has one epoch."""
        return self.target.can_snapshot or not self.target.keeps_state

    @property
    def row_local(self) -> bool:  # type: ignore[override]
        """A function that maps one row knows no other."""
        return self.target.rows and not self.target.keeps_state

    @property
    def state_version(self) -> int:  # type: ignore[override]
        """What the decorator says."""
        return self.target.state_version

    def output_ports(self) -> tuple[str, ...]:
        return self.target.outputs

    def output_schemas(self, inputs: Schemas) -> Schemas:
        declared = self.target.schemas()
        return {port: declared.get(port) for port in self.output_ports()}

    def open(self, context: Context) -> ProcessorRuntime:
        from orchestrator.sdk.calling import FunctionRuntime

        arguments = dict(self.target.arguments.model_validate(self.arguments))
        return FunctionRuntime(self.target, arguments, context)


@operator("python")
class PythonAction(_OfFunction, Action):  # type: ignore[override]  # `wants_results` is asked of the function
    """Runs a Python function that is decorated with `@action`, `@branch` or `@short_circuit`."""

    decorated = ActionFunction

    arguments: TemplatedDict[Any] = Field(
        default_factory=dict,
        description="Its keyword arguments, by name; texts may be templates.",
        validate_default=True,
    )

    @property
    def target(self) -> ActionFunction[Any]:
        """The decorated function."""
        found: ActionFunction[Any] = self._find()
        return found

    @property
    def branching(self) -> Branching | None:  # type: ignore[override]
        """What the decorator says."""
        return self.target.branching

    def run(self, context: Context) -> Any:
        target = self.target
        leading = (context,) if target.takes_context else ()
        if not self.arguments:
            return target.function(*leading)
        return target.function(*leading, **dict(target.arguments.model_validate(self.arguments)))
