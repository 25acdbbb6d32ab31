"""Consoles as processes of their own, and a browser without a screen: what the tests of the console stand on."""

import http.client
import os
import re
import urllib.parse
from pathlib import Path

from tests.support import nursery

CHROMIUM = Path(os.environ.get("SLUSS_CHROMIUM", "/usr/bin/chromium"))
NO_CHROMIUM = f"no Chromium at {CHROMIUM}: install it, or name one in SLUSS_CHROMIUM"
WIDE = {"width": 1360, "height": 900}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Console:
    """`sluss console` with the arguments given. A context manager.

    Attributes:
        link: the one-time link, or a team's address.
        address: `scheme://host:port`.
    """

    def __init__(self, *arguments, begin=nursery.start_telling):
        self.process, self._said = begin(["console", "--no-browser", *arguments])
        said = []
        for line in self._said:
            said.append(line)
            found = re.search(r"https?://\S+?:\d+/\S*", line)
            if found:
                self.link = found[0]
                break
        else:
            raise AssertionError("the console did not start: " + "".join(said))
        parts = urllib.parse.urlsplit(self.link)
        self.address = f"{parts.scheme}://{parts.netloc}"
        self.host, self.port = parts.hostname, parts.port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self._said.close()


class Visitor:
    """A plain HTTP client with a cookie: what an attacker, or a browser without scripts, can send."""

    def __init__(self, console, tls=None):
        self.console = console
        self.tls = tls
        self.cookie = ""

    def send(self, method, path, form=None, **headers):
        """Status, headers and body of the answer. Header names with `_` for dashes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            sent["Cookie"] = self.cookie
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form, doseq=True)
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
            sent.setdefault("Origin", self.console.address)
        made = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        extra = {"context": self.tls} if self.tls else {}
        line = made(self.console.host, self.console.port, timeout=20, **extra)
        try:
            line.request(method, path, body, sent)
            answer = line.getresponse()
            content = answer.read().decode("utf-8", "replace")
        finally:
            line.close()
        if answer.headers["set-cookie"]:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer.status, answer.headers, content

    def get(self, path, **headers):
        return self.send("GET", path, **headers)

    def post(self, path, form, **headers):
        return self.send("POST", path, form, **headers)

    def enter(self):
        """Comes in by the one-time link; gives the answer."""
        return self.get(self.console.link.removeprefix(self.console.address))

    def csrf(self, path="/"):
        """The token of a form."""
        return re.search(r'name="csrf" value="([^"]+)"', self.get(path)[2])[1]
