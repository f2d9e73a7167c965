"""From context to Settings to the stack; synth depends on neither AWS nor Git nor the clock.

The template is the same for every region of a partition; where the region is known, settings that do not fit it are
refused.

`cdk synth -c env=prod` runs this; infra/settings.py lists what else `-c` may set.
"""

import os
import sys
from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra import partitions
from infra.checks import datasets
from infra.checks.datasets import DatasetRefused
from infra.constructs.layer import LayerBuildFailed
from infra.constructs.workflow import StageMissing
from infra.settings import SettingRefused, parse
from infra.stack import Custody

ROOT = Path(__file__).resolve().parent.parent


def build(app: App, root: Path = ROOT) -> Custody:
    """Add the stack that the context asks for to the app, with cdk-nag to check it at synth."""
    settings = parse(app.node.get_all_context())
    # Of the credentials or profile of `cdk`, which sets it.
    partitions.check(settings, os.environ.get("CDK_DEFAULT_REGION"))
    datasets.check(root, settings.default_dataset)
    stack = Custody(app, settings=settings, root=root)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return stack


def main() -> None:
    """Synthesise for the CDK command line."""
    app = App()
    try:
        build(app)
    except (SettingRefused, DatasetRefused, StageMissing, LayerBuildFailed) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    app.synth()


if __name__ == "__main__":
    main()
