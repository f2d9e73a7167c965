"""The README.md of each dataset: what its records are, and the fields of its contract."""

import json
from pathlib import Path

from docs.generator.markdown import table


def readme(folder: Path) -> str:
    """Describe the dataset in a folder, from dataset.json and the properties at the top of its contract."""
    contract = json.loads((folder / "contract.schema.json").read_text(encoding="utf-8"))
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["description"]
    rows = [
        (
            f"`{name}`",
            "yes" if name in contract.get("required", []) else "no",
            rules.get("description", ""),
            "; ".join(f"{key} `{json.dumps(value)}`" for key, value in rules.items() if key != "description"),
        )
        for name, rules in contract.get("properties", {}).items()
    ]
    fields = table(("field", "required", "meaning", "rules"), rows)
    origin = f"Written by `make docs`; the contract is `{contract['$id']}`."
    return f"# {folder.name}\n\n{description}\n\n{fields}\n\n{origin}\n"
