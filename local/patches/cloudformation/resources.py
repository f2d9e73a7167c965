"""Run code with MiniStack's own handlers of a CloudFormation resource type."""

from collections.abc import Callable, Mapping
from typing import Any

from local.patches.patch import PatchError, member, module

Properties = dict[str, Any]
Apply = Callable[[str, Properties, Properties], None]


def after(resource_type: str, apply: Apply) -> None:
    """Call `apply(physical id, properties, earlier properties)` after MiniStack creates or updates a resource."""

    def creating(create: Callable[..., Any]) -> Callable[..., Any]:
        def create_and_apply(logical_id: str, properties: Properties, stack: str) -> Any:
            physical_id, attributes = create(logical_id, properties, stack)
            apply(physical_id, properties, {})
            return physical_id, attributes

        return create_and_apply

    def updating(update: Callable[..., Any]) -> Callable[..., Any]:
        def update_and_apply(physical_id: str, earlier: Properties, properties: Properties, *rest: Any) -> Any:
            new_id, attributes = update(physical_id, earlier, properties, *rest)
            apply(new_id, properties, earlier if new_id == physical_id else {})
            return new_id, attributes

        return update_and_apply

    replace(resource_type, {"create": creating, "update": updating})


def replace(resource_type: str, around: Mapping[str, Callable[[Callable[..., Any]], Callable[..., Any]]]) -> None:
    """Replace the named handlers (create, update, delete) of a resource type by what `around` makes of them."""
    handlers = member(module("services.cloudformation.provisioners"), "_RESOURCE_HANDLERS").get(resource_type)
    for name, make in around.items():
        if handlers is None or name not in handlers:
            raise PatchError(f"CloudFormation handlers of {resource_type}", f"there is no {name!r}")
        handlers[name] = make(handlers[name])


def accepted(answer: tuple[int, Any, Any], request: str) -> None:
    """Raise ValueError, which fails the stack's operation, if a service refused a request."""
    status, _, body = answer
    if status >= 400:  # noqa: PLR2004 - the first of HTTP's error statuses
        raise ValueError(f"{request} was refused: {body!r}")
