"""Run what a document tells its reader to type, in one shell from top to bottom, and compare the output it shows."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from custody.deployment.queue_depth import depth
from custody.deployment.target import ROOT
from tests.support.breaking import end_of_execution, until
from tests.support.deployed import Cloud, clean_environment

GOOD = {"mission": "space", "source": "MASINT", "confidence": 0.95}
BAD = GOOD | {"confidence": 1.7}

_SHELL = r"^( *)```sh\n(.*?)^ *```$"
_OUTPUT = r"(?:\n\n *```\n(.*?)^ *```$)?"
_RULE = re.compile(r"^[-+|─═\s]+$", re.MULTILINE)
"""A line that only separates rows of a table; its length varies with the contents."""

_KEPT = "--- variables and functions for the next block ---"


def read(name: str) -> str:
    """Read a document by its path from the root of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def sections(text: str, level: str = "##") -> dict[str, str]:
    """Split a document into its sections by title; the text before the first one has an empty title."""
    first, *others = re.split(rf"^{level} ", text, flags=re.MULTILINE)
    return {"": first} | {title: body for title, _, body in (part.partition("\n") for part in others)}


def blocks(text: str) -> list[str]:
    """List the shell blocks of a text, without their indentation."""
    return [block for block, _ in examples(text)]


def examples(text: str) -> list[tuple[str, str]]:
    """List the shell blocks of a text, each with the output shown below it, or an empty string."""
    matches = re.findall(_SHELL + _OUTPUT, text, re.MULTILINE | re.DOTALL)
    return [
        ("\n".join(line.removeprefix(indent) for line in block.splitlines()), shown) for indent, block, shown in matches
    ]


def check_exit_codes(block: str) -> str:
    """Make a block stop unless a command with the comment `# exit code 3` exits with that code.

    `# exit code 3 if …` also allows 0.
    """

    def check(comment: re.Match[str]) -> str:
        codes = [*re.findall(r"\d+", comment[0]), *(["0"] if " if " in comment[0] else [])]
        wrong = f'{{ echo "exit code ${{CODE:-0}}, expected {" or ".join(codes)}" >&2; exit 99; }}'
        return f'|| CODE=$?\n[[ " {" ".join(codes)} " == *" ${{CODE:-0}} "* ]] || {wrong}; unset CODE'

    return re.sub(r"# exit code .*$", check, block, flags=re.MULTILINE)


def require_shown(shown: str, printed: str) -> None:
    """Fail unless a document shows what was printed.

    White space does not count. `…` matches any characters within a word, and as a word, any words.
    """
    pattern = "".join(map(_as_pattern, _words(shown)))
    is_shown = re.fullmatch(pattern, "".join(f"{word} " for word in _words(printed)))
    assert is_shown, f"the document shows\n{shown}\nthe command printed\n{printed}"


def _words(text: str) -> list[str]:
    return _RULE.sub("", text).replace("|", " ").split()


def _as_pattern(word: str) -> str:
    return r"(?:\S+ )*?" if word == "…" else re.escape(word).replace("…", r"\S*") + " "


@dataclass
class Shell:
    """The shell of a reader: variables and functions of one block are there in the next.

    `answers` replace each `<placeholder>`; `preamble` has the lines typed before; `stderr` is that of the last block.
    """

    cloud: Cloud
    answers: dict[str, str] = field(default_factory=dict)
    preamble: list[str] = field(default_factory=list)
    stderr: str = ""

    def run(self, block: str) -> str:
        """Run a block and return its output; fail unless each command exits with 0 or the code its comment names."""
        for placeholder, answer in self.answers.items():
            block = block.replace(f"<{placeholder}>", answer)
        unanswered = re.findall(r"\"<[a-z ]+>\"", block)
        assert not unanswered, f"no answer for {unanswered}"
        variables = " ".join(re.findall(r"^(?:export )?([A-Z_]+)=", block, re.MULTILINE))
        functions = " ".join(re.findall(r"^(\w+)\(\)", block, re.MULTILINE))
        keep = [f"declare -p {variables} 2>/dev/null"] if variables else []
        keep += [f"declare -f {functions}"] if functions else []
        trap = [f"trap 'echo \"{_KEPT}\"; {'; '.join(keep)} || true' EXIT"] if keep else []
        script = "\n".join(["set -euo pipefail", *self.preamble, *trap, check_exit_codes(block)])
        environment = clean_environment() | {"CUSTODY_FOLDER": str(self.cloud.folder)}
        done = subprocess.run(  # noqa: S603 - the document's own commands
            ["/bin/bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        printed, _, kept = done.stdout.partition(f"{_KEPT}\n")
        self.preamble += [kept] if kept else []
        self.stderr = done.stderr
        return printed

    def show(self, block: str, shown: str) -> str:
        """Run a block and return its output; fail unless it is the output shown below the block, if any."""
        printed = self.run(block)
        if shown:
            require_shown(shown, printed + self.stderr)
        return printed

    def follow(self, section: str, after_block: Callable[[], Any] = lambda: None) -> list[str]:
        """Run all blocks of a section, compare their output, and return it."""
        outputs = []
        for block, shown in examples(section):
            outputs.append(self.show(block, shown))
            after_block()
        return outputs


def put(cloud: Cloud, folder: Path, name: str, *records: Any) -> Any:
    """Put records as `NAME.json` without waiting; return the object and the ARN of its execution."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    sent = cloud.put(path, "--no-wait")
    return sent["object"] | {"execution": sent["execution"]}


def wait_for_dead_letter(cloud: Cloud, sent: Any) -> str:
    """Wait for the dead letter of an object and return its id."""
    prefix = f"dead-letters/dt={datetime.now(UTC):%Y-%m-%d}/{sent['id']}/"
    keys = until(lambda: cloud.keys(cloud.deployment.audit, prefix), 60, f"a dead letter of {sent['id']}")
    return str(keys[-1]).removeprefix("dead-letters/").removesuffix(".json")


def attempts(cloud: Cloud, sent: Any) -> list[str]:
    """List the committed attempts of an object."""
    return [key.split(".")[1] for key in cloud.keys(cloud.deployment.audit, f"ledger/{sent['id']}/")]


def wait_for_end(cloud: Cloud, *keys: str) -> None:
    """Wait until the executions of the latest versions of raw objects have ended, for the keys that exist."""
    s3, deployment = cloud.client("s3"), cloud.deployment
    for key in keys:
        if key in cloud.keys(deployment.raw, key):
            head = s3.head_object(Bucket=deployment.raw, Key=key)
            end_of_execution(cloud, key, head, head["ContentLength"], 60)


def queue_length(cloud: Cloud, url: str) -> int:
    """Count the messages of a queue, visible or in flight."""
    return depth(cloud.client("sqs"), url).total


@contextmanager
def without_events(cloud: Cloud) -> Iterator[None]:
    """Remove the notifications of the raw bucket, and restore them."""
    s3, bucket = cloud.client("s3"), cloud.deployment.raw
    configured = s3.get_bucket_notification_configuration(Bucket=bucket)
    configured.pop("ResponseMetadata", None)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    try:
        yield
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configured)
