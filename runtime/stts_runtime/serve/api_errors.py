"""What is answered when something is refused: one shape for all, OpenAI's, so that existing clients show the reason."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from stts_runtime.errors import ContextError, MissingExtraError, SttsError, UserError
from stts_runtime.serve.engine_queue import BusyError
from stts_runtime.serve.request_mistakes import first_mistake, no_json, unread_body
from stts_runtime.tell import Tell
from stts_runtime.text import shortened, visible

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


_LONGEST_MESSAGE = 1000


class ProblemBody(BaseModel):
    message: str
    """One sentence: what was got, what is allowed, what to do."""
    type: str
    param: str | None = None
    code: str | None = None


class ErrorRecord(BaseModel):
    """Every answer that is no success."""

    error: ProblemBody


class ApiError(Exception):
    """Raised wherever a request is refused."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None, retry: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry = status, message, param, code, retry


def error_record(error: ApiError) -> ErrorRecord:
    kind, message = _TYPES.get(error.status, "server_error"), shortened(visible(error.message), _LONGEST_MESSAGE)
    param = None if error.param is None else visible(error.param)
    return ErrorRecord(error=ProblemBody(message=message, type=kind, param=param, code=error.code))


def error_response(error: ApiError) -> JSONResponse:
    headers = {} if error.retry is None else {"Retry-After": str(error.retry)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_record(error).model_dump(), error.status, headers)


def api_error_of(error: Exception) -> ApiError:
    """What to answer to an error of this product."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BusyError):
        return ApiError(503 if error.closing else 429, str(error), code="busy", retry=error.retry_seconds)
    if isinstance(error, MissingExtraError):
        # The user at fault is the one who runs the server.
        return ApiError(501, str(error))
    if isinstance(error, ContextError):
        # OpenAI's, which clients know.
        return ApiError(400, str(error), code="context_length_exceeded")
    if isinstance(error, UserError):
        return ApiError(400, str(error))
    return ApiError(500, "an internal error; the server's log says more")


def handle_errors(app: FastAPI, tell: Tell) -> None:
    """Every refusal, whoever raised it, in the one shape; our own faults also go to `tell`."""

    async def ours(_: Request, error: Exception) -> JSONResponse:
        found = api_error_of(error)
        if found.status == 500:
            tell(f"internal error: {type(error).__name__}: {error}")
        return error_response(found)

    async def framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        kind = request.headers.get("content-type", "") if error.status_code == 400 else ""
        message = unread_body(error.__cause__, kind) or str(error.detail)
        response = error_response(ApiError(error.status_code, message))
        if error.status_code == 405:
            response.headers["Allow"] = ", ".join(_allowed(request))
        return response

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return error_response(_of_validation(request, error))

    for kind in (ApiError, BusyError, SttsError, Exception):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)


def _allowed(request: Request) -> list[str]:
    """Methods of all routes with this path; the framework knows those of the first alone."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in getattr(route, "methods", None) or ()})


def _of_validation(request: Request, error: RequestValidationError) -> ApiError:
    errors, body = error.errors(), error.body
    if message := no_json(errors, body, request.headers.get("content-type")):
        return ApiError(400, message)
    return ApiError(400, *first_mistake(errors, body))


_MEANING = {
    400: "The request cannot be answered; the message says why",
    401: "The token is missing or wrong",
    403: "The request comes from another site's page",
    404: "There is no such thing",
    409: "Not now: the stream has no picture yet, or there is no file to read again",
    408: "The body took too long",
    413: "Larger than allowed",
    429: "Too many questions are open; `Retry-After` says when to ask again",
    500: "Our fault",
    501: "This server was installed without what the request needs",
    503: "Stopping, or not ready; `Retry-After` says when to ask again",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses` of a route. 401, 403, 408, 413 and 503 may come from the guard before any route."""
    return {status: {"model": ErrorRecord, "description": _MEANING[status]} for status in sorted({*statuses, 403, 503})}
