"""Catalogues as a broker holds them, and small changes to the shipped one."""

from __future__ import annotations

from broker.catalogue import default_catalogue
from broker.catalogue.history import ages, with_ages


def aged(catalogue=None):
    """A catalogue, by default the shipped one, whose purposes have always existed."""
    found = catalogue or default_catalogue()
    return with_ages(found, ages([(0, found)]))
