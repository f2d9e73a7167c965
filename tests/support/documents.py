"""What a document shows to be typed, run as one who follows it would: in one shell, from the top to the bottom."""

import re
import subprocess
from dataclasses import dataclass, field

from custody.deployment.target import ROOT
from tests.support.deployed import Cloud, clean_environment

_SHELL = r"^( *)```sh\n(.*?)^ *```$"
_OUTPUT = r"(?:\n\n *```\n(.*?)^ *```$)?"
_RULE = re.compile(r"^[-+|─═\s]+$", re.MULTILINE)
"""A line that only parts others, as in a table: as long as what stands there."""

_KEPT = "--- what the next block has ---"


def read(name: str) -> str:
    """Read a document by its path from the root of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Give the sections of a document by their titles; what stands before the first one has the title ``."""
    first, *others = re.split(r"^## ", text, flags=re.MULTILINE)
    return {"": first} | {title: body for title, _, body in (part.partition("\n") for part in others)}


def blocks(text: str) -> list[str]:
    """Give the shell blocks of a part of a document, as one would type them."""
    return [block for block, _ in examples(text)]


def examples(text: str) -> list[tuple[str, str]]:
    """Give the shell blocks of a part of a document, each with the output that is shown below it, if any is."""
    found = re.findall(_SHELL + _OUTPUT, text, re.MULTILINE | re.DOTALL)
    return [
        ("\n".join(line.removeprefix(indent) for line in block.splitlines()), shown) for indent, block, shown in found
    ]


def as_said(block: str) -> str:
    """Make a block go on behind a command only if that ends with the code that is said behind it, and with no other.

    `# exit code 3` is that code, `# exit code 3 if …` that one or 0.
    """

    def checked(found: re.Match[str]) -> str:
        codes = [*re.findall(r"\d+", found[0]), *(["0"] if " if " in found[0] else [])]
        wrong = f'{{ echo "it ended with ${{CODE:-0}}, and not {" or ".join(codes)}" >&2; exit 99; }}'
        return f'|| CODE=$?\n[[ " {" ".join(codes)} " == *" ${{CODE:-0}} "* ]] || {wrong}; unset CODE'

    return re.sub(r"# exit code .*$", checked, block, flags=re.MULTILINE)


def require_shown(shown: str, printed: str) -> None:
    """Fail unless what a document shows is what was printed.

    White space does not count. `…` in a word stands for any characters of it, as a word for any words.
    """
    pattern = "".join(map(_as_pattern, _words(shown)))
    is_shown = re.fullmatch(pattern, "".join(f"{word} " for word in _words(printed)))
    assert is_shown, f"the document shows\n{shown}\nand this was printed\n{printed}"


def _words(text: str) -> list[str]:
    """Split what is shown or printed, without the lines of tables."""
    return _RULE.sub("", text).replace("|", " ").split()


def _as_pattern(word: str) -> str:
    return r"(?:\S+ )*?" if word == "…" else re.escape(word).replace("…", r"\S*") + " "


@dataclass
class Shell:
    """One session of somebody who follows a document: what a block sets, the next one has.

    `answers` are what stands in the place of each `<placeholder>`; `before` are the lines that were typed before;
    `complaint` is what the last block printed as an error.
    """

    cloud: Cloud
    answers: dict[str, str] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    complaint: str = ""

    def run(self, block: str) -> str:
        """Run a block with each `<placeholder>` filled in, and give what it prints.

        It fails unless each command ends as `as_said` has it or, where nothing is said, with 0.
        """
        for placeholder, answer in self.answers.items():
            block = block.replace(f"<{placeholder}>", answer)
        assert not (left := re.findall(r"\"<[a-z ]+>\"", block)), f"nothing is known for {left}"
        names = " ".join(re.findall(r"^([A-Z]+)=", block, re.MULTILINE))
        keep = f"trap 'echo \"{_KEPT}\"; declare -p {names} 2>/dev/null || true' EXIT"
        script = "\n".join(["set -euo pipefail", *self.before, *([keep] if names else []), as_said(block)])
        environment = clean_environment() | {"CUSTODY_FOLDER": str(self.cloud.folder)}
        done = subprocess.run(  # noqa: S603 - the document's own commands
            ["/bin/bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        printed, _, kept = done.stdout.partition(f"{_KEPT}\n")
        self.before += [kept] if kept else []
        self.complaint = done.stderr
        return printed

    def show(self, block: str, shown: str) -> None:
        """Run a block; fail unless it prints what is shown below it, if anything is."""
        printed = self.run(block)
        if shown:
            require_shown(shown, printed + self.complaint)
