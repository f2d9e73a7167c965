"""Patch MiniStack at run time: wrap a function, or change a line of one, in exactly one version."""

import ast
import functools
import importlib
import importlib.metadata
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

PIN = "1.5.33"
_CHANGED = "_changed_source"


class PatchError(RuntimeError):
    """A patch does not fit the installed MiniStack, so that it would do something other than what was tested."""

    def __init__(self, where: str, problem: str) -> None:
        """Describe the problem, and what to do about it."""
        super().__init__(
            f"MiniStack's {where}: {problem}. The patches in local/patches are written for MiniStack {PIN}: install "
            f"that version, or adapt the patch named in the traceback to the installed one."
        )


def check_pin() -> None:
    """Refuse any version other than the one that the patches were written for."""
    installed = importlib.metadata.version("ministack")
    if installed != PIN:
        raise PatchError("version", f"{installed} is installed")


def module(name: str) -> Any:
    """Import `ministack.<name>`; it has no types."""
    try:
        return importlib.import_module(f"ministack.{name}")
    except ModuleNotFoundError as exc:
        raise PatchError(name, "there is no such module") from exc


def member(owner: Any, name: str) -> Any:
    """Return a function or constant that a patch relies on."""
    try:
        return getattr(owner, name)
    except AttributeError as exc:
        raise PatchError(f"{owner.__name__}.{name}", "there is no such name") from exc


def wrap(owner: Any, name: str, function: Callable[..., Any]) -> None:
    """Replace `owner.name` by `function`, which gets the original before the arguments."""
    original = member(owner, name)
    setattr(owner, name, functools.wraps(original)(functools.partial(function, original)))


def change(owner: Any, name: str, anchors: Mapping[str, str], names: Mapping[str, Any] | None = None) -> None:
    """Recompile function `owner.name` with each anchor replaced; `names` are globals for the replacements."""
    function = member(owner, name)
    where = f"{owner.__name__}.{name}"
    if hasattr(function, "__wrapped__"):
        raise PatchError(where, "another patch has wrapped it")
    earlier = getattr(function, _CHANGED, None) or textwrap.dedent(inspect.getsource(function))
    source = replace_once(earlier, anchors, where)
    tree = ast.parse(source)
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    function.__globals__.update(names or {})
    compiled: dict[str, Any] = {}
    exec(compile(tree, function.__code__.co_filename, "exec"), function.__globals__, compiled)  # noqa: S102
    setattr(compiled[name], _CHANGED, source)
    setattr(owner, name, compiled[name])


def replace_once(text: str, anchors: Mapping[str, str], where: str) -> str:
    """Replace each anchor in `text`; each must occur exactly once."""
    for anchor, replacement in anchors.items():
        count = text.count(anchor)
        if count != 1:
            raise PatchError(where, f"{anchor!r} occurs {count} times instead of once")
        text = text.replace(anchor, replacement)
    return text
