"""Queues hide what is being worked on, and give it back.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
"""

from functools import partial
from typing import Any

from tests.support.embedded_aws import EmbeddedAws, until


def test_a_message_is_hidden_when_received_comes_back_and_is_gone_when_deleted(cloud: EmbeddedAws) -> None:
    url = cloud.queues.create_queue(QueueName="hiding", Attributes={"VisibilityTimeout": "1"})["QueueUrl"]

    def receive() -> Any:
        return cloud.queues.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"]).get("Messages")

    def counts() -> tuple[int, int]:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = cloud.queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    cloud.queues.send_message(QueueUrl=url, MessageBody="work")
    assert counts() == (1, 0)
    assert receive()[0]["Body"] == "work"
    assert receive() is None
    assert counts() == (0, 1)
    (message,) = until(partial(receive), "the message again")
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"
    cloud.queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert counts() == (0, 0)
