"""Open dead letters are redriven, and start-dlq events replayed; what goes wrong with one stops no other."""

import gzip
import io
import json
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from custody.audit.dead_letters import Filter, select
from custody.audit.reader import AuditReader
from custody.executions.pipeline import Pipeline
from custody.recovery import event_queue
from custody.recovery.event_queue import Replayed
from custody.recovery.redrive import Redriver, Tally
from custody.recovery.redrive_plan import How, Outcome, Plan, Redrive, Wanted, chosen
from custody.terminal import signals
from functions.shared.model.messages import Batch
from functions.shared.records.strict_json import encode
from functions.start.handler import handle as start
from tests.support.audit_files import Run
from tests.support.buckets import Buckets
from tests.support.command_line import CommandLine
from tests.support.executions import MACHINE_ARN, STARTED, Machine, arn_of, commit, discard, post

EVENTS = Path(__file__).parents[2] / "events"
EVENT, OF_EVENTBRIDGE = (
    json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("object_created", "eventbridge_object_created")
)
FAST = 10_000.0


@pytest.fixture
def machine(buckets: Buckets) -> Machine:  # noqa: ARG001 - the client of a machine stands on moto
    return Machine()


def redriver_on(buckets: Buckets, machine: Machine) -> Redriver:
    client: Any = machine
    return Redriver(AuditReader(buckets.s3, "audit"), Pipeline(client, MACHINE_ARN), pause=0.001)


def plans_for(redriver: Redriver, **wanted: Any) -> list[Plan]:
    return redriver.plan(chosen(map(Wanted.of, select(redriver.audit, Filter(**wanted)))))


def redriven(redriver: Redriver, seconds: float = 10) -> list[Redrive]:
    begun = list(redriver.begin(plans_for(redriver), FAST))
    over = [one for one in begun if one.status is None]
    return over + list(redriver.watch([one for one in begun if one.status], seconds))


def fail(buckets: Buckets, machine: Machine, key: str, **more: Any) -> Batch:
    """Leave an execution that failed, and its dead letter."""
    batch = buckets.upload(key, b"{}")
    arn = machine.add(batch, **more)
    post(buckets, batch, arn=arn)
    return batch


def test_what_failed_is_redriven_and_followed_to_its_end(buckets: Buckets, machine: Machine) -> None:
    for key in ("a.json", "b.json", "c.json"):
        fail(buckets, machine, key)
    done = redriven(redriver_on(buckets, machine))

    assert [one.outcome for one in done] == [Outcome.SUCCEEDED] * 3
    assert len(set(machine.tokens)) == 3, "each execution was redriven once"


def test_what_fails_again_has_a_new_dead_letter(buckets: Buckets, machine: Machine) -> None:
    batch = fail(buckets, machine, "a.json")
    machine.ends = {"status": "FAILED", "error": "AccessRefused"}
    redriver = redriver_on(buckets, machine)
    begun = list(redriver.begin(plans_for(redriver), FAST))
    dead_letter = post(buckets, Batch(batch.object, attempt=1))
    (done,) = redriver.watch(begun, 10)

    assert (done.outcome, done.error, done.dead_letter) == (Outcome.FAILED, "AccessRefused", dead_letter)


def test_what_runs_still_when_the_time_is_up_is_said_to_run(buckets: Buckets, machine: Machine) -> None:
    fail(buckets, machine, "a.json")
    machine.ends = {"status": "RUNNING"}

    assert [one.outcome for one in redriven(redriver_on(buckets, machine), seconds=0.05)] == [Outcome.RUNNING]


def test_an_old_answer_is_not_taken_for_the_end(buckets: Buckets, machine: Machine) -> None:
    """Step Functions may tell of the earlier failure for a while."""
    batch = fail(buckets, machine, "a.json")
    redriver = redriver_on(buckets, machine)
    begun = list(redriver.begin(plans_for(redriver), FAST))
    machine.add(batch, "FAILED", redrives=0)

    assert [one.outcome for one in redriver.watch(begun, 0.05)] == [Outcome.RUNNING]


def test_somebody_else_who_redrives_first_is_no_failure_of_the_others(buckets: Buckets, machine: Machine) -> None:
    quicker, finished, other = (fail(buckets, machine, key) for key in ("a.json", "b.json", "c.json"))
    redriver = redriver_on(buckets, machine)
    plans = plans_for(redriver)
    for batch, status in ((quicker, "RUNNING"), (finished, "SUCCEEDED")):
        machine.refusals[machine.add(batch, status, redrives=1)] = "ExecutionNotRedrivable"
    begun = {one.plan.wanted.raw.key: one for one in redriver.begin(plans, FAST)}

    assert begun[quicker.object.key].outcome is Outcome.IN_FLIGHT
    assert begun[finished.object.key].outcome is Outcome.CLOSED
    assert begun[other.object.key].status == "RUNNING"


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExecutionLimitExceeded", "ExecutionNotRedrivable"])
def test_what_step_functions_refuses_is_told_and_the_others_go_on(
    buckets: Buckets, machine: Machine, code: str
) -> None:
    refused = fail(buckets, machine, "a.json")
    fail(buckets, machine, "b.json")
    machine.refusals[arn_of(refused.object.id)] = code
    done = {one.plan.wanted.raw.key: one for one in redriven(redriver_on(buckets, machine))}

    assert done["a.json"].outcome is Outcome.REFUSED
    assert code in done["a.json"].plan.why
    assert done["b.json"].outcome is Outcome.SUCCEEDED


def test_a_changed_definition_is_given_a_new_execution_as_start_would(buckets: Buckets, machine: Machine) -> None:
    batch = fail(buckets, machine, "a.json")
    arn = arn_of(batch.object.id)
    machine.definitions[arn] = ("before", "r1")
    (done,) = redriven(redriver_on(buckets, machine))

    assert (done.outcome, done.plan.how) == (Outcome.SUCCEEDED, How.NEW)
    assert done.execution == arn_of(f"{batch.object.id}-r1")
    wanted = encode(Batch(batch.object, attempt=1, redrive_of=arn).encode()).decode()
    assert machine.executions[done.execution]["input"] == wanted


def test_a_name_that_is_taken_is_passed_over_when_its_execution_has_ended(buckets: Buckets, machine: Machine) -> None:
    batch = fail(buckets, machine, "a.json")
    machine.definitions[arn_of(batch.object.id)] = ("before", "r1")
    redriver = redriver_on(buckets, machine)
    plans = plans_for(redriver)
    taken = machine.add(Batch(batch.object, attempt=1), "FAILED", redrives=2)
    (begun,) = redriver.begin(plans, FAST)

    assert (begun.plan.attempt, begun.execution) == (4, arn_of(f"{batch.object.id}-r4"))
    assert json.loads(machine.executions[begun.execution]["input"])["redrive_of"] == taken


def test_a_name_that_is_taken_by_a_running_execution_is_in_flight(buckets: Buckets, machine: Machine) -> None:
    batch = fail(buckets, machine, "a.json")
    machine.definitions[arn_of(batch.object.id)] = ("before", "r1")
    redriver = redriver_on(buckets, machine)
    plans = plans_for(redriver)
    machine.add(Batch(batch.object, attempt=1), "RUNNING")

    assert [one.outcome for one in redriver.begin(plans, FAST)] == [Outcome.IN_FLIGHT]


def test_what_step_functions_has_forgotten_is_given_a_new_execution(buckets: Buckets, machine: Machine) -> None:
    post(buckets, buckets.upload("a.json", b"{}"))

    assert [(plan.how, plan.attempt) for plan in plans_for(redriver_on(buckets, machine))] == [(How.NEW, 1)]


def test_a_running_redrive_by_a_new_execution_is_found_by_its_name(buckets: Buckets, machine: Machine) -> None:
    batch = fail(buckets, machine, "a.json")
    machine.add(Batch(batch.object, attempt=1), "RUNNING")

    assert [plan.how for plan in plans_for(redriver_on(buckets, machine))] == [How.IN_FLIGHT]


def test_a_dead_letter_that_is_closed_while_it_is_planned_is_left_alone(buckets: Buckets, machine: Machine) -> None:
    batch = fail(buckets, machine, "a.json")
    redriver = redriver_on(buckets, machine)
    wanted = chosen(map(Wanted.of, select(redriver.audit, Filter())))
    commit(buckets, Batch(batch.object, attempt=1))
    (plan,) = redriver.plan(wanted)

    assert plan.how is How.CLOSED
    assert "attempt 1 was committed" in plan.why


def test_many_executions_take_few_questions_about_their_definition(buckets: Buckets, machine: Machine) -> None:
    """Step Functions answers one such question a second."""
    batch = buckets.upload("a.json", b"{}")
    for number in range(1000):
        arn = machine.add(batch, name=f"e{number:04}", startDate=_minute(number))
        machine.definitions[arn] = ("before", "r1") if number < 700 else ("now", "r2")
    client: Any = machine
    pipeline = Pipeline(client, MACHINE_ARN)
    executions = [found for arn in machine.executions if (found := pipeline.describe(arn))]

    assert pipeline.unchanged(executions) == {arn_of(f"e{number:04}") for number in range(700, 1000)}
    assert machine.asked <= 25


def test_a_definition_that_came_back_is_told_from_the_one_between(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    for number, definition in enumerate([("now", "r1"), ("bad", "r2"), ("now", "r3")]):
        arn = machine.add(batch, name=f"e{number}", startDate=_minute(number))
        machine.definitions[arn] = definition
    client: Any = machine
    pipeline = Pipeline(client, MACHINE_ARN)
    executions = [found for arn in machine.executions if (found := pipeline.describe(arn))]

    assert pipeline.unchanged(executions) == {arn_of("e0"), arn_of("e2")}
    assert pipeline.unchanged([]) == frozenset()


def _minute(number: int) -> datetime:
    return STARTED + timedelta(minutes=number)


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
            told = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(told).encode())}


class Queue:
    """A queue of moto: what is put in, what can be seen in it, and what came of a replay."""

    def __init__(self) -> None:
        self.sqs: Any = boto3.client("sqs")
        self.url = self.sqs.create_queue(QueueName="start-dlq")["QueueUrl"]

    def put(self, body: Any) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body if isinstance(body, str) else json.dumps(body))

    def record(self, event: Any) -> None:
        """Put what Lambda makes of a failed call."""
        told = {"errorType": "AccessRefused", "errorMessage": "StartExecution was refused"}
        self.put({"version": "1.0", "requestPayload": event, "responsePayload": told})

    def replay(self, function: Any) -> list[Replayed]:
        return list(event_queue.replay(self.sqs, function, self.url, "start"))

    @property
    def visible(self) -> int:
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])


@pytest.fixture
def queue(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Queue:  # noqa: ARG001 - moto is up with the buckets
    monkeypatch.setattr(event_queue, "_WAIT_SECONDS", 0)
    return Queue()


def answer(counts: dict[str, int]) -> Any:
    return lambda _event, _context: {"counts": counts}


def test_an_start_dlq_event_is_given_to_its_function_then_deleted(queue: Queue) -> None:
    queue.record(EVENT)
    function = Function(answer({"started": 1, "started_before": 0}))
    (done,) = queue.replay(function)

    assert function.calls == [EVENT], "as S3 sent it"
    assert (done.is_done, done.counts) == (True, {"started": 1, "started_before": 0})
    assert done.waiting.about == ("mission/2026/a.json",), done.waiting
    assert done.waiting.error == "AccessRefused: StartExecution was refused"
    assert (queue.visible, queue.replay(function)) == (0, [])


def test_an_event_that_the_buffer_moved_there_is_given_to_its_function_as_s3_sent_it(queue: Queue) -> None:
    queue.put(EVENT)
    function = Function(answer({"started": 1, "started_before": 0}))
    (done,) = queue.replay(function)

    assert function.calls == [EVENT]
    assert (done.is_done, done.became) == (True, "started")
    assert done.waiting.about == ("mission/2026/a.json",), done.waiting
    assert done.waiting.error == "all tries failed; the log of the function says why"
    assert queue.visible == 0


def test_an_event_of_eventbridge_is_replayed_however_it_came_into_the_queue(queue: Queue) -> None:
    """By Lambda after its tries, by the buffer after its receives, or by EventBridge itself, which says why."""
    told = {"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "not authorized to call start"}
    queue.record(OF_EVENTBRIDGE)
    queue.put(OF_EVENTBRIDGE)
    queue.sqs.send_message(
        QueueUrl=queue.url,
        MessageBody=json.dumps(OF_EVENTBRIDGE),
        MessageAttributes={name: {"DataType": "String", "StringValue": said} for name, said in told.items()},
    )
    function = Function(answer({"started": 1}))
    done = queue.replay(function)

    assert function.calls == [OF_EVENTBRIDGE] * 3
    assert [one.waiting.about for one in done] == [("mission/2026/a.json",)] * 3
    assert {one.waiting.error for one in done} == {
        "AccessRefused: StartExecution was refused",
        "all tries failed; the log of the function says why",
        "EventBridge could not deliver it: NO_PERMISSIONS: not authorized to call start",
    }
    assert queue.visible == 0


def test_events_of_both_shapes_are_replayed_from_one_queue_as_after_a_change_of_settings(queue: Queue) -> None:
    queue.put(EVENT)
    queue.record(EVENT)

    assert [one.is_done for one in queue.replay(Function(answer({})))] == [True, True]


def test_more_events_than_one_answer_holds_are_all_replayed(queue: Queue) -> None:
    for _ in range(25):
        queue.record(EVENT)

    assert [one.is_done for one in queue.replay(Function(answer({})))] == [True] * 25
    assert queue.visible == 0


def test_an_event_that_is_refused_again_stays_and_can_be_seen(queue: Queue) -> None:
    queue.record({"Records": [{"s3": {"bucket": {"name": "raw"}, "object": {"key": "a", "size": 1, "eTag": "e"}}}]})
    function = Function()
    (left,) = queue.replay(function)

    assert not left.is_done
    assert left.error is not None
    assert left.error.startswith("MessageRefused: s3://raw/a has no version id"), left.error
    assert queue.visible == 1, "nothing stays hidden"


def test_what_lambda_refuses_stays_in_the_queue(queue: Queue) -> None:
    queue.record(EVENT)
    function = Function()
    function.refusal = "TooManyRequestsException"
    (left,) = queue.replay(function)

    assert "TooManyRequestsException" in str(left.error)
    assert queue.visible == 1


@pytest.mark.parametrize(
    ("counts", "became"),
    [
        ({"started": 1, "started_before": 0}, "started"),
        ({"started": 0, "started_before": 1}, "was started before"),
        ({"started": 2, "started_before": 1}, "2 started, was started before"),
        ({"dead_letters": 0}, "nothing was left to do"),
    ],
)
def test_what_became_of_an_event_is_said_in_words(queue: Queue, counts: dict[str, int], became: str) -> None:
    queue.record(EVENT)
    assert [one.became for one in queue.replay(Function(answer(counts)))] == [became]


DEEP = "[" * 100_000
ODD: list[Any] = [5, None, [], "\udcff"]
ODD_KEYS = [{"Records": [{"s3": {"object": {"key": key}}}]} for key in ODD]


@pytest.mark.parametrize(
    "event", [*ODD_KEYS, {"Records": 1}, {"Records": [None]}, {"detail": {"input": 5}}, {"detail": 1}]
)
def test_an_event_of_any_form_is_left_and_told_and_the_others_go_on(queue: Queue, event: Any) -> None:
    queue.record(event)
    queue.record(EVENT)

    def refuse(given: Any, _: Any) -> Any:
        assert given == EVENT, "start takes nothing else"
        return {"counts": {"started": 1}}

    done = queue.replay(Function(refuse))

    assert sorted(one.is_done for one in done) == [False, True]
    assert queue.visible == 1


@pytest.mark.parametrize("said", ["text", None, {"counts": [1]}, {"counts": None}])
def test_an_odd_answer_of_a_function_that_did_not_fail_is_an_acceptance(queue: Queue, said: Any) -> None:
    queue.record(EVENT)
    assert [one.is_done for one in queue.replay(Function(lambda *_: said))] == [True]


@pytest.mark.parametrize(
    "body", ["no JSON", DEEP, "[]", "5", {"Records": []}, {"Records": [5]}, {"Records": 5}, {"requestPayload": "text"}]
)
def test_a_message_that_is_no_event_of_ours_is_told_and_left(queue: Queue, body: Any) -> None:
    queue.put(body)
    queue.record(EVENT)
    function = Function(answer({}))
    done = queue.replay(function)

    assert sorted(one.is_done for one in done) == [False, True], "the other is replayed"
    assert "no event of Custody" in next(str(one.error) for one in done if not one.is_done)
    assert len(function.calls) == queue.visible == 1


def test_nothing_is_deleted_before_it_is_accepted_so_a_broken_replay_can_be_repeated(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.record(EVENT)
    started: list[Any] = []

    def accept(event: Any, _: Any) -> Any:
        assert queue.sqs.receive_message(QueueUrl=queue.url, VisibilityTimeout=0).get("Messages", []) == []
        attributes = ["ApproximateNumberOfMessagesNotVisible"]
        held = queue.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=attributes)["Attributes"]
        assert held == {"ApproximateNumberOfMessagesNotVisible": "1"}, "it is in the queue, but nobody else sees it"
        started.append(event)
        return {"counts": {"started": int(len(started) == 1), "started_before": int(len(started) > 1)}}

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "RequestThrottled", "Message": ""}}, "DeleteMessage")

    with monkeypatch.context() as broken:
        broken.setattr(queue.sqs, "delete_message", refuse)
        (left,) = queue.replay(Function(accept))
    assert (left.is_done, left.counts) == (False, {"started": 1, "started_before": 0})
    assert "still in the queue" in str(left.error)
    (done,) = queue.replay(Function(accept))

    assert (done.is_done, done.counts) == (True, {"started": 0, "started_before": 1})
    assert queue.visible == 0


def test_an_event_that_eventbridge_could_not_deliver_is_replayed_whole(queue: Queue) -> None:
    told = {"input": json.dumps({"object": {"key": "mission/a.json"}}), "status": "TIMED_OUT"}
    event = {"detail-type": "Step Functions Execution Status Change", "source": "aws.states", "detail": told}
    queue.put(event)
    function = Function(answer({"dead_letters": 1}))
    (done,) = queue.replay(function)

    assert function.calls == [event]
    assert (done.is_done, done.waiting.about) == (True, ("mission/a.json",))


def test_looking_leaves_the_queue_as_it_was(queue: Queue) -> None:
    for _ in range(12):
        queue.record(EVENT)

    assert len(list(event_queue.look(queue.sqs, queue.url))) == 12
    assert queue.visible == 12


def test_a_replay_that_is_broken_off_hides_nothing(queue: Queue) -> None:
    for _ in range(3):
        queue.record(EVENT)
    replay = event_queue.replay(queue.sqs, Function(answer({})), queue.url, "start")  # type: ignore[arg-type]  # a stand-in
    next(replay)
    replay.close()

    assert queue.visible == 2


@pytest.fixture
def sigterm() -> Iterator[None]:
    """Let SIGTERM end what runs, as in the command line."""
    before = signal.getsignal(signal.SIGTERM)
    signals.end_on_sigterm()
    yield
    signal.signal(signal.SIGTERM, before)


SIGNALS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]


@pytest.mark.usefixtures("sigterm")
@pytest.mark.parametrize(("number", "raised"), SIGNALS)
@pytest.mark.parametrize("call", ["receive_message", "change_message_visibility_batch"])
def test_a_signal_at_any_moment_releases_what_was_received(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, call: str, number: int, raised: type[BaseException]
) -> None:
    for _ in range(12):
        queue.record(EVENT)
    real = getattr(queue.sqs, call)

    def interrupted(**asked: Any) -> Any:
        answer = real(**asked)
        monkeypatch.setattr(queue.sqs, call, real)
        signal.raise_signal(number)
        return answer

    monkeypatch.setattr(queue.sqs, call, interrupted)
    with pytest.raises(raised):
        list(event_queue.look(queue.sqs, queue.url))

    assert queue.visible == 12, "before, they were hidden for an hour"


def test_a_second_signal_does_not_wait() -> None:
    reached = []

    def hang() -> None:
        with signals.held_back():
            signal.raise_signal(signal.SIGINT)
            reached.append("the first waits")
            signal.raise_signal(signal.SIGINT)
            reached.append("the second does not")

    with pytest.raises(KeyboardInterrupt):
        hang()

    assert reached == ["the first waits"]


def test_messages_are_hidden_for_a_short_time_only(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.record(EVENT)
    asked: list[int] = []
    real = queue.sqs.receive_message

    def noted(**told: Any) -> Any:
        asked.append(told["VisibilityTimeout"])
        return real(**told)

    monkeypatch.setattr(queue.sqs, "receive_message", noted)
    list(event_queue.look(queue.sqs, queue.url))
    queue.replay(Function(answer({})))

    assert set(asked) == {10, 60}


def test_a_long_replay_extends_the_time_of_all_that_it_holds(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        queue.record(EVENT)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    extended: list[tuple[int, int]] = []
    real = queue.sqs.change_message_visibility_batch

    def noted(**asked: Any) -> Any:
        extended.append((len(asked["Entries"]), asked["Entries"][0]["VisibilityTimeout"]))
        return real(**asked)

    monkeypatch.setattr(queue.sqs, "change_message_visibility_batch", noted)

    def slow(*_: Any) -> Any:
        now[0] += 30
        raise RuntimeError

    queue.replay(Function(slow))

    assert extended == [(3, 60), (3, 60), (3, 60), (3, 0)], "and they are shown again in the end"


@pytest.fixture
def run(command_line: CommandLine, machine: Machine, queue: Queue) -> Run:
    """Run `custody redrive`, on queues of moto and a machine in memory."""
    dead_letter_dlq = queue.sqs.create_queue(QueueName="dead-letter-dlq")["QueueUrl"]
    function = Function(answer({"started": 1}))
    command_line.clients |= {"stepfunctions": machine, "sqs": queue.sqs, "lambda": function}
    command_line.is_local = True
    command_line.deploy(
        start_dlq_url=queue.url,
        dead_letter_dlq_url=dead_letter_dlq,
        start_function="start",
        dead_letter_function="start",
    )
    return command_line.command("redrive")


def test_messages_that_somebody_else_has_are_counted(run: Run, queue: Queue) -> None:
    for _ in range(4):
        queue.record(EVENT)
    queue.sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=3, VisibilityTimeout=60)
    looked = run("--events", "--dry-run")
    done = run("--events", "--json")

    assert looked.exit_code == 0
    assert "1 waiting" in looked.output
    assert "3 more are hidden, by somebody who received them; look again in a minute" in looked.output
    assert (done.exit_code, json.loads(done.stdout)["hidden"]) == (1, 3), "not all is handled"


def test_ctrl_c_in_a_replay_tells_what_was_handled_and_leaves_the_rest(
    run: Run, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        queue.record(EVENT)
    calls: list[Any] = []

    def second_is_interrupted(_: Function, **asked: Any) -> Any:
        calls.append(asked)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"Payload": io.BytesIO(b'{"counts": {"started": 1}}')}

    monkeypatch.setattr(Function, "invoke", second_is_interrupted)
    ran = run("--events", "--json")

    assert ran.exit_code == 130
    assert [event["became"] for event in json.loads(ran.stdout)["start-dlq"]] == ["started"]
    assert queue.visible == 2


def test_our_own_look_is_not_taken_for_somebody_elses() -> None:
    """SQS tells of numbers that may be a minute old."""
    assert event_queue.Depth(visible=0, hidden=4).hidden_beside(4) == 0
    assert event_queue.Depth(visible=1, hidden=3).hidden_beside(1) == 3
    assert event_queue.Depth(visible=1, hidden=0).hidden_beside(9) == 0


def test_an_older_dead_letter_names_the_open_one_that_stands_in_its_place(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    batch = buckets.upload("a.json", b"{}")
    older = post(buckets, batch, arn=machine.add(batch, redrives=1))
    later = post(buckets, Batch(batch.object, attempt=1), arn=arn_of(batch.object.id))
    ran = run(older)

    assert ran.exit_code == 1
    assert f"a later dead letter of the batch is open: {later}" in ran.stdout
    assert machine.tokens == []


def test_a_discarded_dead_letter_is_said_to_be(run: Run, buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    dead_letter = post(buckets, batch, arn=machine.add(batch))
    commit(buckets, batch, written=1, rejected=1)
    header = buckets.ledger()[0] | {"discarded": {"dead_letter": dead_letter, "by": "me", "reason": "bad data"}}
    header |= {"recorded_at": "2026-11-23T10:00:00Z", "counts": header["counts"] | {"rejected": 0, "discarded": 1}}
    key = f"ledger/{batch.object.id}/000000000000000.0.discarded.jsonl.gz"
    buckets.s3.put_object(Bucket="audit", Key=key, Body=gzip.compress(json.dumps(header).encode()))
    ran = run(dead_letter)

    assert ran.exit_code == 1
    assert "was discarded on 2026-11-23T10:00:00Z by me: bad data" in ran.stdout
    assert machine.tokens == []


def test_a_discard_that_cannot_be_read_is_no_success(run: Run, buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    dead_letter = post(buckets, batch, arn=machine.add(batch))
    discard(buckets, batch)
    ran = run(dead_letter)

    assert ran.exit_code == 1
    assert "it was discarded, but s3://audit/ledger/" in ran.stdout


def test_a_dead_letter_that_cannot_be_read_is_told_and_the_others_are_redriven(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    odd = buckets.upload("a.json", b"{}")
    buckets.s3.put_object(Bucket="audit", Key=f"dead-letters/{post(buckets, odd)}.json", Body=b"no JSON")
    fail(buckets, machine, "b.json")
    ran = run("--open")

    assert ran.exit_code == 1
    assert "1 redriven: 1 succeeded" in ran.stdout
    assert f"{odd.object.id}/000000000000000.0.Write.json" in ran.stderr


def test_a_dead_letter_that_was_written_since_is_well(run: Run, buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    dead_letter = post(buckets, batch, arn=machine.add(batch))
    commit(buckets, Batch(batch.object, attempt=1))
    ran = run(dead_letter)

    assert ran.exit_code == 0
    assert "attempt 1 was committed" in ran.stdout


def test_a_record_stands_for_its_whole_batch_and_that_is_said(run: Run, buckets: Buckets, machine: Machine) -> None:
    batch = fail(buckets, machine, "a.json")
    ran = run(f"{batch.object.id}.5")

    assert ran.exit_code == 0
    assert f"{batch.object.id}.5 is a record: its whole batch is redriven" in ran.stderr


def unreachable(**_: Any) -> Any:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def interrupted(**_: Any) -> Any:
    raise KeyboardInterrupt


def throttled(**_: Any) -> Any:
    raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "DescribeExecution")


@pytest.mark.parametrize("wrong", [unreachable, throttled])
@pytest.mark.parametrize("call", ["paginate", "describe_execution"])
def test_a_call_that_fails_while_following_is_made_again(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch, wrong: Any, call: str
) -> None:
    fail(buckets, machine, "a.json")
    redriver = redriver_on(buckets, machine)
    begun = list(redriver.begin(plans_for(redriver), FAST))
    real = getattr(machine, call)

    def once(**asked: Any) -> Any:
        monkeypatch.setattr(machine, call, real)
        return wrong(**asked)

    monkeypatch.setattr(machine, call, once)

    assert [one.outcome for one in redriver.watch(begun, 10)] == [Outcome.SUCCEEDED]


def test_what_aws_does_not_tell_in_time_is_unknown(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = fail(buckets, machine, "a.json")
    monkeypatch.setattr(machine, "paginate", unreachable)
    ran = run(batch.object.id, "--timeout", "1", "--json")

    (one,) = json.loads(ran.stdout)["redrives"]
    assert (ran.exit_code, one["outcome"]) == (1, "unknown")
    assert "Could not connect" in one["error"]


def test_ctrl_c_while_following_tells_what_was_started(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = fail(buckets, machine, "a.json")
    monkeypatch.setattr(machine, "paginate", interrupted)
    shown, told = run(batch.object.id), None
    machine.add(batch)
    told = run(batch.object.id, "--json")

    assert (shown.exit_code, told.exit_code) == (130, 130)
    assert "1 redriven: 1 running" in shown.stdout
    assert [one["outcome"] for one in json.loads(told.stdout)["redrives"]] == ["running"]


def test_a_start_that_had_no_answer_is_unknown_and_no_more_are_started(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        fail(buckets, machine, f"{number:02}.json")
    redriver = redriver_on(buckets, machine)
    plans = plans_for(redriver)
    account = Tally(plans)
    monkeypatch.setattr(machine, "redrive_execution", unreachable)
    with pytest.raises(EndpointConnectionError):
        list(redriver.begin(plans, 50, account.note))
    outcomes = [one.outcome for one in account.redrives]

    assert set(outcomes) == {Outcome.UNKNOWN, Outcome.NOT_STARTED}
    assert len(outcomes) == 40


def test_what_went_wrong_at_the_start_is_told_beside_what_was_started(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a.json", "b.json"):
        fail(buckets, machine, key)
    real = machine.redrive_execution

    def second(**asked: Any) -> Any:
        if machine.tokens:
            return unreachable()
        return real(**asked)

    monkeypatch.setattr(machine, "redrive_execution", second)
    ran = run("--open", "--json")

    assert isinstance(ran.exception, EndpointConnectionError), "custody/app.py makes a line of it"
    assert sorted(one["outcome"] for one in json.loads(ran.stdout)["redrives"]) == ["running", "unknown"]
