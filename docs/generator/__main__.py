"""Write every generated file and region: `python -m docs.generator`."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from docs.generator import costs, diagrams, scaling, schemas, settings, stack
from docs.generator.markdown import filled
from infra.app import ROOT
from tests.support.steps import BULK, PIPELINE
from tests.support.template import VARIANTS, Deployment


def pages(deployments: Mapping[str, Deployment]) -> dict[Path, str]:
    """Return the whole content of each document that has generated regions."""
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
    regions = {
        "settings": settings.settings(),
        "permissions": stack.permissions(deployments),
        "alarms": stack.alarms(deployments),
        "pipeline": diagrams.diagram(PIPELINE),
        "bulk": diagrams.diagram(BULK),
        **scaling.regions(),
        **costs.regions(texts[ROOT / "docs/costs.md"], texts[ROOT / "docs/scaling.md"], deployments),
    }
    return {
        **{path: filled(text, regions) for path, text in texts.items() if "<!-- generated: " in text},
        **{ROOT / "docs" / f"{path}.schema.json": schema for path, schema in schemas.schemas().items()},
    }


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
