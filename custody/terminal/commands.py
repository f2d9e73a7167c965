"""Typer apps and commands with one look: help in Markdown, examples, and what to read next."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from custody.terminal.options import Aws, Env, Profile, Wide
from custody.terminal.text import visible

_SESSION_OPTIONS = {"env": (Env, "dev"), "aws": (Aws, False), "profile": (Profile, None)}
"""The options that choose a session, each with its type and default."""

_OPTIONS = _SESSION_OPTIONS | {"wide": (Wide, False)}
"""The options of every command with a session."""

_UsageError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]

Function = TypeVar("Function", bound=Callable[..., Any])


@contextmanager
def _escaping() -> Iterator[None]:
    """Escape the arguments that a usage error quotes."""
    try:
        yield
    except _UsageError as error:
        error.message = visible(error.message)
        raise


class _Metavars:
    """Help that shows what an option takes as a word, and nothing for a flag; errors that quote arguments escaped."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments."""
        with _escaping():
            parsed: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]  # of the other base class
        return parsed

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, `--help` included."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the other base class
        for parameter in parameters:
            if isinstance(parameter, TyperOption) and parameter.metavar is None:
                parameter.metavar = _metavar(parameter)
        return parameters


class Command(_Metavars, TyperCommand):
    """A command."""


class Group(_Metavars, TyperGroup):
    """A command with subcommands, such as `dead-letters show`."""

    default: str | None = None
    """The subcommand to run if none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments of the group; what is not a subcommand goes to the default one."""
        is_for_default = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        # Completion offers the subcommands first.
        if self.default and is_for_default and not ctx.resilient_parsing:
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find a subcommand."""
        with _escaping():
            return super().resolve_command(ctx, args)


def command_app(help_text: str | None = None, *, default: str | None = None) -> typer.Typer:
    """Make the app of a command; with subcommands, `help_text` describes it and `default` names the one to run."""
    group = type("GroupWithDefault", (Group,), {"default": default})
    return typer.Typer(cls=group, help=help_text, rich_markup_mode="markdown", add_completion=False)


def command(app: typer.Typer, *examples: str, see: str, name: str | None = None) -> Callable[[Function], Function]:
    """Register a function as a command of an app; its parameter `session`, if it has one, becomes options.

    Each example must work as it stands after `make run`; a word in capitals is a placeholder. `see` lists, separated by
    commas, related commands and documents.
    """
    lines = "\n".join(examples)
    epilog = f"**Examples**\n\n```sh\n{lines}\n```\n\n**See also:** {see}"

    def register(function: Function) -> Function:
        app.command(name=name, cls=Command, epilog=epilog)(_with_session_options(function))
        return function

    return register


def _with_session_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replace the parameter `session` by the options that choose one."""
    parameters = dict(signature(function).parameters)
    if "session" not in parameters:
        return function
    session = parameters.pop("session").annotation

    @wraps(function)
    def command(**values: Any) -> Any:
        # Help and usage errors need no console.
        from custody.terminal.console import console  # noqa: PLC0415

        chosen = {name: values.pop(name) for name in _SESSION_OPTIONS}
        console.whole = values.pop("wide")
        return function(session=session(**chosen), **values)

    for name, (annotation, default) in _OPTIONS.items():
        parameters[name] = Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    command.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    command.__dict__["__signature__"] = signature(function).replace(parameters=list(parameters.values()))
    return command


def _metavar(option: TyperOption) -> str:
    if option.is_flag:
        return ""
    return "N" if option.type_descriptor.annotation in (int, float) else str(option.name).upper()
