"""Who may ask: names of this host, origins, tokens. Decides from the headers alone, before anything else is read.

A page on another site can make a browser send requests here, and by DNS rebinding even under a name of its own: so
only known names are answered (`Host`), and nothing that a foreign page sent (`Origin`, `Sec-Fetch-Site`). There are no
CORS headers.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from captioner.serve.problems import Problem

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>\d{1,5}))?", re.ASCII)
ALWAYS_ALLOWED = ("localhost", "127.0.0.1", "[::1]")
"""Names under which no other machine is reached."""
FREE = frozenset({"/healthz", "/readyz", "/"})
PAGE = "/page/"
"""Paths that want no token: a supervisor's, and the page's, which asks for it."""
MIN_TOKEN, MAX_TOKEN = 16, 4096


@dataclass(frozen=True)
class Access:
    """What is let in.

    Args:
        hosts: names that a request may be for, in lower case, without port; IPv6 in brackets.
        token: what every request must carry, except those for free paths; None wants none.
    """

    hosts: frozenset[str]
    token: bytes | None = None

    def check(self, method: str, path: str, headers: Mapping[str, list[str]], local: str) -> None:
        """Raise Problem unless a request may pass.

        Args:
            method: of HTTP.
            path: what is asked for.
            headers: all values by name in lower case.
            local: the address that the connection came in by.
        """
        host = self._check_host(headers.get("host", []), local)
        self._check_origin(method, path, headers, host)
        if any(value.strip().lower() not in ("", "identity") for value in headers.get("content-encoding", [])):
            raise Problem(415, "content_encoding", "bodies are taken as they are; send it without Content-Encoding")
        if self.token is not None and path not in FREE and not path.startswith(PAGE):
            self._check_token(headers.get("authorization", []), self.token)

    def _check_host(self, values: list[str], local: str) -> str:
        found = _HOST.fullmatch(values[0]) if len(values) == 1 else None
        if found is None:
            raise Problem(400, "bad_host", "the Host header is missing or is no name")
        name = found["name"].lower()
        # An address cannot be rebound: the one that the connection came in by is meant as it is.
        if name not in self.hosts and name != host_of_address(local):
            raise Problem(400, "bad_host", "this service does not answer under that name; see --allow-host")
        return values[0].lower()

    def _check_origin(self, method: str, path: str, headers: Mapping[str, list[str]], host: str) -> None:
        origins = headers.get("origin", [])
        if origins and (len(origins) > 1 or _authority(origins[0]) != host):
            raise Problem(403, "foreign_origin", "requests from pages of other sites are not answered")
        site = ",".join(headers.get("sec-fetch-site", ["none"])).strip().lower()
        if site in ("none", "same-origin"):
            return
        mode = headers.get("sec-fetch-mode", [""])[0].strip().lower()
        if not (method == "GET" and path == "/" and mode == "navigate"):  # somebody followed a link to the page
            raise Problem(403, "foreign_origin", "requests from pages of other sites are not answered")

    @staticmethod
    def _check_token(values: list[str], token: bytes) -> None:
        scheme, _, given = (values[0] if len(values) == 1 else "").partition(" ")
        # Of hashes, so that neither the content nor the length of the token shows in the time this takes.
        right = hmac.compare_digest(hashlib.sha256(given.strip().encode()).digest(), hashlib.sha256(token).digest())
        if scheme.lower() != "bearer" or not right:
            raise Problem(
                401,
                "unauthorized",
                "send the token of this service: Authorization: Bearer TOKEN",
                headers={"www-authenticate": 'Bearer realm="captioner"'},
            )


def allowed_hosts(bound: str, further: Iterable[str]) -> frozenset[str]:
    """The names that are answered: the one bound to, those of this machine, and further ones.

    Raises ValueError for what is no name.
    """
    names = [*ALWAYS_ALLOWED, host_of_address(bound)]
    for name in further:
        found = _HOST.fullmatch(host_of_address(name))
        if found is None or found["port"]:
            raise ValueError(name)
        names.append(found["name"])
    return frozenset(name.lower() for name in names)


def host_of_address(address: str) -> str:
    """An address as it stands in a URL: IPv6 in brackets."""
    try:
        return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    except ValueError:
        return address


def _authority(origin: str) -> str:
    """`host:port` of an origin; empty for `null` and for what is no origin."""
    found = re.fullmatch(r"https?://([^/?#@\s]+)", origin.strip().lower())
    return found[1] if found else ""
