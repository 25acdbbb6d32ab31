"""A small real service behind the real server: what the tests of server, guard and workers stand on.

The service `sluss.test.Echo` is made here, with the `allowed` option of the real protos, and one method that
forgot it. `World` is a home folder with an authority, and the certificates of whom a test needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from sluss.v1 import options_pb2

from broker import pki
from broker.errors import Reason, SlussError
from broker.identity import Principal, authorise, parse_principal
from broker.keys.secret_file import write_secret
from broker.server import Server
from broker.settings import Home, Settings

if TYPE_CHECKING:
    from pathlib import Path

DOMAIN = "example.com"
CANARY = "canary-8c1f personal data"
ACME = "subcontractor/acme-pay"


def _descriptor():
    file = descriptor_pb2.FileDescriptorProto(name="sluss/test/echo.proto", package="sluss.test", syntax="proto3")
    file.dependency.append("sluss/v1/options.proto")
    message = file.message_type.add(name="Ping")
    kinds = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="text", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    message.field.add(name="count", number=2, type=kinds.TYPE_UINT32, label=kinds.LABEL_OPTIONAL)
    service = file.service.add(name="Echo")
    everybody = [options_pb2.PRINCIPAL_KIND_SUBCONTRACTOR, options_pb2.PRINCIPAL_KIND_OPERATOR]
    shapes = {
        "SayBack": ((False, False), everybody),
        "CountUp": ((False, True), everybody),
        "Chat": ((True, True), everybody),
        "OperatorsOnly": ((False, False), everybody[1:]),
        "Forgotten": ((False, False), []),
        "Careless": ((False, False), everybody),
    }
    for name, ((reads, writes), allowed) in shapes.items():
        method = service.method.add(name=name, input_type=".sluss.test.Ping", output_type=".sluss.test.Ping")
        method.client_streaming, method.server_streaming = reads, writes
        method.options.Extensions[options_pb2.allowed].extend(allowed)
    return descriptor_pool.Default().AddSerializedFile(file.SerializeToString()) or (
        descriptor_pool.Default().FindFileByName(file.name)
    )


FILE = descriptor_pool.Default().FindFileByName(_descriptor().name)
ECHO = FILE.services_by_name["Echo"]
Ping = message_factory.GetMessageClass(FILE.message_types_by_name["Ping"])


@dataclass(frozen=True)
class Pin:
    principal: str
    revoked_at: int = 0
    not_after: int = 0


class EchoService:
    """Does what a request's text says."""

    def __init__(self, app):
        self.app = app
        self.deadlines = []
        self.closed = 0
        self.streamed = 0
        self.entered = asyncio.Event()

    async def say_back(self, caller, request, deadline_s):
        principal = await asyncio.to_thread(self.app.authorise, caller)
        self.deadlines.append(deadline_s)
        self.entered.set()
        match request.text:
            case "slow":
                await asyncio.sleep(request.count)
            case "unforeseen":
                raise RuntimeError(CANARY)
            case "group":
                raise ExceptionGroup(CANARY, [ValueError(CANARY)])
            case "refused":
                raise SlussError(Reason.PURPOSE_OUT_OF_SCOPE, purpose="billing")
            case "ledger":
                raise SlussError(Reason.LEDGER_UNAVAILABLE)
            case "wrong type":
                return options_pb2.PrincipalKind.DESCRIPTOR
            case "big":
                return Ping(text="x" * request.count)
        return Ping(text=f"{principal.name}: {request.text}")

    async def operators_only(self, caller, request, deadline_s):
        return await self.say_back(caller, request, deadline_s)

    async def forgotten(self, caller, request, deadline_s):
        raise AssertionError("the guard let a method without the option through")

    async def careless(self, caller, request, deadline_s):
        return Ping(text=CANARY)

    async def count_up(self, caller, request, deadline_s):
        try:
            for number in range(request.count):
                await asyncio.to_thread(self.app.authorise, caller)
                if request.text == "unforeseen" and number == 2:
                    raise RuntimeError(CANARY)
                self.streamed += 1
                yield Ping(count=number)
        finally:
            self.closed += 1

    async def chat(self, caller, requests, deadline_s):
        async for request in requests:
            yield await self.say_back(caller, request, deadline_s)


class EchoApp:
    """An `App` whose pins lie in a file, so that a test can change them from outside the worker processes."""

    def __init__(self, settings):
        self.folder = settings.home
        self.echo = EchoService(self)
        self.ledger = self
        self.published = 0
        self.maintained = 0
        self.started = self.closed = False
        self.probe_takes = 0.0
        self.store_gone = False

    def services(self):
        return [(ECHO, self.echo)]

    def authorise(self, caller):
        if self.store_gone:
            raise SlussError(Reason.LEDGER_UNAVAILABLE)
        return authorise(read_pins(self.folder).get, DOMAIN, caller, time.time_ns() // 1000)

    def rights(self):
        return (self.folder / "pins").stat().st_mtime_ns

    def refused(self, callers):
        found = []
        for caller in callers:
            try:
                self.authorise(caller)
            except SlussError as error:
                found.append((caller, error))
        return found

    def probe(self):
        time.sleep(self.probe_takes)
        if self.store_gone or (self.folder / "broken").exists():
            raise SlussError(Reason.LEDGER_UNAVAILABLE)

    def publish(self):
        self.published += 1

    def maintain(self):
        self.maintained += 1

    async def start(self):
        self.started = True

    def close(self):
        self.closed = True


def build(settings):
    """What workers call."""
    if (settings.home / "unbuildable").exists():
        raise SlussError(Reason.KEYS_UNAVAILABLE, "the key file is missing")
    return EchoApp(settings)


def read_pins(folder):
    pins = {}
    for line in (folder / "pins").read_text().splitlines():
        spki, principal, revoked_at, not_after = line.split()
        pins[bytes.fromhex(spki)] = Pin(principal, int(revoked_at), int(not_after))
    return pins


class World:
    """A home folder, its authority, and identities."""

    def __init__(self, folder: Path):
        self.home = Home(folder)
        self.now = time.time_ns() // 1000
        self.ca = pki.make_ca(DOMAIN, self.now)
        self.pins = {}
        for path in (self.home.ca_certificate, self.home.server_certificate):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.home.ca_certificate.write_bytes(self.ca.certificate)
        self.renew_server()
        self.save()

    def renew_server(self, hosts=("localhost", "127.0.0.1")):
        pair = pki.server_certificate(self.ca, hosts, self.now)
        write_secret(self.home.server_key, pair.key, replace=True)
        self.home.server_certificate.write_bytes(pair.certificate)
        return pair

    def settings(self, **overrides):
        given = {"listen": "127.0.0.1:0", "drain_s": 2.0, "probe_s": 0.1, "publish_s": 0.1, **overrides}
        return Settings(home=self.home.path, trust_domain=DOMAIN, origin="example.com/test", **given)

    def save(self):
        lines = [f"{k.hex()} {p.principal} {p.revoked_at} {p.not_after}\n" for k, p in self.pins.items()]
        staged = self.home.path / "pins.new"
        staged.write_text("".join(lines))
        staged.replace(self.home.path / "pins")

    def identity(self, name=ACME, *, pin=None, pinned=True, ca=None, now=None, days=365, domain=DOMAIN):
        """A certificate and its key; pinned to its own name, or to `pin`."""
        principal = parse_principal(name) if "/" in name else Principal("subcontractor", name)
        request = pki.make_request()
        moment = self.now if now is None else now
        certificate = pki.issue(ca or self.ca, request.csr, principal, domain, moment, days=days)
        if pinned:
            self.pins[pki.spki_sha256(certificate)] = Pin(pin or name)
            self.save()
        return pki.KeyPair(certificate, request.key)

    def revoke(self, identity):
        spki = pki.spki_sha256(identity.certificate)
        self.pins[spki] = Pin(self.pins[spki].principal, revoked_at=1)
        self.save()

    def channel(self, port, identity=None, *, options=(), roots=None):
        pair = (identity.key, identity.certificate) if identity else (None, None)
        credentials = grpc.ssl_channel_credentials(roots or self.ca.certificate, *pair)
        wanted = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1), *options]
        return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=wanted)


@contextlib.asynccontextmanager
async def running(world, *, app=None, **overrides):
    """The server in this process: (port, app, server)."""
    settings = world.settings(**overrides)
    app = app or EchoApp(settings)
    server = Server(settings, app)
    port = await server.start(settings.address)
    try:
        yield port, app, server
    finally:
        await server.stop()


def unary(channel, method, service="sluss.test.Echo", reply=Ping):
    return channel.unary_unary(f"/{service}/{method}", lambda message: message.SerializeToString(), reply.FromString)


def stream(channel, method="CountUp", service="sluss.test.Echo", reply=Ping):
    return channel.unary_stream(f"/{service}/{method}", lambda message: message.SerializeToString(), reply.FromString)
