"""Documents refer only to what exists, and a test runs every command that they show."""

import re
from pathlib import Path

import pytest

from custody.deployment.target import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TESTS = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
FOLDERS = "tests|docs|infra|functions|custody|local|samples|statemachine|datasets|benchmarks"


def name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    prose = re.sub(r"^```.*?^```", "", text_of(document), flags=re.MULTILINE | re.DOTALL)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), f"{name(document)} links to {target}, which does not exist"
        if heading:
            assert heading in anchors(linked), f"{name(document)} links to {target}: there is no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_files_of_the_project_exist(document: Path) -> None:
    text = text_of(document)
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text)
    # A document may have its reader create a file.
    created = re.findall(r"^`([\w./-]+)`:$", text, re.MULTILINE)
    missing = [
        path
        for path in paths
        if "NAME" not in path and not (ROOT / path).exists() and not any(each.startswith(path) for each in created)
    ]
    assert not missing, f"{name(document)} names {missing}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_targets_of_make_exist(document: Path) -> None:
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text_of(document), re.MULTILINE))
    assert targets <= TARGETS, f"{name(document)} names {targets - TARGETS}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_test_runs_the_commands(document: Path) -> None:
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text_of(document), re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if not line.strip().startswith("make ")]
    if document.name == "CONTRIBUTING.md":
        # It shows how to run tests.
        commands = [line for line in commands if not line.startswith(".venv/bin/")]
    if commands:
        readers = [test for test in TESTS if document.name in text_of(test)]
        assert readers, f"no test reads {name(document)}, which shows {commands[0]!r}"


@pytest.mark.parametrize("document", ["aws-cli", "consuming", "deploy", "existing-data", "personal-data", "runbook"])
def test_a_test_names_every_section_with_commands(document: str) -> None:
    _, *parts = re.split(r"^###? ", text_of(ROOT / f"docs/{document}.md"), flags=re.MULTILINE)
    titles = [part.partition("\n")[0] for part in parts if "```sh\n" in part]
    sources = "".join(text_of(test) for test in TESTS if f"docs/{document}.md" in text_of(test))
    assert [title for title in titles if f'"{title}"' not in sources] == []
