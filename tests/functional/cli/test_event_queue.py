"""`custody redrive --events`: events in the queues are listed and replayed; none is lost, none stays hidden."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from custody.deployment.queue_depth import Depth
from custody.recovery import event_queue
from custody.recovery.event_queue import EventResult
from functions.start.handler import handle as start
from tests.support.audit_files import Run
from tests.support.buckets import Buckets, session
from tests.support.command_line import CommandLine

EVENTS = Path(__file__).parents[2] / "events"
EVENT, OF_EVENTBRIDGE = (
    json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("object_created", "eventbridge_object_created")
)
OF_STEP_FUNCTIONS = {
    "detail-type": "Step Functions Execution Status Change",
    "source": "aws.states",
    "detail": {"input": json.dumps({"object": {"key": "mission/2026/a.json"}}), "status": "TIMED_OUT"},
}


class Function:
    """A client of Lambda whose one function is a handler; `refusal` is an error of Lambda itself."""

    def __init__(self, handler: Any = start) -> None:
        self.handler, self.refusal = handler, ""
        self.calls: list[Any] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Any:  # noqa: N803 - as boto3 has it
        assert FunctionName == "start"
        if self.refusal:
            raise ClientError({"Error": {"Code": self.refusal, "Message": ""}}, "Invoke")
        self.calls.append(json.loads(Payload))
        try:
            return {"Payload": io.BytesIO(json.dumps(self.handler(self.calls[-1], None)).encode())}
        except Exception as error:  # noqa: BLE001 - as Lambda does
            answer = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(answer).encode())}


class Queue:
    """A queue of moto: what is put in, what is visible in it, and the results of a replay."""

    def __init__(self) -> None:
        self.sqs: Any = session().client("sqs")
        self.url = self.sqs.create_queue(QueueName="start-dlq")["QueueUrl"]

    def put(self, body: Any, **attributes: str) -> None:
        named = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        text = body if isinstance(body, str) else json.dumps(body)
        self.sqs.send_message(QueueUrl=self.url, MessageBody=text, MessageAttributes=named)

    def put_failed_calls(self, number: int = 1, event: Any = EVENT) -> None:
        """Put what Lambda makes of a failed call."""
        answer = {"errorType": "AccessRefused", "errorMessage": "StartExecution was refused"}
        for _ in range(number):
            self.put({"version": "1.0", "requestPayload": event, "responsePayload": answer})

    def look(self) -> list[EventResult]:
        return list(event_queue.handle_queue(self.sqs, self.url, "start", None))

    def replay(self, function: Any) -> list[EventResult]:
        return list(event_queue.handle_queue(self.sqs, self.url, "start", function))

    @property
    def visible(self) -> int:
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])


@pytest.fixture
def queue(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Queue:  # noqa: ARG001 - moto is up with the buckets
    monkeypatch.setattr(event_queue, "_WAIT_SECONDS", 0)
    return Queue()


def counting(**counts: int) -> Function:
    return Function(lambda _event, _context: {"counts": counts})


def test_a_replayed_event_reaches_its_function_as_it_was_sent_and_is_deleted(queue: Queue) -> None:
    queue.put_failed_calls()
    (listed,) = queue.look()
    function = counting(started=1, started_before=0)
    (replayed,) = queue.replay(function)

    assert (listed.result, listed.done) == ("AccessRefused: StartExecution was refused", None)
    assert (replayed.result, replayed.done, replayed.objects) == ("started", True, ("mission/2026/a.json",))
    assert function.calls == [EVENT]
    assert (queue.visible, queue.replay(function)) == (0, [])


@pytest.mark.parametrize("event", [EVENT, OF_EVENTBRIDGE, OF_STEP_FUNCTIONS])
def test_an_event_is_replayed_whoever_put_it_into_the_queue(queue: Queue, event: Any) -> None:
    """Lambda after its retries, the buffer after its receives, or EventBridge, which may say why."""
    queue.put_failed_calls(event=event)
    queue.put(event)
    queue.put(OF_EVENTBRIDGE, ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="not authorized to call start")
    listed, function = queue.look(), counting(started=1)
    replayed = queue.replay(function)

    assert {each.objects for each in listed} == {("mission/2026/a.json",)}
    assert {each.result for each in listed} == {
        "AccessRefused: StartExecution was refused",
        "all retries failed; see the log of the function",
        "EventBridge could not deliver it: NO_PERMISSIONS: not authorized to call start",
    }
    assert [each.done for each in replayed] == [True] * 3
    assert function.calls.count(event) >= 2
    assert queue.visible == 0


def test_all_events_are_listed_and_replayed_however_many_there_are(queue: Queue) -> None:
    queue.put_failed_calls(25)

    assert len(queue.look()) == queue.visible == 25
    assert [each.done for each in queue.replay(counting())] == [True] * 25
    assert queue.visible == 0


@pytest.mark.parametrize(
    ("refusal", "result"),
    [
        ("", "still refused: MessageRefused: s3://raw/a has no version id"),
        ("TooManyRequestsException", "still refused: An error occurred (TooManyRequestsException)"),
    ],
    ids=["by the function", "by Lambda"],
)
def test_an_event_that_is_refused_again_stays_visible(queue: Queue, refusal: str, result: str) -> None:
    queue.put_failed_calls(
        event={"Records": [{"s3": {"bucket": {"name": "raw"}, "object": {"key": "a", "size": 1, "eTag": "e"}}}]}
    )
    function = Function()
    function.refusal = refusal
    (left,) = queue.replay(function)

    assert not left.done
    assert left.result.startswith(result)
    assert queue.visible == 1


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"counts": {"started": 0, "started_before": 1}}, "already started"),
        ({"counts": {"started": 2, "started_before": 1}}, "2 started, already started"),
        *((answer, "nothing was left to do") for answer in ({"counts": {"dead_letters": 0}}, "text", None)),
        *((answer, "nothing was left to do") for answer in ({"counts": [1]}, {"counts": None})),
    ],
)
def test_an_answer_without_an_error_is_an_acceptance_and_described(queue: Queue, answer: Any, result: str) -> None:
    queue.put_failed_calls()
    assert [(each.done, each.result) for each in queue.replay(Function(lambda *_: answer))] == [(True, result)]


KEYS: list[Any] = [5, None, [], "\udcff"]
MALFORMED = [{"Records": [{"s3": {"object": {"key": key}}}]} for key in KEYS] + [
    {"Records": 1},
    {"Records": [None]},
    {"detail": {"input": 5}},
    {"detail": 1},
]
FOREIGN: list[Any] = [
    "not JSON",
    "[" * 100_000,
    "[]",
    "5",
    {"Records": []},
    {"Records": [5]},
    {"requestPayload": "text"},
]


@pytest.mark.parametrize(
    ("body", "result"),
    [({"requestPayload": event, "responsePayload": {}}, "still refused") for event in MALFORMED]
    + [(body, "not an event of Custody") for body in FOREIGN],
)
def test_a_malformed_event_and_a_foreign_message_are_left_and_the_others_are_replayed(
    queue: Queue, body: Any, result: str
) -> None:
    queue.put(body)
    queue.put_failed_calls()

    def accept_only_the_valid(given: Any, _: Any) -> Any:
        assert given == EVENT
        return {"counts": {"started": 1}}

    replayed = queue.replay(Function(accept_only_the_valid))

    assert sorted(bool(each.done) for each in replayed) == [False, True]
    assert result in next(each.result for each in replayed if not each.done)
    assert queue.visible == 1


def test_an_event_is_deleted_only_after_it_was_accepted(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.put_failed_calls()
    calls: list[Any] = []

    def accept(event: Any, _: Any) -> Any:
        assert queue.sqs.receive_message(QueueUrl=queue.url, VisibilityTimeout=0).get("Messages", []) == []
        attributes = ["ApproximateNumberOfMessagesNotVisible"]
        hidden = queue.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=attributes)["Attributes"]
        assert hidden == {"ApproximateNumberOfMessagesNotVisible": "1"}, "it is in the queue, but nobody else sees it"
        calls.append(event)
        return {"counts": {"started": int(len(calls) == 1), "started_before": int(len(calls) > 1)}}

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "RequestThrottled", "Message": ""}}, "DeleteMessage")

    with monkeypatch.context() as broken:
        broken.setattr(queue.sqs, "delete_message", refuse)
        (left,) = queue.replay(Function(accept))
    assert not left.done
    assert "still in the queue" in left.result
    (replayed,) = queue.replay(Function(accept))

    assert (replayed.done, replayed.result) == (True, "already started")
    assert queue.visible == 0


def test_an_interrupted_replay_hides_nothing(queue: Queue) -> None:
    queue.put_failed_calls(3)
    function: Any = counting()
    replay = event_queue.handle_queue(queue.sqs, queue.url, "start", function)
    next(replay)
    replay.close()

    assert queue.visible == 2


@pytest.fixture
def run(command_line: CommandLine, queue: Queue) -> Run:
    """Return `custody redrive`, on queues of moto."""
    command_line.clients |= {"sqs": queue.sqs, "lambda": counting(started=1)}
    command_line.deploy(
        start_dlq_url=queue.url,
        dead_letter_dlq_url=queue.sqs.create_queue(QueueName="dead-letter-dlq")["QueueUrl"],
        start_function="start",
        dead_letter_function="start",
    )
    return command_line.command("redrive")


def test_hidden_messages_are_counted(run: Run, queue: Queue) -> None:
    queue.put_failed_calls(4)
    queue.sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=3, VisibilityTimeout=60)
    listed = run("--events", "--dry-run")
    replayed = run("--events", "--json")

    assert listed.exit_code == 0
    assert "1 waiting" in listed.output
    assert "3 more are hidden because somebody else has received them; look again in a few minutes" in listed.output
    assert (replayed.exit_code, json.loads(replayed.stdout)["hidden"]) == (1, 3), "not all is handled"


def test_an_empty_queue_is_a_success(run: Run) -> None:
    assert (run("--events").exit_code, run("--events").stdout) == (0, "no event is waiting\n")


def test_ctrl_c_in_a_replay_reports_what_was_handled_and_leaves_the_rest(
    run: Run, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.put_failed_calls(3)
    calls: list[Any] = []

    def interrupt_the_second(_: Function, **parameters: Any) -> Any:
        calls.append(parameters)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"Payload": io.BytesIO(b'{"counts": {"started": 1}}')}

    monkeypatch.setattr(Function, "invoke", interrupt_the_second)
    ran = run("--events", "--json")

    assert ran.exit_code == 130
    assert [event["result"] for event in json.loads(ran.stdout)["events"]] == ["started"]
    assert queue.visible == 2


def test_our_own_look_is_not_attributed_to_somebody_else() -> None:
    """The numbers of SQS may be a minute old."""
    assert Depth(visible=0, hidden=4).hidden_beside(4) == 0
    assert Depth(visible=1, hidden=3).hidden_beside(1) == 3
    assert Depth(visible=1, hidden=0).hidden_beside(9) == 0
