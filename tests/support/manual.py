"""The pages of `--help`: the commands, with their examples and references."""

import re
from typing import Any

from custody.app import COMMANDS, load


def commands() -> dict[str, Any]:
    """Load every command, by its full name, such as `dead-letters show`."""
    loaded = {name: load(name) for name in COMMANDS}
    pages = {
        f"{name} {part}": command
        for name, group in loaded.items()
        for part, command in getattr(group, "commands", {}).items()
    }
    return {name: command for name, command in loaded.items() if command.epilog} | pages


def examples(command: Any) -> list[str]:
    """Return the command lines that a page shows."""
    return re.findall(r"^custody .*", command.epilog, re.MULTILINE)


def see_also(command: Any) -> list[str]:
    """Return the commands and documents that a page refers to."""
    return str(command.epilog).partition("**See also:** ")[2].split(", ")
