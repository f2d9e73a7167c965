"""docs/extending.md, done as it stands there: in a copy of the project, deployed once with all that it adds."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import local
from custody.deployment.target import ROOT, find, on
from tests.support.breaking import without
from tests.support.deployed import Cloud, clean_environment
from tests.support.documents import as_said, read, require_shown

DOCUMENT = read("docs/extending.md")
BUILT = (".venv", "node_modules", "build")
"""What takes long to make, and no document changes."""

INGESTION = (
    "functions/start/**/*.py",
    "functions/validate/**/*.py",
    "infra/constructs/ingestion.py",
    "infra/constructs/storage.py",
)

_PART = re.compile(r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Part:
    """A block of the document; `path` is that of a new file, `shown` what is shown below commands."""

    path: str
    kind: str
    body: str
    shown: str = ""

    @property
    def is_of_a_deployment(self) -> bool:
        """Whether it can be run only where something is deployed."""
        return self.kind == "sh" and "custody" in self.body


def parts(text: str) -> list[Part]:
    """Give the blocks of a document in their order, each output with the commands before it."""
    found: list[Part] = []
    for block in _PART.finditer(text):
        if block["kind"]:
            found.append(Part(block["path"] or "", block["kind"], block["body"]))
        else:
            found[-1] = Part("", found[-1].kind, found[-1].body, block["body"])
    return found


PARTS = parts(DOCUMENT)


@dataclass(frozen=True)
class Copy:
    """A copy of the project, in which nothing reaches the project itself."""

    root: Path
    folder: Path

    def run(self, command: str) -> str:
        """Run what is typed there; fail unless it ends as it says that it does."""
        ours = {"PYTHONPATH": str(self.root), "CUSTODY_FOLDER": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        # Or else Git would look for the project around the copy.
        ours["GIT_CEILING_DIRECTORIES"] = str(self.root.parent)
        path = f"{self.root / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(  # noqa: S603 - the document's own commands
            ["/bin/bash", "-c", f"set -euo pipefail\n{as_said(command)}"],
            cwd=self.root,
            env=clean_environment() | ours | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def take(self, part: Part) -> None:
        """Do what a block says, if it can be done before anything is deployed."""
        if part.path:
            file = self.root / part.path
            assert not file.exists(), (
                f"{part.path} is there already: delete this test, which is of a project without it"
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(part.body, encoding="utf-8")
        elif part.kind == "diff":
            patch = self.root / "part.diff"
            patch.write_text(part.body, encoding="utf-8")
            self.run(f"git apply --verbose {patch.name} && rm {patch.name}")
        elif part.kind == "sh" and not part.is_of_a_deployment:
            self.run(part.body)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Copy the project, and do to the copy all that the document says."""
    root, folder = tmp_path_factory.mktemp("extended") / "project", tmp_path_factory.mktemp("custody")
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").replace("/", "").split()
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".git", *ignored))
    for name in BUILT:
        (root / name).symlink_to(ROOT / name)
    copy = Copy(root, folder)
    for part in PARTS:
        copy.take(part)
    return copy


@pytest.fixture(scope="module")
def deployed(extended: Copy) -> Iterator[Cloud]:
    """Deploy the copy; stop it afterwards, whatever happened."""
    try:
        extended.run("custody up")
        instance = local.find(extended.folder)
        assert instance is not None
        target = on(instance)
        yield Cloud(extended.folder, target, find(target, "dev"))
    finally:
        local.stop(extended.folder)


def test_each_block_of_the_document_is_done_in_some_way() -> None:
    undone = [part for part in PARTS if part.kind not in {"sh", "diff"} and not part.path]
    assert undone == [], "a block is a new file below its path, a diff, or commands"
    assert all(part.shown == "" or part.is_of_a_deployment for part in PARTS)


def test_what_the_document_adds_leaves_ingestion_alone(extended: Copy) -> None:
    for pattern in INGESTION:
        files = list(ROOT.glob(pattern))
        assert files, pattern
        for path in files:
            assert (extended.root / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("deployed")
def test_each_command_prints_what_is_shown(extended: Copy) -> None:
    printed = [(part, extended.run(part.body)) for part in PARTS if part.is_of_a_deployment]
    for part, out in printed:
        if part.shown:
            require_shown(part.shown, out)
    (traced,) = [out for part, out in printed if "custody trace" in part.body]
    assert "Enrich" in traced
    assert re.search(r"000000000000000\.0\.Enrich\b", traced), "its dead letter is listed"


def test_a_large_batch_that_fails_at_the_step_goes_on_there(extended: Copy, deployed: Cloud) -> None:
    record = {"station": "KJFK", "observed_at": "2026-01-17T06:50:00Z", "temperature_c": 4}
    large = extended.root / "large.json"
    large.write_text(json.dumps([record] * 2_000), encoding="utf-8")
    with without(deployed, "enrich", "s3:PutObject"):
        extended.run(f"custody put {large.name} --key weather/large.json # exit code 1")
        (listed,) = json.loads(extended.run("custody dead-letters --step enrich --error AccessRefused --json"))[
            "dead_letters"
        ]
    assert listed["resumes_at"] == "Enrich"

    extended.run("custody redrive --step enrich --error AccessRefused")
    processed = deployed.deployment.processed
    (key,) = [key for key in deployed.keys(processed, "weather/") if "weather-large-" in key]
    body = deployed.client("s3").get_object(Bucket=processed, Key=key)["Body"].read()
    assert {json.loads(line)["country"] for line in body.splitlines()} == {"US"}
    assert len(body.splitlines()) == 2_000
