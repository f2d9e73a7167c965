"""The CDK app: what is deployed to AWS, and nothing of what it does there."""

import os
import sys
from pathlib import Path

# aws_cdk runs on Node, and looks for it here when it is imported. So the app gets the Node of its own virtual
# environment, whatever PATH it is started with (https://aws.github.io/jsii/user-guides/lib-user/configuration/).
_NODE = Path(sys.executable).with_name("node")
if _NODE.exists():
    os.environ.setdefault("JSII_NODE", str(_NODE))
