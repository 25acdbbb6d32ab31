"""Sessions in memory, found by a random secret in a cookie, and the links that open one. Nothing is stored."""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluss_legal.web.jobs import Job

IDLE_S = 30 * 60
"""Seconds without a request after which a session ends."""
LONGEST_S = 8 * 60 * 60
"""Seconds after which a session ends, whatever happens."""
LINK_S = 120
"""Seconds for which a one-time link can be used."""
MOST = 64
"""Sessions of one user: a client that keeps no cookies begins one with every request."""
_SECRET_BYTES = 32


@dataclass
class Session:
    """One sign-in of one user.

    Attributes:
        secret: what the cookie holds.
        folder: the user's profile folder.
        csrf: what every form carries.
        began: seconds of the monotonic clock.
        used: when the last request came, by the same clock.
        language: `sv` or `en`; empty for what the browser prefers.
        theme: `light`, `dark` or `auto`.
        notices: shown once, on the next page.
        jobs: releases under way or waiting to be fetched, by case.
    """

    secret: str
    folder: Path
    csrf: str
    began: float
    used: float
    language: str = ""
    theme: str = "auto"
    notices: list[str] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)

    def owns(self, token: str) -> bool:
        """Whether a form's token is this session's."""
        return hmac.compare_digest(self.csrf.encode(), token.encode())

    def take_notices(self) -> list[str]:
        """The notices, which are gone afterwards."""
        taken, self.notices = self.notices, []
        return taken


class Sessions:
    """All sessions of one console. Safe among threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._open: dict[str, Session] = {}

    def begin(self, folder: Path) -> Session:
        """A new session for the user of a profile folder."""
        now = self._clock()
        session = Session(secrets.token_urlsafe(_SECRET_BYTES), folder, secrets.token_urlsafe(_SECRET_BYTES), now, now)
        with self._lock:
            self._sweep(now)
            self._make_room(folder)
            self._open[session.secret] = session
        return session

    def find(self, secret: str) -> Session | None:
        """The session of a cookie, whose idle time begins anew; None if it has ended or never was."""
        now = self._clock()
        with self._lock:
            self._sweep(now)
            session = self._open.get(secret)
            if session is not None:
                session.used = now
            return session

    def end(self, session: Session) -> None:
        """Ends a session, with all that it held."""
        with self._lock:
            self._open.pop(session.secret, None)

    def _make_room(self, folder: Path) -> None:
        """Ends the session of a user with too many that holds no release and was not used for longest."""
        own = [session for session in self._open.values() if session.folder == folder]
        if len(own) >= MOST:
            del self._open[min(own, key=lambda session: (bool(session.jobs), session.used)).secret]

    def _sweep(self, now: float) -> None:
        """Ends what has expired: also what nobody asks for again, since it may hold a package."""
        for secret, session in list(self._open.items()):
            if now - session.used > IDLE_S or now - session.began > LONGEST_S:
                del self._open[secret]


class Links:
    """One-time links. A token opens one session, within two minutes. Safe among threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._until: dict[str, float] = {}

    def issue(self) -> str:
        """A new token."""
        token = secrets.token_urlsafe(_SECRET_BYTES)
        with self._lock:
            self._until[token] = self._clock() + LINK_S
        return token

    def redeem(self, token: str) -> bool:
        """Uses up a token; False if it was used, has expired or never was."""
        with self._lock:
            until = self._until.pop(token, None)
        return until is not None and self._clock() <= until
