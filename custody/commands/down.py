"""`custody down`: stop embedded AWS."""

import local
from custody.deployment.target import FOLDER
from custody.terminal import console
from custody.terminal.commands import command, command_app

app = command_app()


@command(app, "custody down", see="custody up")
def down() -> None:
    """Stop embedded AWS and everything that runs on it."""
    stopped = local.stop(FOLDER)
    console.print_line("embedded AWS stopped" if stopped else "embedded AWS was not running")
