"""A Task whose function is throttled fails by the name that its Retry knows, and is retried.

https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
"""

from tests.local.test_machines import one, task
from tests.support.embedded_aws import EmbeddedAws

THROTTLED = "Lambda.TooManyRequestsException"


def test_a_throttled_task_fails_by_the_name_of_the_throttle(cloud: EmbeddedAws) -> None:
    function = cloud.function("throttled", "def handler(event, context): return event\n")
    cloud.functions.put_function_concurrency(FunctionName="throttled", ReservedConcurrentExecutions=0)
    retry = [{"ErrorEquals": [THROTTLED], "IntervalSeconds": 1, "MaxAttempts": 1, "MaxDelaySeconds": 1}]
    ended = cloud.run(cloud.machine("throttling", one(task(function, Retry=retry))))
    assert (ended["status"], ended["error"]) == ("FAILED", THROTTLED)
    assert "ReservedFunctionConcurrentInvocationLimitExceeded" in ended["cause"]
    history = cloud.machines.get_execution_history(executionArn=ended["executionArn"])["events"]
    assert [e["taskFailedEventDetails"]["error"] for e in history if e["type"] == "TaskFailed"] == [THROTTLED] * 2
