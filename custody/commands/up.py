"""`custody up`: start embedded AWS and deploy to it."""

from typing import Annotated

import typer

import local
from custody.deployment.embedded import bring_up
from custody.deployment.target import FOLDER, ROOT
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import Env

app = command_app()


@command(app, "custody up", "custody up -c tolerated_rejects_percent=5", see="custody status, docs/deploy.md")
def up(
    env: Env = "dev",
    settings: Annotated[
        list[str] | None,
        typer.Option("-c", "--context", metavar="NAME=VALUE", help="A setting, as for `cdk deploy -c`; repeatable."),
    ] = None,
    persist: Annotated[bool, typer.Option("--persist", help="Keep all data, from now on.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Start embedded AWS on this machine and deploy to it. Does nothing if both are done and nothing has changed."""
    current = "starting"
    with console.progress(lambda: current):
        for current in bring_up(ROOT, FOLDER, env, settings or [], persist=persist):
            console.warn(f"{current} …")
    instance = local.find(FOLDER)
    if instance:
        console.print_line(f"Custody ({env}) is running on embedded AWS at {instance.endpoint}")
