"""What of an environment is deleted, what is retained, and what is left."""

from custody.deployment.destroy import KINDS, PAGE, UNKNOWN, DestroyReport, Resource
from custody.terminal.console import Screen, console, print_line, print_rows, print_text, table
from custody.terminal.text import plural

_KEY_WARNING = (
    "A key is deleted 30 days after that is scheduled. After that, nothing it encrypted can be read; until then, "
    "`aws kms cancel-key-deletion --key-id ID` keeps it."
)


def show_plan(screen: Screen, report: DestroyReport) -> None:
    """Show what is to be deleted and retained: a stack and its resources, or the buckets that were named."""
    if stack := report.stack:
        holding = [resource for resource in stack.resources if resource.kind in KINDS.values()]
        others = plural(len(stack.resources) - len(holding), "resource")
        print_text(f"{stack.name} is {stack.status}. To be permanently deleted: {others} without data, and", screen)
        _table(screen, [resource for resource in holding if not resource.retained])
        if retained := [resource for resource in holding if resource.retained]:
            screen.print("Retained by deletion policy:")
            _table(screen, retained)
        number = report.open_dead_letters
        dead_letters = UNKNOWN if number is None else f"{number:,}{'+' if number == PAGE else ''}"
        screen.print(f"running executions: {report.running_executions:,}; open dead letters: {dead_letters}")
        for blocker in report.blockers:
            screen.print(blocker, style="bold red")
    if report.buckets:
        screen.print("Every unlocked version in these buckets will be permanently deleted, then the buckets:")
        _table(screen, report.buckets)


def show_result(report: DestroyReport) -> None:
    """Show what was deleted, what could not be, and what is left, with the commands that remove it."""
    name = f"custody-{report.env}"
    for bucket, number in report.emptied.items():
        print_line(f"emptied {bucket}: {plural(number, 'version')}")
    for failed, reason in report.failures.items():
        print_line((f"{failed} was not deleted: {reason}", "red"))
    if report.stack_remains:
        print_line(f"{name} was not deleted; fix what failed, and run this command again")
    if report.stack and (report.dry_run or report.stack_remains):
        return
    print_line(f"{name} was deleted" if report.stack else f"there is no stack {name}")
    print_line(f"left of {name}:" if report.left else f"nothing is left of {name}")
    if report.left:
        _table(console, report.left)
    # Outside the table, they can be copied from a narrow terminal, too.
    for command in filter(None, [resource.command for resource in report.left]):
        print_line(f"to remove it: {command}")


def _table(screen: Screen, resources: list[Resource]) -> None:
    rows = table("kind", "name", "contents")
    for each in resources:
        rows.add(each.kind, each.name, each.contents)
    print_rows(rows, screen=screen)
    if any(each.kind == "key" and not each.retained for each in resources):
        print_text(_KEY_WARNING, screen)
