"""How many messages a queue holds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True)
class Depth:
    """The approximate number of messages that can be received, and of those that somebody has just received."""

    visible: int
    hidden: int

    @property
    def total(self) -> int:
        """All messages."""
        return self.visible + self.hidden

    def hidden_beside(self, received: int) -> int:
        """Count those that somebody else holds after we have `received` some; SQS may lag by as much as a minute."""
        return max(0, min(self.hidden, self.total - received))


def depth(sqs: "SQSClient", queue_url: str) -> Depth:
    """Count the messages of a queue."""
    attributes = sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    )["Attributes"]
    return Depth(
        int(attributes["ApproximateNumberOfMessages"]), int(attributes["ApproximateNumberOfMessagesNotVisible"])
    )
