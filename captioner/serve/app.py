"""The routes of the service. Pictures come in, workers answer; knows nothing of processes and sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from captioner.bundle import Bundle
from captioner.serve import metrics, schema
from captioner.serve.corrections import Corrections
from captioner.serve.gate import Gate
from captioner.serve.model import description, name_and_id
from captioner.serve.page import PageFile, page_files
from captioner.serve.problems import MEDIA_TYPE, Problem
from captioner.serve.service import Service
from captioner.serve.uploads import BodyReader, Upload
from captioner.version import __version__

_ALWAYS = (400, 401, 403, 408, 413, 415, 422, 429, 500, 503, 504)


def build_app(
    service: Service, bundles: Sequence[Bundle], *, corrections: Corrections | None = None, with_page: bool = True
) -> ASGIApp:
    """The whole application."""
    app = FastAPI(
        title="captioner",
        version=__version__,
        description="Captions for pictures.",
        docs_url=None,  # its scripts would come from another site
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_anything)
    routes = _Routes(service, bundles, corrections)
    routes.add_to(app)
    if with_page:
        _add_page(app)
    return Gate(app, service)


class _Routes:
    """What the routes share."""

    def __init__(self, service: Service, bundles: Sequence[Bundle], corrections: Corrections | None) -> None:
        self._service, self._bundles, self._corrections = service, bundles, corrections
        self._name = name_and_id(bundles)

    def add_to(self, app: FastAPI) -> None:
        limits = self._service.limits
        forms = {"multipart/form-data": schema.captions_form(limits.files), **schema.RAW_BODY}
        app.post(
            "/v1/captions",
            summary="Caption pictures",
            responses=schema.answers(schema.Captions, schema.CAPTIONS_EXAMPLE, *_ALWAYS),
            openapi_extra=schema.body(forms),
        )(self.captions)
        app.post(
            "/v1/explanations",
            summary="Where each word of a caption comes from",
            responses=schema.answers(schema.Explanation, schema.EXPLANATION_EXAMPLE, *_ALWAYS),
            openapi_extra=schema.body(schema.RAW_BODY),
        )(self.explanations)
        app.post(
            "/v1/neighbours",
            summary="Training pictures that look alike, by their captions",
            responses=schema.answers(schema.Neighbours, schema.NEIGHBOURS_EXAMPLE, 404, *_ALWAYS),
            openapi_extra=schema.body(schema.RAW_BODY),
        )(self.neighbours)
        app.post(
            "/v1/corrections",
            summary="Keep a better caption, to learn from",
            responses=schema.answers(schema.Saved, None, 404, 507, *_ALWAYS),
            openapi_extra=schema.body({"multipart/form-data": schema.CORRECTION_FORM}),
        )(self.corrections)
        app.delete(
            "/v1/corrections/{key}/{id}",
            summary="Take a better caption back",
            responses=schema.answers(schema.TakenBack, None, 404, 507, *_ALWAYS),
        )(self.take_back)
        app.get("/v1/model", summary="Which captioner this is", responses={401: schema.PROBLEM})(self.model)
        app.get("/healthz", summary="Whether the service lives", responses=schema.answers(schema.Status, None))(
            self.healthz
        )
        app.get("/readyz", summary="Whether it takes work", responses=schema.answers(schema.Status, None, 503))(
            self.readyz
        )
        app.get("/metrics", summary="Metrics for Prometheus", response_class=Response)(self.metrics)

    async def captions(self, request: Request, query: Annotated[schema.CaptionQuery, Query()]) -> Response:
        """Caption one picture (its bytes as the body) or several (a form with fields `file`)."""
        options = self._options(query)
        head = {"job": "caption", "options": options, "min_confidence": query.min_confidence}
        with self._reader(request) as reader:
            upload = await self._read(reader, frozenset())
            entries = await self._service.work(head, upload.files, lambda: _gone(request))
        for entry in entries:
            self._service.metrics.pictures.labels(_outcome(entry)).inc()
        errors = [entry["error"] for entry in entries if entry["error"] is not None]
        if len(errors) == len(entries):
            first = errors[0]
            status = 500 if first["code"] in ("bundle", "error") else 413 if first["code"] == "too_large" else 422
            raise Problem(status, first["code"], first["detail"])
        return _json({"captions": entries, "model": self._name})

    async def explanations(self, request: Request, query: Annotated[schema.ExplanationQuery, Query()]) -> Response:
        """Tell where each word of a caption comes from: by attention where the captioner has it, else by occlusion."""
        text = query.text
        if text is not None and len(text.encode("utf-8", "replace")) > self._service.limits.text_bytes:
            raise Problem(413, "too_large", f"the text has more than {self._service.limits.text_bytes} bytes")
        with self._reader(request) as reader:
            upload = await self._read(reader, None)
            head = {"job": "explain", "text": text}
            (found,) = await self._service.work(head, upload.files, lambda: _gone(request))
        return _json(found)

    async def neighbours(self, request: Request, query: Annotated[schema.NeighbourQuery, Query()]) -> Response:
        """Tell which training pictures look most like a picture, by what people wrote for them."""
        if not self._bundles[0].keeps_neighbours:
            raise Problem(
                404, "no_neighbours", "this captioner keeps no training pictures; see --neighbours of a build"
            )
        if query.count > (most := self._service.limits.neighbours):
            raise Problem(422, "config", f"count is {query.count}; this service takes 1 to {most}")
        with self._reader(request) as reader:
            upload = await self._read(reader, None)
            head = {"job": "neighbours", "count": query.count}
            (found,) = await self._service.work(head, upload.files, lambda: _gone(request))
        return _json(found)

    async def corrections(self, request: Request) -> Response:
        """Keep a picture with a caption that is better than the captioner's own."""
        corrections = self._kept()
        with self._reader(request) as reader:
            upload = await self._read(reader, frozenset({"caption", "was"}))
            if len(upload.files) != 1:
                raise Problem(400, "one_file", "a correction is of one picture")
            head = {"job": "check"}
            await self._service.work(head, upload.files, lambda: _gone(request))
            kept = await corrections.keep(upload.files[0], upload.texts)
        return _json(kept)

    async def take_back(self, key: str, mark: Annotated[str, Path(alias="id")]) -> Response:
        """Forget a caption that was kept, with its picture; `key` and `id` are those of the answer when it was."""
        return _json(await self._kept().take_back(key, mark))

    def _kept(self) -> Corrections:
        if self._corrections is None:
            raise Problem(404, "corrections_off", "this service keeps no corrections; see --corrections")
        return self._corrections

    async def model(self) -> Response:
        """Name, architecture, options, scores and limits."""
        service = self._service
        found = description(self._bundles, service.options, service.limits, attention=service.pool.attention)
        return _json({**found, "corrections": self._corrections is not None})

    async def healthz(self) -> Response:
        """The process answers."""
        return _json({"status": "ok"})

    async def readyz(self) -> Response:
        """The captioner is loaded, a worker lives, and the service is not about to stop."""
        if not self._service.is_ready:
            what = "draining" if self._service.is_draining else "not_ready"
            raise Problem(503, what, "the service takes no work now", headers={"retry-after": "1"})
        return _json({"status": "ready"})

    async def metrics(self) -> Response:
        """All metrics."""
        return Response(self._service.metrics.text(self._service), headers={"content-type": metrics.MEDIA_TYPE})

    def _reader(self, request: Request) -> BodyReader:
        service = self._service
        answering = min(0.5, service.limits.request_seconds / 2)
        deadline = min(
            request.state.deadline - answering, asyncio.get_running_loop().time() + service.limits.body_seconds
        )
        return BodyReader(request, service.limits, service.budget, deadline)

    async def _read(self, reader: BodyReader, fields: frozenset[str] | None) -> Upload:
        self._service.check_open()
        self._service.reading += 1
        try:
            return await reader.read(fields=fields)
        finally:
            self._service.reading -= 1

    def _options(self, query: schema.CaptionQuery) -> dict[str, Any]:
        asked = query.model_dump(exclude={"min_confidence"}, exclude_none=True)
        limits = self._service.limits
        most = {"beam": limits.max_beam, "n_best": limits.max_beam, "max_length": limits.max_tokens}
        for name, value in asked.items():
            if value > most[name]:
                raise Problem(422, "config", f"{name} is {value}; this service takes 1 to {most[name]}")
        if asked.get("n_best", 1) > asked.get("beam", limits.max_beam):
            raise Problem(422, "config", f"n_best is {asked['n_best']}; expected 1 to beam, which is {asked['beam']}")
        return {**self._service.options, **asked}


def _outcome(entry: dict[str, Any]) -> str:
    if entry["error"] is not None:
        return "unreadable"
    return "withheld" if entry["caption"] is None else "captioned"


async def _gone(request: Request) -> None:
    """Return when the client has left; to be called when its body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(value: Any) -> Response:
    return Response(json.dumps(value, ensure_ascii=False), media_type="application/json")


def _answer(request: Request, problem: Problem) -> Response:
    """A problem as an answer; its code goes to the log too."""
    state = request.scope["state"]
    state["code"] = problem.code
    headers = {"content-type": MEDIA_TYPE, **problem.headers}
    return Response(problem.body(state["request_id"]), problem.status, headers)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(request, error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: ("not_found", "there is nothing here"), 405: ("method", "this route has other methods")}
    code, detail = codes.get(error.status_code, ("http", "the request cannot be answered"))
    return _answer(request, Problem(error.status_code, code, detail, headers=error.headers))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])[:100]
    return _answer(request, Problem(422, "config", f"{where}: {_expected(first)}"[:300]))


def _expected(error: Mapping[str, Any]) -> str:
    """What pydantic found wrong with an option, in our words."""
    limits = error.get("ctx", {})
    words = {
        "extra_forbidden": "there is no such option; see /openapi.json",
        "missing": "is missing",
        "string_too_short": "is empty",
        "int_parsing": "expected a whole number",
        "int_from_float": "expected a whole number",
        "float_parsing": "expected a number",
        "greater_than_equal": f"expected {limits.get('ge')} or more",
        "less_than_equal": f"expected {limits.get('le')} or less",
    }
    return words.get(error["type"], str(error["msg"]))


async def _on_anything(request: Request, error: Exception) -> Response:
    """The error itself goes on to the gate, which writes it to the log; the client gets no word of it."""
    return _answer(request, Problem(500, "internal", "something went wrong; the log of the service says more"))


def _add_page(app: FastAPI) -> None:
    """The files of the page, each under its path."""
    for path, file in page_files().items():
        app.add_route(path, _serving(file))


def _serving(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        headers = {"etag": file.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers={**headers, "content-type": file.media_type})

    return serve
