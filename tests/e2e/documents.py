"""What a document shows to be typed, run as one who follows it would: in one shell, from the top to the bottom."""

import re
import subprocess
from dataclasses import dataclass, field

from custody.target import ROOT
from tests.e2e.conftest import Cloud, clean_environment


def read(name: str) -> str:
    """Read a document by its path from the root of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Give the sections of a document by their titles; what stands before the first one has the title ``."""
    first, *others = re.split(r"^## ", text, flags=re.MULTILINE)
    return {"": first} | {title: body for title, _, body in (part.partition("\n") for part in others)}


def blocks(text: str) -> list[str]:
    """Give the shell blocks of a part of a document, as one would type them."""
    found = re.findall(r"^( *)```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in body.splitlines()) for indent, body in found]


@dataclass
class Shell:
    """One session of somebody who follows a document: what a block sets, the next one has.

    `answers` are what stands in the place of each `<placeholder>`; `before` are the lines that were typed before.
    """

    cloud: Cloud
    answers: dict[str, str] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)

    def run(self, block: str) -> str:
        """Run a block with each `<placeholder>` filled in, and give what it prints.

        It fails unless the block ends as it says that it does, by `# exit code N` behind a command, or else with 0.
        """
        for placeholder, answer in self.answers.items():
            block = block.replace(f"<{placeholder}>", answer)
        assert not (left := re.findall(r"\"<[a-z ]+>\"", block)), f"nothing is known for {left}"
        environment = clean_environment() | {"CUSTODY_FOLDER": str(self.cloud.folder)}
        script = "\n".join(["set -euo pipefail", *self.before, block])
        done = subprocess.run(  # noqa: S603 - the document's own commands
            ["/bin/bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        expected = {0, *map(int, re.findall(r"# exit code (\d)", block))}
        assert done.returncode in expected, f"{block}\n{done.stdout}\n{done.stderr}"
        self.before += [line for line in block.splitlines() if re.match(r"[A-Z]+=\"", line)]
        return done.stdout
