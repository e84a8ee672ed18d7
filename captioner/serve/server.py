"""From a bound socket to the end of the process: uvicorn with deadlines, signals, and an orderly end.

The first SIGTERM or SIGINT stops accepting, lets what is in flight finish, and ends with status 0; the second ends at
once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import Iterator
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from captioner.errors import CaptionerError, ConfigError
from captioner.serve.access import host_of_address
from captioner.serve.connection import connection_class
from captioner.serve.log import OneLine
from captioner.serve.service import Service

BACKLOG = 1024
"""Connections that the system holds until they are accepted; as many at once are answered, none is turned away."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def bind(host: str, port: int) -> socket.socket:
    """A bound socket, not yet listening. Raises ConfigError when the port is taken or there is no such host."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigError(f"--host {host}: there is no such address here") from None
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"cannot listen on {host_of_address(host)}:{port} ({error.strerror}); choose another --port or --host"
        ) from None
    bound.setblocking(False)
    return bound


def address_of(bound: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{host_of_address(host)}:{port}/"


class _Server(uvicorn.Server):
    """uvicorn's server, with signals of our own: it would end with the signal that it was sent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are taken care of by `run`."""
        yield


def run(app: ASGIApp, service: Service, bound: socket.socket) -> None:
    """Serve until a signal comes. Raises CaptionerError when the captioner cannot be loaded."""
    _raise_open_files()
    limits = service.limits
    handler = OneLine(service.log)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("uvicorn.error", "python_multipart"):  # their warnings are requests, which have lines already
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of workers that end after it
    config = uvicorn.Config(
        app,
        http=connection_class(service),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=cast("int", limits.idle_seconds),  # whole or not
        timeout_graceful_shutdown=cast("int", limits.drain_seconds),
    )
    server = _Server(config)
    service.connections = lambda: len(server.server_state.connections)
    asyncio.run(_run(server, service, bound))


async def _run(server: _Server, service: Service, bound: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, _on_signal, server, service, number)
    service.pool.start()
    serving = loop.create_task(server.serve(sockets=[bound]))
    telling = loop.create_task(_tell(server, service, bound))
    summarising = loop.create_task(_summarise(service))
    try:
        await asyncio.wait((serving, telling), return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            telling.result()
        await serving
    finally:
        server.should_exit = True
        for task in (telling, summarising):
            task.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await service.pool.stop()
        service.log.summarise(now=True)


async def _tell(server: _Server, service: Service, bound: socket.socket) -> None:
    """Print the address once the captioner is ready. Raises CaptionerError when it never will be."""
    await service.pool.was_ready.wait()
    if service.pool.failure is not None:
        raise CaptionerError(service.pool.failure.message, code=service.pool.failure.code)
    print(f"captioner serve: {address_of(bound)}", flush=True)  # noqa: T201 - the one line that is asked for


async def _summarise(service: Service) -> None:
    while True:
        await asyncio.sleep(1)
        service.log.summarise()


def _on_signal(server: _Server, service: Service, number: int) -> None:
    if service.is_draining:
        os._exit(128 + number)  # workers end with their stdin
    service.log.note(f"{signal.Signals(number).name}: finishing what is in flight")
    service.is_draining = True
    server.should_exit = True


def _raise_open_files() -> None:
    """As many open files as the system lets a process have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
