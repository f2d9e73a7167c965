"""A running embedded AWS: its record, its environment, and how to find it again."""

import http.client
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from local import processes

RECORD = "local.json"
PROFILE = "aws.ini"
HOST = "127.0.0.1"
_HEALTH_PATH = "/_ministack/health"
_HEALTH_SECONDS = 2.0


@dataclass(frozen=True)
class Instance:
    """A running embedded AWS.

    `token` is in the server's command line, to distinguish its process from another one with the same id.
    """

    endpoint: str
    port: int
    pid: int
    region: str
    account: str
    token: str
    folder: Path
    persist: bool = False

    @property
    def access_key(self) -> str:
        """An access key for this account only: the CDK CLI caches the account of each key."""
        return access_key(self.account)

    def environment(self) -> dict[str, str]:
        """Return the variables that boto3, the AWS CLI and the CDK CLI need, overriding any for real AWS.

        Apply it over an existing environment: `{**os.environ, **instance.environment()}`. AWS_PROFILE cannot be empty
        (botocore looks up a profile of that name), so it names the only profile of a file with the same settings.
        """
        profile = str(self.folder / PROFILE)
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": "",
            "AWS_PROFILE": "default",
            "AWS_DEFAULT_PROFILE": "default",
            "AWS_CONFIG_FILE": profile,
            "AWS_SHARED_CREDENTIALS_FILE": profile,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def is_up(self) -> bool:
        """Whether the server's process is alive and answers."""
        return processes.runs_with(self.pid, self.token) and self.answers()

    def answers(self, seconds: float = _HEALTH_SECONDS) -> bool:
        """Whether the health endpoint answers within `seconds`."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=seconds)
        try:
            connection.request("GET", _HEALTH_PATH)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def write(self) -> None:
        """Write the record that `find` reads, and the profile that `environment` refers to."""
        record = asdict(replace(self, folder=Path())) | {"folder": None}
        _write_private(self.folder / RECORD, json.dumps(record, indent=2) + "\n")
        _write_private(
            self.folder / PROFILE,
            f"[default]\naws_access_key_id = {self.access_key}\naws_secret_access_key = {SECRET_KEY}\n"
            f"region = {self.region}\nendpoint_url = {self.endpoint}\n",
        )

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the record in `folder`; None if there is none, or it is invalid."""
        try:
            record = json.loads((folder / RECORD).read_text())
            return cls(**{**record, "folder": folder})
        except (OSError, ValueError, TypeError):
            return None


SECRET_KEY = "local"  # noqa: S105 - it protects nothing: the server listens on loopback only


def access_key(account: str) -> str:
    """Return the root access key of an account."""
    return f"AKIALOCAL{account}"


def find(folder: Path) -> Instance | None:
    """Find the running embedded AWS of `folder`; None if there is none, or only the record of a dead server."""
    instance = Instance.read(folder.resolve())
    return instance if instance is not None and instance.is_up() else None


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
