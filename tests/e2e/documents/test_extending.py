"""docs/extending.md, carried out in a copy of the project and deployed."""

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
from tests.support.deployed import GOOD, Cloud, command_environment, json_file
from tests.support.documents import check_exit_codes, read, require_shown

SHARED = (".venv", "node_modules", "build")
"""Linked into the copy: they take long to build, and no document changes them."""

CONTRACT = "datasets/mission/contract.schema.json"
INGESTION = re.compile(r"functions/(start|validate)/|infra/constructs/(ingestion|storage)\.py")

_PART = re.compile(r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Part:
    """A block of the document: a new file at `path`, a diff, or commands with the output `shown` below them."""

    path: str
    kind: str
    body: str
    shown: str = ""

    @property
    def needs_deployment(self) -> bool:
        """Whether it runs only once something is deployed."""
        return self.kind == "sh" and "custody" in self.body


def parts(text: str) -> list[Part]:
    """List the blocks of a document, each output with the commands before it."""
    listed: list[Part] = []
    for block in _PART.finditer(text):
        if block["kind"]:
            listed.append(Part(block["path"] or "", block["kind"], block["body"]))
        else:
            listed[-1] = Part("", listed[-1].kind, listed[-1].body, block["body"])
    return listed


PARTS = parts(read("docs/extending.md"))


@dataclass(frozen=True)
class Copy:
    """A copy of the project, isolated from the project itself."""

    root: Path
    folder: Path

    def run(self, command: str) -> str:
        """Run a block and return its output; fail unless it exits with 0 or the code its comment names."""
        isolation = {
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            # Git would find the project around the copy.
            "GIT_CEILING_DIRECTORIES": str(self.root.parent),
            "PATH": f"{self.root / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
        }
        done = subprocess.run(  # noqa: S603 - the document's own commands
            ["/bin/bash", "-c", f"set -euo pipefail\n{check_exit_codes(command)}"],
            cwd=self.root,
            env=command_environment(self.folder) | isolation,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def apply(self, part: Part) -> None:
        """Write a file, apply a diff, or run commands that need no deployment."""
        if part.path:
            file = self.root / part.path
            assert not file.exists(), f"{part.path} exists: delete this test, which is for a project without it"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(part.body, encoding="utf-8")
        elif part.kind == "diff":
            patch = self.root / "part.diff"
            patch.write_text(part.body, encoding="utf-8")
            self.run(f"git apply --verbose {patch.name} && rm {patch.name}")
        elif not part.needs_deployment:
            assert (part.kind, part.shown) == ("sh", ""), "a block is a new file below its path, a diff, or commands"
            self.run(part.body)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Copy the project and apply the document to the copy."""
    root, folder = tmp_path_factory.mktemp("extended") / "project", tmp_path_factory.mktemp("custody")
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").replace("/", "").split()
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".git", *ignored))
    for name in SHARED:
        (root / name).symlink_to(ROOT / name)
    copy = Copy(root, folder)
    for part in PARTS:
        copy.apply(part)
    return copy


@pytest.fixture(scope="module")
def deployed(extended: Copy) -> Iterator[Cloud]:
    try:
        extended.run("custody up")
        instance = local.find(extended.folder)
        assert instance is not None
        target = on(instance)
        yield Cloud(extended.folder, target, find(target, "dev"))
    finally:
        local.stop(extended.folder)


def test_ingestion_is_untouched() -> None:
    changed = [part.path or part.body for part in PARTS if part.path or part.kind == "diff"]
    assert not [each for each in changed if INGESTION.search(each)]


@pytest.mark.usefixtures("deployed")
def test_each_command_prints_what_is_shown(extended: Copy) -> None:
    outputs = {part.body: extended.run(part.body) for part in PARTS if part.needs_deployment}
    for part in PARTS:
        if part.shown:
            require_shown(part.shown, outputs[part.body])
    (traced,) = [output for block, output in outputs.items() if "custody trace" in block]
    assert "Enrich" in traced
    assert re.search(r"000000000000000\.0\.Enrich\b", traced), "its dead letter is listed"


def test_a_large_batch_that_fails_at_the_step_resumes_there(extended: Copy, deployed: Cloud) -> None:
    large = extended.root / "large.json"
    large.write_text(json.dumps([{"station": "KJFK", "temperature_c": 4}] * 3_000), encoding="utf-8")
    with without(deployed, "enrich", "s3:PutObject"):
        extended.run(f"custody put {large.name} --key weather/large.json # exit code 1")
        listed = extended.run("custody dead-letters --step enrich --error AccessRefused --json")
    (dead_letter,) = json.loads(listed)["dead_letters"]
    assert dead_letter["resumes_at"] == "Enrich"

    extended.run("custody redrive --step enrich --error AccessRefused")
    processed = deployed.deployment.processed
    (key,) = [key for key in deployed.keys(processed, "weather/") if "weather-large-" in key]
    body = deployed.client("s3").get_object(Bucket=processed, Key=key)["Body"].read()
    assert {json.loads(line)["country"] for line in body.splitlines()} == {"US"}
    assert len(body.splitlines()) == 3_000


def test_a_looser_contract_accepts_redriven_records_once_it_is_deployed(extended: Copy, deployed: Cloud) -> None:
    new_source = GOOD | {"source": "RUMINT"}
    files = {"fixed": [new_source, GOOD], "still-bad": [new_source, new_source | {"confidence": 1.7}]}
    paths = [json_file(extended.root / f"{name}.json", *records) for name, records in files.items()]
    fixed, still_bad = (deployed.put(path, code=3)["object"]["id"] for path in paths)
    contract = json.loads((extended.root / CONTRACT).read_text(encoding="utf-8"))
    contract["properties"]["source"]["enum"].append("RUMINT")
    json_file(extended.root / CONTRACT, contract)
    extended.run("custody up")

    ran = deployed.custody("redrive", fixed, still_bad, "--json")

    assert ran.code == 3, ran.err
    first, second = ran.json["redrives"]
    assert (first["object"]["id"], first["how"], first["outcome"]) == (fixed, "native", "succeeded")
    assert (second["object"]["id"], second["how"]) == (still_bad, "native")
    assert ".1.Rejected" in second["new_dead_letter"]
    verified = deployed.custody("verify", fixed, still_bad)
    assert verified.code == 0, verified.out
