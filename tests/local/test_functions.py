"""Functions fail, log, wait and see what they would on AWS."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.embedded_aws import EmbeddedAws, zipped

REJECTING = """
    import os

    class RecordsRejected(Exception):
        pass

    def handler(event, context):
        raise RecordsRejected(f"rejected by {os.getpid()}")
"""
SLEEPING = "import os, time\ndef handler(event, context):\n    time.sleep(0.02)\n    return os.getpid()\n"


@pytest.fixture(scope="module")
def rejecting(cloud: EmbeddedAws) -> str:
    cloud.function("rejecting", REJECTING)
    return "rejecting"


# https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html


def test_a_raised_exception_is_reported_by_its_class_name_and_its_environment_survives(
    cloud: EmbeddedAws, rejecting: str
) -> None:
    cold, warm = cloud.call(rejecting), cloud.call(rejecting)
    assert cold["errorMessage"] == warm["errorMessage"], "the worker was thrown away"
    for answer in (cold, warm):
        assert answer["errorType"] == "RecordsRejected"
        assert answer["errorMessage"].startswith("rejected by ")
        assert len(answer["stackTrace"]) == 1
        assert answer["stackTrace"][0].startswith('  File "/var/task/index.py", line ')


def test_an_exception_at_init_is_reported_by_its_class_name(cloud: EmbeddedAws) -> None:
    cloud.function("unset", "class SettingMissing(Exception): pass\nraise SettingMissing('MODE')\n")
    answer = cloud.call("unset")
    assert (answer["errorType"], answer["errorMessage"]) == ("SettingMissing", "MODE")


def test_a_timeout_is_sandbox_timedout(cloud: EmbeddedAws) -> None:
    cloud.function("slow", "import time\ndef handler(event, context): time.sleep(9)\n", Timeout=1)
    answer = cloud.call("slow")
    assert answer["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in answer["errorMessage"]


def test_a_handler_does_not_see_the_developers_machine(cloud: EmbeddedAws) -> None:
    source = """
        import importlib.util, os
        import boto3

        def handler(event, context):
            return {"variables": dict(os.environ), "importable": [n for n in event if importlib.util.find_spec(n)]}
    """
    cloud.function("curious", source, Environment={"Variables": {"MODE": "test"}})
    seen = cloud.call("curious", ["boto3", "ministack", "pytest", "moto", "local", "functions"])
    assert seen["importable"] == ["boto3"], "a package that AWS's runtime lacks can be imported"
    strange = {name for name in seen["variables"] if not name.startswith(("AWS_", "LAMBDA_", "_"))}
    assert strange <= {"PATH", "LANG", "TZ", "HOME", "TMPDIR", "PYTHONUTF8", "LC_CTYPE", "MODE"}
    assert seen["variables"]["MODE"] == "test"
    assert seen["variables"]["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.14"


def test_a_layer_is_on_the_path(cloud: EmbeddedAws) -> None:
    content = zipped({"python/greeting.py": "TEXT = 'from the layer'\n"})
    layer = cloud.functions.publish_layer_version(LayerName="greeting", Content={"ZipFile": content})
    source = "import greeting\ndef handler(event, context): return greeting.TEXT\n"
    cloud.function("layered", source, Layers=[layer["LayerVersionArn"]])
    assert cloud.call("layered") == "from the layer"


def test_json_logs_arrive_in_the_log_group_of_the_function(cloud: EmbeddedAws) -> None:
    source = """
        import json

        def handler(event, context):
            print(json.dumps({"level": "INFO", "request": context.aws_request_id}))
            raise ValueError("bad")
    """
    cloud.function("logging", source, LoggingConfig={"LogFormat": "JSON", "LogGroup": "/own/group"})
    answer = cloud.call("logging")
    events = cloud.logs.filter_log_events(logGroupName="/own/group")["events"]
    lines = [json.loads(event["message"]) for event in events if event["message"].startswith("{")]
    assert lines[0] == {"level": "INFO", "request": answer["requestId"]}
    assert (lines[1]["level"], lines[1]["errorType"], lines[1]["requestId"]) == (
        "ERROR",
        "ValueError",
        answer["requestId"],
    )


def test_a_hundred_calls_at_once_all_succeed_on_few_workers(cloud: EmbeddedAws) -> None:
    cloud.function("popular", SLEEPING, Timeout=60)
    with ThreadPoolExecutor(100) as pool:
        pids = list(pool.map(lambda _: cloud.call("popular"), range(100)))
    assert all(isinstance(pid, int) for pid in pids), [pid for pid in pids if not isinstance(pid, int)][:3]
    assert len(set(pids)) <= 3


def test_calls_beyond_the_reserved_concurrency_wait_and_zero_disables(cloud: EmbeddedAws) -> None:
    cloud.function("reserved", SLEEPING)
    cloud.functions.put_function_concurrency(FunctionName="reserved", ReservedConcurrentExecutions=1)
    with ThreadPoolExecutor(10) as pool:
        assert len(set(pool.map(lambda _: cloud.call("reserved"), range(10)))) == 1
    cloud.functions.put_function_concurrency(FunctionName="reserved", ReservedConcurrentExecutions=0)
    with pytest.raises(cloud.functions.exceptions.TooManyRequestsException):
        cloud.call("reserved")
