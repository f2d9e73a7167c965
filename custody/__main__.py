"""Entry point of the command line; Ctrl-C may arrive while it is still being imported."""

import sys

from custody.terminal.signals import INTERRUPTED


def run() -> None:
    """Run the command line; Ctrl-C never shows a traceback, from the first moment on."""
    try:
        from custody.app import run as main  # noqa: PLC0415 - people press Ctrl-C while it is imported, too
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    main()


if __name__ == "__main__":
    run()
