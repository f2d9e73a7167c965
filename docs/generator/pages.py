"""Which document has which generated content."""

from collections.abc import Mapping
from pathlib import Path

from docs.generator import costs, diagrams, scaling, schemas, settings, stack
from docs.generator.markdown import filled
from tests.support.steps import BULK, PIPELINE
from tests.support.template import Deployment

ROOT = Path(__file__).resolve().parents[2]


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
