"""The number of messages in a queue."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True)
class Depth:
    """Approximate numbers of messages that are visible, and hidden because they were received recently."""

    visible: int
    hidden: int

    @property
    def total(self) -> int:
        """The number of all messages."""
        return self.visible + self.hidden

    def hidden_beside(self, received: int) -> int:
        """Count the messages that other consumers hold, besides `received` of ours; SQS may lag by a minute."""
        return max(0, min(self.hidden, self.total - received))


def depth(sqs: "SQSClient", queue_url: str) -> Depth:
    """Count the messages of a queue."""
    attributes = sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    )["Attributes"]
    return Depth(
        int(attributes["ApproximateNumberOfMessages"]), int(attributes["ApproximateNumberOfMessagesNotVisible"])
    )
