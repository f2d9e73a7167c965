"""Mission observations: the mission's name in one spelling, and a confidence band beside the number."""

from typing import Any

from functions.shared.model.records import Rejection

BANDS = ((0.75, "high"), (0.4, "moderate"), (0.0, "low"))
"""The least confidence of each band. The names are the levels of analytic confidence of Intelligence Community
Directive 203; the bounds are ours."""


def transform(record: dict[str, Any]) -> dict[str, Any]:
    """Normalise the name of the mission (case, white space) and add `confidence_band`; all other fields are kept.

    Reject a name of nothing but white space: Unicode knows more of it than a pattern does.
    """
    mission = " ".join(record["mission"].split()).lower()
    if not mission:
        raise Rejection("/mission", "not-blank")
    return {**record, "mission": mission, "confidence_band": band(record["confidence"])}


def band(confidence: float) -> str:
    """Name the band of a confidence from 0 to 1."""
    for least, name in BANDS:
        if confidence >= least:
            return name
    raise ValueError("a confidence is 0 or more")
