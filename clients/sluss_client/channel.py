"""gRPC channels from a profile: mutual TLS, keepalive, room for a bulk message. For every kind of principal.

with channel(Profile.load("/etc/sluss/billing")) as line:
    persons = person_pb2_grpc.PersonServiceStub(line)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from grpc import aio

    from sluss_client.profile import Identity, Profile

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of the largest reply that is accepted: 10,000 slices of 6 KB."""

_KEEPALIVE_MS = 60_000
_RECONNECT_MS = 5_000
"""The longest pause between attempts to connect: a broker that is back is not left alone for gRPC's two minutes."""


def credentials(profile: Profile, identity: Identity | None = None) -> grpc.ChannelCredentials:
    """Our certificate and key (those in use if none are given), and the authority that the broker's must come from."""
    key, certificate = identity or profile.identity()
    return grpc.ssl_channel_credentials(profile.ca(), key, certificate)


def options(profile: Profile) -> list[tuple[str, int | str]]:
    """Channel arguments. gRPC's own retries are off: the SDK retries under one request id."""
    chosen: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
        ("grpc.enable_retries", 0),
    ]
    if profile.server_name:
        chosen.append(("grpc.ssl_target_name_override", profile.server_name))
    return chosen


def channel(profile: Profile, identity: Identity | None = None) -> grpc.Channel:
    """A channel, to be used as a context manager or closed."""
    return grpc.secure_channel(profile.endpoint, credentials(profile, identity), options(profile))


def aio_channel(profile: Profile, identity: Identity | None = None) -> aio.Channel:
    """A channel for asyncio, to be made while the event loop runs."""
    return grpc.aio.secure_channel(profile.endpoint, credentials(profile, identity), options(profile))
