"""What the README shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

from custody.deployment.target import ROOT
from tests.support.deployed import Cloud, clean_environment
from tests.support.documents import require_shown


def test_make_run_prints_what_the_readme_shows(cloud: Cloud) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- output of make run -->\n```\n(.*?)```", readme, re.DOTALL)
    assert shown, "the README has the output of make run behind its mark"
    environment = clean_environment() | {"CUSTODY_FOLDER": str(cloud.folder)}
    ran = subprocess.run(
        [sys.executable, "-m", "samples.send"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    require_shown(shown.group(1), ran.stdout.partition("What to try next")[0])


def test_each_command_that_the_readme_names_works(cloud: Cloud, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\.venv/bin/custody (.*?)(?:\s+#.*)?$", readme, re.MULTILINE)
    assert len(commands) == 12
    for command in commands:
        # The same with fewer records, for `make test-large` sends a million of them.
        words = command.replace("1000000", "20000").split()
        ran = cloud.custody(
            *[str(ROOT / word) if word.startswith("samples/") else word for word in words], cwd=tmp_path
        )
        some_rejected = command.startswith(("put samples/objects/two-violations", "put million"))
        assert ran.code == (3 if some_rejected else 0), (command, ran.err)
