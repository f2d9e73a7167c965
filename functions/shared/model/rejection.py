"""How code that changes records one by one says that it cannot change one of them."""

from typing import Any

from functions.shared.model.messages import Violation


class Rejection(Exception):
    """Raised for a record: set it aside, for this reason; the rest of the batch goes on.

    `limit` is what the rule asks for. It is kept for good, so it must not quote the record.
    """

    def __init__(self, pointer: str, rule: str, limit: Any = None) -> None:
        super().__init__(pointer, rule)
        self.violation = Violation(pointer, rule, limit)
