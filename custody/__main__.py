"""Where the command line begins: it may be interrupted while it is still being read in."""

import sys

from custody.terminal.signals import INTERRUPTED


def run() -> None:
    """Run the command line; Ctrl-C ends it without a traceback from the first moment on."""
    try:
        from custody.app import run as main  # noqa: PLC0415 - it takes half a second, in which people press Ctrl-C
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    main()


if __name__ == "__main__":
    run()
