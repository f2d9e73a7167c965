"""The errors that a step can end with; resumes_at (functions/shared/audit/dead_letter.py) says where a redrive resumes.

The class names are a contract: Step Functions matches Retry and Catch by the exact class name of an exception
(https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html), and operators filter by them.
"""

from typing import ClassVar


class CustodyError(Exception):
    """An error with a name that operators know; `advice` says what to do about it."""

    advice: ClassVar[str] = "Read the cause, fix it, then redrive the execution."


class DataError(CustodyError):
    """The data, or what is expected of it, must change before a new attempt can succeed."""


class RecordsRejected(DataError):
    """More records were rejected than the deployment tolerates."""

    advice = "Correct the records at their source and upload them again, or change the contract, deploy, and redrive."


class ChunksFailed(DataError):
    """Some chunks of a bulk object failed, so that the ledger of the object is incomplete."""

    advice = (
        "Fix what the dead letters of the chunks name, and redrive: only these chunks are processed again, and those "
        "with rejected records."
    )


class UnknownDataset(DataError):
    """The first folder of the key names a dataset that has no contract or no transform."""

    advice = "Upload the object under the folder of a known dataset, or add the dataset, deploy, and redrive."


class ObjectTooLarge(DataError):
    """The object is larger than one batch may be."""

    advice = (
        "Split the object and upload its parts; or raise the limit that the cause names, document_limit_bytes with the "
        "memory or chunk_bytes with the timeouts, deploy, and redrive."
    )


class ObjectMissing(DataError):
    """The object version is no longer in its bucket."""

    advice = "Restore or upload the object again; the old version can no longer be read."


class ObjectArchived(DataError):
    """The object version is in an archive, such as S3 Glacier Deep Archive, from which it cannot be read."""

    advice = "Restore the object version (aws s3api restore-object), wait until it is restored, then redrive."


class DeploymentError(CustodyError):
    """Code, permissions or settings must change before a new attempt can succeed."""


class AccessRefused(DeploymentError):
    """AWS refused a call; S3 also answers so for an object that does not exist, if listing is not permitted."""

    advice = "Check that the object version still exists, then the role of the function and the policy of the bucket."


class KmsKeyRefused(DeploymentError):
    """AWS refused the use of the KMS key of an object."""

    advice = (
        "Check that the key is enabled, and that its policy and the role of the function allow what the cause names; "
        "the key of an existing raw bucket is the setting raw_key_arn. Then redrive."
    )


class CallRefused(DeploymentError):
    """AWS refused a call for a reason that a new attempt alone will not fix."""


class ConfigurationMissing(DeploymentError):
    """An environment variable of the function is missing or malformed."""

    advice = "Deploy the stack again: it sets every variable that the functions read."


class MessageRefused(DeploymentError):
    """An event or a message does not have a shape that this code knows."""

    advice = "Compare the message with docs/architecture.md, and redrive: the steps then make their messages anew."


class TransformFailed(DeploymentError):
    """The transform of a dataset, or a step after it, failed on the record at the position in the cause."""

    advice = (
        "Fix the code that the cause names, a step before it that made such a record, or the contract that let it "
        "through; deploy, and redrive: the batch starts again at Validate."
    )


class StepFailed(DeploymentError):
    """A step ended with an error of the engine, such as a timeout; the cause begins with its name."""

    advice = "Look up the error at the start of the cause, fix what it names, and redrive."


class AttemptTaken(DeploymentError):
    """Another execution has committed this attempt of the batch, so this one cannot."""

    advice = "Redrive once more: the next attempt has commits of its own. Do not redrive two executions of one object."


class ExecutionEnded(CustodyError):
    """The execution ended without a step that could report it."""


class ExecutionAborted(ExecutionEnded):
    """Somebody stopped the execution."""

    advice = "Find out who stopped it, and why; redrive it if its records are to be delivered after all."


class ExecutionTimedOut(ExecutionEnded):
    """The execution ran longer than the state machine allows."""

    advice = (
        "Find out from its history where the time went: throttling, or too little concurrency. Fix it, and redrive."
    )


class ServiceUnavailable(CustodyError):
    """AWS cannot answer at the moment: throttling, a fault on its side, or a broken connection."""

    advice = "Redrive when AWS answers again."


def _concrete(root: type[CustodyError]) -> dict[str, type[CustodyError]]:
    children = root.__subclasses__()
    if not children:
        return {root.__name__: root}
    return {name: error for child in children for name, error in _concrete(child).items()}


BY_NAME = _concrete(CustodyError)
"""Every error that can be raised, by the name that the state machine sees."""
