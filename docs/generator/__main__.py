"""Write every generated file and region: `python -m docs.generator`."""

import tempfile
from pathlib import Path

from docs.generator.pages import pages
from tests.support.template import VARIANTS, Deployment


def main() -> None:
    """Synthesise each variant of the stack, and write what differs."""
    with tempfile.TemporaryDirectory() as folder:
        deployments = {name: Deployment.synthesise(context, Path(folder) / name) for name, context in VARIANTS.items()}
        for path, content in pages(deployments).items():
            if not path.is_file() or path.read_text(encoding="utf-8") != content:
                path.write_text(content, encoding="utf-8")
                print(path)  # noqa: T201 - the output of a command


if __name__ == "__main__":
    main()
