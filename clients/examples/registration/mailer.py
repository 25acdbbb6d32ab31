"""Watches the outbox and writes each message as a mail, `FOLDER/<number>.eml`, for a mail server to pick up.

    python -m examples.registration.mailer PROFILE FOLDER --sender noreply@example.com [--consumer mail] [--count N]

At least once: a message is acknowledged when its file is on the disk. Killed in between, the program writes the same
file again, under the same name and with the same Message-ID, so that nobody gets two. A stream that ends is taken up
again, after a pause that grows; an acknowledgement that got no reply is then sent again before anything else.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from examples.registration.letters import letter, tongue
from sluss.v1 import outbox_pb2, outbox_pb2_grpc, policy_pb2, policy_pb2_grpc
from sluss_client.channel import channel
from sluss_client.errors import Refused, SlussClientError, TransportError, from_rpc_error
from sluss_client.files import sync_folder
from sluss_client.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

CALL_S = 20.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class Mailer:
    """Writes the mails of one consumer.

    Args:
        line: the channel to the broker.
        folder: where the mails go.
        consumer: under which name the broker keeps what was acknowledged; the same after every restart.
        sender: the address in From.
    """

    def __init__(self, line: grpc.Channel, folder: Path, consumer: str, sender: str) -> None:
        self._outbox = outbox_pb2_grpc.OutboxServiceStub(line)
        self._policies = policy_pb2_grpc.PolicyServiceStub(line)
        self._folder = folder
        self._consumer = consumer
        self._sender = sender
        self._pause_s = FIRST_PAUSE_S
        self._unheard: outbox_pb2.OutboxAcknowledgement | None = None
        self._done = 0

    def run(self, count: int = 0) -> None:
        """Watches for good, or until `count` messages have been answered.

        Raises:
            Refused: the broker says no, for a reason that no waiting mends.
        """
        while not count or self._done < count:
            try:
                self._watch(count)
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                # STREAM_IDLE and the like are the broker's no to a stream, not to the next one.
                if isinstance(failure, Refused) and failure.reason not in {"STREAM_IDLE", "RATE_EXCEEDED", "INTERNAL"}:
                    raise failure from None
                sys.stderr.write(f"{type(failure).__name__}: again in {self._pause_s:g} s\n")
            if count and self._done >= count:
                return
            time.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _watch(self, count: int) -> None:
        self._acknowledge()
        if count and self._done >= count:
            return
        stream = self._outbox.WatchOutbox(outbox_pb2.WatchOutboxRequest(consumer=self._consumer))
        try:
            for reply in stream:
                self._pause_s = FIRST_PAUSE_S
                if reply.HasField("item"):
                    failure = self._deliver(reply.item)
                    self._unheard = outbox_pb2.OutboxAcknowledgement(id=reply.item.id, failure=failure)
                    self._acknowledge()
                    if self._done == count:
                        return
        finally:
            stream.cancel()

    def _acknowledge(self) -> None:
        """Sends the answer that the broker is not known to have; a delivery that it has on record stays as it is."""
        if self._unheard is None:
            return
        request = outbox_pb2.AcknowledgeOutboxRequest(consumer=self._consumer, acknowledgements=[self._unheard])
        self._outbox.AcknowledgeOutbox(request, timeout=CALL_S)
        self._unheard = None
        self._done += 1

    def _deliver(self, item: outbox_pb2.OutboxItem) -> outbox_pb2.OutboxFailure.ValueType:
        """Writes the mail; why it can't be, if so."""
        if not item.email:
            return outbox_pb2.OUTBOX_FAILURE_ADDRESS_MISSING
        try:
            subject, text = letter(item, self._changes(item))
        except ValueError:
            return outbox_pb2.OUTBOX_FAILURE_OTHER
        except grpc.RpcError as error:
            failure = from_rpc_error(error)
            if isinstance(failure, TransportError):
                raise
            # The text can't be had: this letter waits, and no other waits for it.
            sys.stderr.write(f"message {item.id}: {failure}\n")
            return outbox_pb2.OUTBOX_FAILURE_TEMPORARY
        try:
            mail = self._mail(item, subject, text)
        except ValueError:
            return outbox_pb2.OUTBOX_FAILURE_ADDRESS_REJECTED
        try:
            self._write(self._folder / f"{item.id}.eml", mail.as_bytes(policy=SMTPUTF8))
        except OSError as error:
            sys.stderr.write(f"message {item.id}: {error.strerror}\n")
            return outbox_pb2.OUTBOX_FAILURE_TEMPORARY
        return outbox_pb2.OUTBOX_FAILURE_UNSPECIFIED

    def _mail(self, item: outbox_pb2.OutboxItem, subject: str, text: str) -> EmailMessage:
        """The mail.

        Raises:
            ValueError: the address is none that mail can be sent to.
        """
        mail = EmailMessage(policy=SMTPUTF8)
        mail["Message-ID"] = f"<{item.id}.{self._consumer}@{self._sender.rpartition('@')[2]}>"
        mail["From"] = self._sender
        # In its parts: as one, the standard library takes no letters beyond ASCII before the @ (RFC 6531).
        local, _, domain = item.email.rpartition("@")
        mail["To"] = Address(display_name=item.name, username=local, domain=domain)
        mail["Subject"] = subject
        mail["Content-Language"] = tongue(item.language)
        # No vacation message and no mailing list may answer it (RFC 3834).
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text)
        return mail

    def _changes(self, item: outbox_pb2.OutboxItem) -> str:
        """Of a new policy version what changed, in the person's language."""
        if item.kind != outbox_pb2.OUTBOX_KIND_POLICY_CHANGED:
            return ""
        request = policy_pb2.GetPolicyTextRequest(version=item.references["version"], language=tongue(item.language))
        return self._policies.GetPolicyText(request, timeout=CALL_S).text.changes

    def _write(self, path: Path, data: bytes) -> None:
        """Puts the file there whole, and on the disk before it is acknowledged."""
        staged = path.with_suffix(".part")
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        sync_folder(path.parent)


def main(words: Sequence[str]) -> int:
    """Runs the mailer; the exit code."""
    parser = argparse.ArgumentParser(prog="mailer", description="Writes the messages of the outbox as mails.")
    parser.add_argument("profile", type=Path, help="the profile folder of an internal service")
    parser.add_argument("folder", type=Path, help="where the mails go")
    parser.add_argument("--sender", required=True, help="the address in From")
    parser.add_argument("--consumer", default="mail", help="the same name after every restart")
    parser.add_argument("--count", type=int, default=0, help="end after so many messages")
    given = parser.parse_args(words)
    try:
        given.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with channel(Profile.load(given.profile)) as line:
            Mailer(line, given.folder, given.consumer, given.sender).run(given.count)
    except (SlussClientError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
