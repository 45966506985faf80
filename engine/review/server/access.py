"""Who may ask: one-time addresses, sessions, and the refusal of whatever another site could make a browser send.

Every request needs a session: a cookie that a one-time token in the address, or the password, was exchanged for. It
must name this server as its host (another name that leads here is refused, so that no foreign site can pose as this
one). Whatever changes something must come from this server's own pages (``Origin``), and carry the session's second
secret in a header that no form and no foreign script can send.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.review.server.sign_in import sign_in_page

#: What a page of this server may do: use its own scripts, styles and pictures, and speak to it alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
#: Bytes of a request that is no upload.
_SMALL = 1_000_000
#: Wrong passwords after which nobody may try for a while, and for how many seconds.
_TRIES, _PAUSE = 5, 30.0
TOKEN_HEADER = "x-review-token"
#: Set by the pages, when a reviewer says who it is.
NAME_COOKIE = "scarmatch_reviewer"
UPLOADS = ("/api/photographs", "/api/names")


@dataclass
class Session:
    """One browser or program that may ask.

    Attributes:
        secret: the cookie's value.
        token: what every request that changes something carries in :data:`TOKEN_HEADER`.
        who: the reviewer's name.
    """

    secret: str
    token: str
    who: str


class Access:
    """The sessions of a server.

    Args:
        port: the server's.
        hosts: names under which it may be asked for, without port.
        who: name of a reviewer who has not said otherwise.
        password: opens a session; None where one-time addresses alone do.
    """

    def __init__(self, port: int, hosts: set[str], who: str, password: str | None = None) -> None:
        self.port, self.hosts, self.who, self._password = port, hosts, who, password
        self.cookie = f"scarmatch_review_{port}"
        self._once: set[str] = set()
        self._sessions: dict[str, Session] = {}
        self._wrong, self._closed_until = 0, 0.0

    @property
    def has_password(self) -> bool:
        """Whether a password opens a session."""
        return self._password is not None

    def invite(self) -> str:
        """Return a path that opens one session, once."""
        token = secrets.token_urlsafe(24)
        self._once.add(token)
        return f"/enter?token={token}"

    def enter(self, token: str, headers: Headers) -> Session | None:
        """Return a new session for a one-time token, None if there is no such token (any more)."""
        if token not in self._once:
            return None
        self._once.remove(token)
        return self._open(headers)

    def sign_in(self, password: str, headers: Headers, now: float | None = None) -> Session | None:
        """Return a new session for the password, None if it is wrong, or after too many wrong ones."""
        now = time.monotonic() if now is None else now
        if self._password is None or now < self._closed_until:
            return None
        if hmac.compare_digest(password.encode(), self._password.encode()):
            self._wrong = 0
            return self._open(headers)
        self._wrong += 1
        if self._wrong >= _TRIES:
            self._wrong, self._closed_until = 0, now + _PAUSE
        return None

    def _open(self, headers: Headers) -> Session:
        # A browser remembers the name under which it decided last.
        who = unquote(_cookies(headers).get(NAME_COOKIE, ""))[:100].strip()
        who = who if who and who.isprintable() else self.who
        session = Session(secrets.token_urlsafe(24), secrets.token_urlsafe(24), who)
        self._sessions[session.secret] = session
        return session

    def session_of(self, headers: Headers) -> Session | None:
        """Return the session whose cookie a request carries, None if it carries none."""
        return self._sessions.get(_cookies(headers).get(self.cookie, ""))

    def is_own_host(self, host: str) -> bool:
        """Return whether a request's Host is this server."""
        parts = urlsplit(f"//{host}")
        try:
            port = parts.port or 80
        except ValueError:
            return False
        return parts.hostname in self.hosts and port == self.port

    def why_refused(self, method: str, headers: Headers, session: Session) -> str:
        """Return why a request that changes something is refused, "" if it is not."""
        if method in ("GET", "HEAD"):
            return ""
        origin = headers.get("origin")
        if origin is not None and not self._is_own_origin(origin):
            return f"the request comes from {origin}, another site"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "the request comes from another site"
        if not hmac.compare_digest(headers.get(TOKEN_HEADER, "").encode(), session.token.encode()):
            return f"the request lacks the session's token in the header {TOKEN_HEADER} (GET /api/session tells it)"
        return ""

    def _is_own_origin(self, origin: str) -> bool:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and self.is_own_host(parts.netloc)

    def with_cookie(self, response: Response, session: Session) -> Response:
        """Return a response that gives a browser its session."""
        response.set_cookie(self.cookie, session.secret, httponly=True, samesite="strict", path="/")
        return response


class Guard:
    """Lets through what :class:`Access` allows, of bearable size, and adds the headers that keep pages apart.

    Args:
        app: the application behind. access: who may ask. largest: bytes of an upload.
    """

    def __init__(self, app: ASGIApp, access: Access, largest: int) -> None:
        self.app, self.access, self.largest = app, access, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        answer = self._answer(method, path, headers, scope)
        limit = self.largest if path in UPLOADS else _SMALL
        if answer is None and int(headers.get("content-length") or 0) > limit:
            answer = refusal(413, f"the request is larger than {limit:,} bytes")
        if answer is not None:
            await answer(scope, receive, _with_headers(send))
            return
        await self.app(scope, _limited(receive, limit), _with_headers(send))

    def _answer(self, method: str, path: str, headers: Headers, scope: Scope) -> Response | None:
        """Return what the guard itself answers, None where the application may."""
        if not self.access.is_own_host(headers.get("host", "")):
            return refusal(421, "this server is asked for under another name than its own")
        if path == "/enter" and method == "GET":
            query = scope["query_string"].decode("latin-1")
            token = query.removeprefix("token=") if query.startswith("token=") else ""
            session = self.access.enter(token, headers)
            if session is not None:
                return self.access.with_cookie(RedirectResponse("/", 303), session)
        session = self.access.session_of(headers)
        if path == "/sign-in":
            scope["state"] = {**scope.get("state", {}), "session": session}
            origin = headers.get("origin")
            foreign = origin is not None and not self.access._is_own_origin(origin)
            return refusal(403, f"the request comes from {origin}, another site") if foreign else None
        if session is None:
            if path.startswith("/api/"):
                return refusal(401, "no session: open the address that the program printed")
            return sign_in_page(self.access.has_password, used=path == "/enter")
        if path == "/enter":
            return RedirectResponse("/", 303)
        why = self.access.why_refused(method, headers, session)
        if why:
            return refusal(403, why)
        scope["state"] = {**scope.get("state", {}), "session": session}
        return None


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: one.value for name, one in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def refusal(status: int, why: str) -> Response:
    """Return an answer that says in one line why there is none."""
    return JSONResponse({"error": why}, status)


def _limited(receive: Receive, limit: int) -> Receive:
    """Pass a request's body on, and break off where it is longer than it may be, whatever it said of its length."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            return {"type": "http.disconnect"}
        return message

    return limited


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
