"""The SDK of Sluss: what a subcontractor's program needs to get slices, and to trust nobody blindly.

from sluss_client import Subcontractor

with Subcontractor.from_profile("/etc/sluss/acme-pay") as sluss:
    results = sluss.disclose("C-2026-0001", "billing.collection", ["email"], handles)
"""

from sluss_client.aggregates import Counted, CountedCell
from sluss_client.aio import AsyncSubcontractor
from sluss_client.channel import aio_channel, channel
from sluss_client.errors import IntegrityError, Refused, SlussClientError, TransportError
from sluss_client.obligations import NeedTime, Obligation
from sluss_client.profile import Profile
from sluss_client.results import Chunk, Offer, OpenedPerson, RegisteredKey, Result, UnavailablePerson
from sluss_client.subcontractor import Subcontractor

__all__ = [
    "AsyncSubcontractor",
    "Chunk",
    "Counted",
    "CountedCell",
    "IntegrityError",
    "NeedTime",
    "Obligation",
    "Offer",
    "OpenedPerson",
    "Profile",
    "Refused",
    "RegisteredKey",
    "Result",
    "SlussClientError",
    "Subcontractor",
    "TransportError",
    "UnavailablePerson",
    "aio_channel",
    "channel",
]
