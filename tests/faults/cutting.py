"""A TCP proxy before a broker that cuts the connection when told, in the middle of a reply."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

BLOCK = 65_536


class Cutter:
    """Passes bytes on; while armed, cuts the connection that carries the last of the replies it was told to let pass.

    Attributes:
        cuts: how many connections were cut.
    """

    def __init__(self, target_port):
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._guard = threading.Lock()
        self._left = []
        self._pairs = []
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        for pair in self._pairs:
            _end(pair)

    def cut_after(self, *reply_bytes):
        """Arm: let so many bytes of replies pass, then cut; then the same for the next number, until none is left."""
        with self._guard:
            self._left = list(reply_bytes)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            self._pairs.append(pair)
            threading.Thread(target=self._pass_on, args=(pair, client, server, False), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(pair, server, client, True), daemon=True).start()

    def _pass_on(self, pair, source, sink, replies):
        with suppress(OSError):
            while data := source.recv(BLOCK):
                allowed, cut = self._take(len(data)) if replies else (len(data), False)
                sink.sendall(data[:allowed])
                if cut:
                    break
        _end(pair)

    def _take(self, count):
        with self._guard:
            if not self._left:
                return count, False
            if count < self._left[0]:
                self._left[0] -= count
                return count, False
            self.cuts += 1
            return self._left.pop(0), True


def _end(pair):
    for end in pair:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
