"""Every service of `sluss.v1`, so that a new one can't be forgotten by the tests that go over all of them."""

from __future__ import annotations

import importlib
import pkgutil

import sluss.v1


def modules(*, without=()):
    """The stubs' modules that have services, but those of the protos named `without`."""
    names = sorted(found.name for found in pkgutil.iter_modules(sluss.v1.__path__) if found.name.endswith("_pb2"))
    wanted = [name for name in names if name.removesuffix("_pb2") not in without]
    found = [importlib.import_module(f"sluss.v1.{name}") for name in wanted]
    return [module for module in found if module.DESCRIPTOR.services_by_name]
