"""The part of a form that says whose data and which fields: what was typed, what is wrong with it, what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluss.v1 import contract_pb2
from sluss.v1 import legal_pb2 as pb

from broker import transforms
from broker.catalogue import default_catalogue
from sluss_legal.dates import is_day
from sluss_legal.words import CATEGORIES, N_

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.datastructures import FormData

    from broker.catalogue import Field

Fault = tuple[str, dict[str, object]]
"""A text to be translated, and its values."""

MAX_PERSONS = 10_000
MAX_FIELDS = 64
CONDITIONS = 2
"""Conditions on a population that the form has room for."""
PERSON_ID = re.compile(r"P-[0-9A-Z]{13}")
_FULL = "full"


@dataclass
class ScopeForm:
    """What was typed.

    Attributes:
        persons: ids, one a line, as typed.
        population: `listed`, `everyone` or `some`.
        conditions: field and values, separated by commas, of each condition for `some`.
        fields: name to the form in which it leaves.
        collected_from: first day, or empty.
        collected_until: last day, or empty.
    """

    persons: str = ""
    population: str = "listed"
    conditions: list[tuple[str, str]] = field(default_factory=lambda: [("", "")] * CONDITIONS)
    fields: dict[str, str] = field(default_factory=dict)
    collected_from: str = ""
    collected_until: str = ""

    @classmethod
    def of_form(cls, form: FormData) -> ScopeForm:
        """As it came from the browser."""

        def text(name: str) -> str:
            value = form.get(name, "")
            return value.strip() if isinstance(value, str) else ""

        names = [name for name in form.getlist("field") if isinstance(name, str)]
        return cls(
            persons=text("scope.persons"),
            population=text("scope.population") or "listed",
            conditions=[(text(f"where.field.{n}"), text(f"where.values.{n}")) for n in range(CONDITIONS)],
            fields={name: text(f"as.{name}") or _FULL for name in names},
            collected_from=text("scope.collected_from"),
            collected_until=text("scope.collected_until"),
        )

    @classmethod
    def of_scope(cls, scope: pb.Scope) -> ScopeForm:
        """As a case has it."""
        form = cls(
            persons="\n".join(scope.listed.person_ids),
            fields={granted.field: granted.transform for granted in scope.fields},
            collected_from=scope.collected_from,
            collected_until=scope.collected_until,
        )
        if scope.HasField("population"):
            form.population = "everyone" if scope.population.everyone else "some"
            given = [(p.field, ", ".join(p.values)) for p in scope.population.predicates.predicates]
            form.conditions = (given + [("", "")] * CONDITIONS)[: max(CONDITIONS, len(given))]
        return form

    def person_ids(self) -> list[str]:
        """The ids that were typed, each once, in their order."""
        return list(dict.fromkeys(re.split(r"[\s,;]+", self.persons.strip()))) if self.persons.strip() else []

    def add(self, ids: Iterable[str]) -> None:
        """Adds persons."""
        self.persons = "\n".join(dict.fromkeys([*self.person_ids(), *ids]))

    def scope(self) -> pb.Scope:
        """The scope that it means."""
        scope = pb.Scope(
            fields=[contract_pb2.FieldGrant(field=name, transform=form) for name, form in self.fields.items()],
            collected_from=self.collected_from,
            collected_until=self.collected_until,
        )
        if self.population == "everyone":
            scope.population.everyone = True
        elif self.population == "some":
            for name, values in self._conditions():
                scope.population.predicates.predicates.add(field=name, values=values)
        else:
            scope.listed.person_ids.extend(self.person_ids())
        return scope

    def _conditions(self) -> list[tuple[str, list[str]]]:
        split = [(name, [one.strip() for one in values.split(",") if one.strip()]) for name, values in self.conditions]
        return [(name, values) for name, values in split if name and values]

    def faults(self, ground: int) -> dict[str, Fault]:
        """What is wrong, by form field."""
        return {**self._persons(ground), **self._fields(), **self._days()}

    def _persons(self, ground: int) -> dict[str, Fault]:
        return self._listed() if self.population == "listed" else self._whole(ground)

    def _whole(self, ground: int) -> dict[str, Fault]:
        if ground != pb.GROUND_MERGER_OR_SALE:
            text = N_("A whole population can only be released for a merger or sale. Name the persons.")
            return {"scope.population": (text, {})}
        if self.population == "some" and not self._conditions():
            return {"scope.population": (N_("Give at least one condition, with a field and its values."), {})}
        return {}

    def _listed(self) -> dict[str, Fault]:
        ids = self.person_ids()
        wrong = next((one for one in ids if not PERSON_ID.fullmatch(one)), None)
        if not ids:
            return {"scope.persons": (N_("Name at least one person: find them below, or give their ids."), {})}
        if wrong is not None:
            text = N_("“{id}” is no person id. An id looks like P-04CVZ6HGRM5PX.")
            return {"scope.persons": (text, {"id": wrong[:40]})}
        if len(ids) > MAX_PERSONS:
            return {"scope.persons": (N_("At most {most} persons fit into one case."), {"most": MAX_PERSONS})}
        return {}

    def _fields(self) -> dict[str, Fault]:
        if not self.fields:
            return {"scope.fields": (N_("Choose at least one field."), {})}
        if len(self.fields) > MAX_FIELDS:
            return {"scope.fields": (N_("At most {most} fields fit into one case."), {"most": MAX_FIELDS})}
        return {}

    def _days(self) -> dict[str, Fault]:
        wrong: Fault = (N_("Write the day as year-month-day, such as 2026-11-25."), {})
        days = {"scope.collected_from": self.collected_from, "scope.collected_until": self.collected_until}
        faults: dict[str, Fault] = {n: wrong for n, day in days.items() if day and not is_day(day)}
        if not faults and self.collected_from and self.collected_until and self.collected_until < self.collected_from:
            faults["scope.collected_until"] = (N_("The period ends before it begins."), {})
        return faults


@dataclass(frozen=True)
class Choice:
    """A field that can be chosen.

    Attributes:
        name: of the catalogue.
        labels: by language.
        transforms: the forms that it can have, `full` first.
    """

    name: str
    labels: dict[str, str]
    transforms: list[str]


def choices(only: Iterable[str] | None = None) -> list[tuple[str, str, list[Choice]]]:
    """The fields of the catalogue by category, as code, label and fields; `only` these, if given."""
    wanted = set(only) if only is not None else None
    fields = [
        f for f in default_catalogue().fields.values() if not f.forbidden and (wanted is None or f.name in wanted)
    ]
    groups = [(code, label, [_choice(f) for f in fields if f.category == code]) for code, label in CATEGORIES.items()]
    unknown = sorted((wanted or set()) - {f.name for f in fields})
    groups.append(("other", N_("Other"), [Choice(name, {}, [_FULL]) for name in unknown]))
    return [group for group in groups if group[2]]


def _choice(chosen: Field) -> Choice:
    forms = sorted(transforms.allowed(chosen.type), key=lambda name: (name != _FULL, name))
    return Choice(chosen.name, {"en": chosen.label_en, "sv": chosen.label_sv}, forms)
