"""The server process: patch MiniStack, then run it on the socket it was handed.

Started by `local.server` as `python -m local.serve TOKEN SOCKET WORKERS`; not meant to be started by hand.
"""

import asyncio
import os
import resource
import sys


def main(socket_number: int, workers: int) -> None:
    """Serve until SIGTERM, then save the state and exit with all workers."""
    os.environ.pop("PYTHONPATH", None)
    os.chdir(os.environ["TMPDIR"])
    _allow_many_open_files()
    from local import patches  # noqa: PLC0415 - MiniStack must find its environment, and set Hypercorn's defaults first

    patches.apply(workers)
    from hypercorn.asyncio import serve  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415

    config = Config()
    config.bind = [f"fd://{socket_number}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    try:
        asyncio.run(serve(patches.module("app").app, config))
    finally:
        patches.module("core.lambda_runtime").reset()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # running handlers must not keep the process alive


def _allow_many_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main(int(sys.argv[2]), int(sys.argv[3]))
