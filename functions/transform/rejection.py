"""How the transform of a dataset says that it cannot transform a record."""

from typing import Any

from functions.shared.messages import Violation


class Rejection(Exception):
    """Raised by a transform: set this record aside, for this reason; the rest of the batch goes on.

    `limit` is what the rule asks for. It is kept for good, so it must not quote the record.
    """

    def __init__(self, pointer: str, rule: str, limit: Any = None) -> None:
        super().__init__(pointer, rule)
        self.violation = Violation(pointer, rule, limit)
