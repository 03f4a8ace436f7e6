"""The statuses that requests are refused with, for the schema."""

from __future__ import annotations

from typing import Any

from stts_runtime.serve.problems import ProblemRecord

_MEANING = {
    400: "The request cannot be answered; the message says why",
    401: "The token is missing or wrong",
    403: "The request comes from another site's page",
    404: "There is no such thing",
    409: "Not now: the stream has no picture yet",
    413: "Larger than allowed",
    429: "Too many questions are open; `Retry-After` says when to ask again",
    500: "Our fault",
    503: "Stopping, or not ready; `Retry-After` says when to ask again",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses` of a route. 401, 403, 413 and 503 may come from the guard before any route."""
    return {
        status: {"model": ProblemRecord, "description": _MEANING[status]} for status in sorted({*statuses, 403, 503})
    }
