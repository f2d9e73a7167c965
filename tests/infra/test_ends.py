"""Failures that no Catch sees: their events reach the function that writes dead letters, or a queue."""

from tests.support.template import ACCOUNT, REGION, Deployment


def test_every_failed_execution_of_the_machines_reaches_the_dead_letter_function(deployment: Deployment) -> None:
    rule = deployment.of_type("AWS::Events::Rule")[f"custody-{deployment.env}-ends"]

    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "status": ["FAILED", "TIMED_OUT", "ABORTED"],
            # Chunks have the machine `…-bulk/ProcessChunks`; Summarize covers them.
            "stateMachineArn": [
                f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:custody-{deployment.env}-{machine}"
                for machine in ("pipeline", "bulk")
            ],
        },
    }


def test_an_event_that_cannot_be_delivered_is_retried_and_then_kept(deployment: Deployment) -> None:
    rule = deployment.of_type("AWS::Events::Rule")[f"custody-{deployment.env}-ends"]
    (target,) = rule["Targets"]

    assert target["Arn"].endswith(f":function:custody-{deployment.env}-dead-letter")
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 6 * 3600}
    assert target["DeadLetterConfig"] == {
        "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:custody-{deployment.env}-dead-letter-dlq"
    }


def test_the_rule_may_send_to_the_dead_letter_dlq(deployment: Deployment) -> None:
    statements = [
        statement
        for statement in deployment.policy("AWS::SQS::QueuePolicy")
        if statement.get("Principal") == {"Service": "events.amazonaws.com"}
        and statement["Resource"].endswith("-dead-letter-dlq")
    ]

    assert [(each["Effect"], each["Action"]) for each in statements] == [("Allow", "sqs:SendMessage")]
