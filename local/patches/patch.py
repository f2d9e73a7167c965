"""How a gap is filled: wrap a function, or change a line of one, at run time and on the exact version only."""

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
    """MiniStack is not as a gap expects it, so that filling it would do something else than was tested."""

    def __init__(self, where: str, problem: str) -> None:
        """Say what is wrong, where, and what to do."""
        super().__init__(
            f"MiniStack's {where}: {problem}. The gaps in local/gaps are written for MiniStack {PIN}: install that "
            f"version, or adapt the gap named in the traceback to the one that is installed."
        )


def check_pin() -> None:
    """Refuse any other version than the one the gaps were written for."""
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
    """Get a function or constant that a gap relies on."""
    try:
        return getattr(owner, name)
    except AttributeError as exc:
        raise PatchError(f"{owner.__name__}.{name}", "there is no such name") from exc


def wrap(owner: Any, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace `owner.name` by `around(owner.name)`."""
    original = member(owner, name)
    setattr(owner, name, functools.wraps(original)(around(original)))


def change(owner: Any, name: str, anchors: Mapping[str, str], names: Mapping[str, Any] | None = None) -> None:
    """Compile function `owner.name` anew with each anchor replaced; `names` are what the replacements refer to."""
    function = member(owner, name)
    where = f"{owner.__name__}.{name}"
    taken = set(names or {}) & set(function.__globals__)
    if taken or hasattr(function, "__wrapped__"):
        raise PatchError(where, f"another gap or its module already has {', '.join(taken) or 'wrapped it'}")
    earlier = getattr(function, _CHANGED, None) or textwrap.dedent(inspect.getsource(function))
    source = replace_once(earlier, anchors, where)
    tree = ast.parse(source)
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    function.__globals__.update(names or {})
    made: dict[str, Any] = {}
    exec(compile(tree, function.__code__.co_filename, "exec"), function.__globals__, made)  # noqa: S102
    setattr(made[name], _CHANGED, source)
    setattr(owner, name, made[name])


def replace_once(text: str, anchors: Mapping[str, str], where: str) -> str:
    """Replace each anchor in `text`; each must be there exactly once."""
    for anchor, replacement in anchors.items():
        count = text.count(anchor)
        if count != 1:
            raise PatchError(where, f"{anchor!r} is there {count} times instead of once")
        text = text.replace(anchor, replacement)
    return text
