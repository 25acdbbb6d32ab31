"""The channels by which a person can be contacted; fields, purposes and choices name them (POLICY 2)."""

from __future__ import annotations

from typing import Final

CHANNELS: Final = ("email", "phone", "post", "sms")
"""In order of name, as lists of channels are."""
