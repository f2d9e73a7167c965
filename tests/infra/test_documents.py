"""Generated documents are up to date."""

from docs.generator.__main__ import pages
from infra.app import ROOT
from tests.support.template import Deployment


def test_documents_are_as_generated(deployments: dict[str, Deployment]) -> None:
    stale = [
        str(path.relative_to(ROOT))
        for path, content in pages(deployments).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]

    assert stale == [], "run `make docs`"
