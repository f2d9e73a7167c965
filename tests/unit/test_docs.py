"""What documents point at is there, and no command in them stands without a test that runs it."""

import re
from pathlib import Path

import pytest

from custody.deployment.target import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TESTS = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def anchor(heading: str) -> str:
    """Give the anchor of a heading as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    prose = re.sub(r"^```.*?^```", "", text_of(document), flags=re.MULTILINE | re.DOTALL)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        if "://" in target:
            continue
        path, _, part = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{name(document)} links to {target}, which is not there"
        if part:
            assert part in anchors(found), f"{name(document)} links to {target}: there is no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_files_of_the_project_that_are_named_are_there(document: Path) -> None:
    text = text_of(document)
    named = re.findall(r"`((?:tests|docs|datasets|infra|functions|custody|local|samples|statemachine)/[\w./-]+)`", text)
    # A document may say what to write into a file that it has the reader make.
    made = re.findall(r"^`([\w./-]+)`:$", text, re.MULTILINE)
    missing = [
        path
        for path in named
        if "NAME" not in path and not (ROOT / path).exists() and not any(each.startswith(path) for each in made)
    ]
    assert not missing, f"{name(document)} names {missing}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_targets_of_make_that_are_named_are_there(document: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text_of(document), re.MULTILINE))
    assert named <= TARGETS, f"{name(document)} names {named - TARGETS}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_commands_have_a_test_that_runs_them(document: Path) -> None:
    commands = re.findall(r"^ *```sh\n(.*?)^ *```", text_of(document), re.MULTILINE | re.DOTALL)
    others = [line for block in commands for line in block.splitlines() if not line.strip().startswith("make ")]
    if document.name == "CONTRIBUTING.md":
        # What it shows is how tests are run.
        others = [line for line in others if not line.startswith(".venv/bin/")]
    if others:
        readers = [test for test in TESTS if document.name in text_of(test)]
        assert readers, f"no test reads {name(document)}, which shows {others[0]!r}"


@pytest.mark.parametrize("document", ["aws-cli", "consuming", "deploy", "existing-data", "personal-data", "runbook"])
def test_every_section_with_commands_is_named_by_a_test_that_runs_it(document: str) -> None:
    _, *parts = re.split(r"^###? ", text_of(ROOT / f"docs/{document}.md"), flags=re.MULTILINE)
    titles = [part.partition("\n")[0] for part in parts if "```sh\n" in part]
    sources = "".join(text_of(test) for test in TESTS if f"docs/{document}.md" in text_of(test))
    assert [title for title in titles if f'"{title}"' not in sources] == []
