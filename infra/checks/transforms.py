"""What is wrong with a transform, as far as that can be told without running it."""

import ast
from collections.abc import Iterator, Sequence

_NONE = "it has no function `transform(record)`"


def faults(body: bytes) -> Iterator[str]:
    """Say what is wrong with the source of a transform: it must have a name that can be called with one record."""
    try:
        tree = ast.parse(body)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        yield f"it is no Python: {getattr(error, 'msg', error)}{line}"
        return
    meant = [said for node in _run(tree.body) if (said := _binding(node))]
    if fault := _fault(meant[-1]) if meant else _NONE:
        yield fault


def _run(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Give the statements that may be run when the module is imported, in their order; those of every branch too."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _run(node.body)
            for handler in getattr(node, "handlers", []):
                yield from _run(handler.body)
            yield from _run([*getattr(node, "orelse", []), *getattr(node, "finalbody", [])])


def _binding(node: ast.stmt) -> ast.AST | None:
    """Give what a statement calls `transform`: a definition, a value or an import; None if it does not."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node if node.name == "transform" else None
    if isinstance(node, ast.Import | ast.ImportFrom):
        return next((alias for alias in node.names if (alias.asname or alias.name) == "transform"), None)
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign) and node.value:
        targets = [node.target]
    else:
        return None
    return node.value if any(isinstance(each, ast.Name) and each.id == "transform" for each in targets) else None


def _fault(meant: ast.AST) -> str | None:
    """Say why something cannot be a transform; None where it can, or where it cannot be told."""
    if isinstance(meant, ast.AsyncFunctionDef):
        return "its `transform` is a coroutine: without `async` it returns the new record itself"
    if isinstance(meant, ast.FunctionDef | ast.Lambda):
        return _fault_of_function(meant)
    never = isinstance(meant, ast.ClassDef | ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.Set)
    return _NONE if never else None


def _fault_of_function(meant: ast.FunctionDef | ast.Lambda) -> str | None:
    if getattr(meant, "decorator_list", []):
        return None  # A decorator may change all of it.
    if not _takes_one(meant.args):
        return _NONE
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own(meant)):
        return "its `transform` is a generator: it must return the new record, not yield it"
    return None


def _takes_one(said: ast.arguments) -> bool:
    """Say whether a function can be called with one argument, and no name."""
    positional = len(said.posonlyargs) + len(said.args)
    required = positional - len(said.defaults)
    return required <= 1 <= positional + bool(said.vararg) and None not in said.kw_defaults


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Give what stands in a function, but not what stands in those within it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield node
            yield from _own(node)
