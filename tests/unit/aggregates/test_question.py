"""Questions: one form whatever the order, closed days, and nothing that identifies a device."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.aggregates.question import canonical, last_closed_day, require_closed
from broker.catalogue import default_catalogue_text, parse_catalogue
from broker.catalogue.usage import Noise
from broker.errors import Reason, SlussError
from tests.unit.aggregates.world import ADS, ASKED, CATALOGUE, FIRST, LAST, question

COUNTRIES = CATALOGUE.attributes["country"].values
DIMENSIONS = {"advertisement": ADS, "country": COUNTRIES}
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from(values), min_size=1, max_size=6, unique=True)
        for name, values in DIMENSIONS.items()
    },
)


def shuffled(items, dice):
    return tuple(dice.sample(list(items), len(items)))


@given(
    measures=st.lists(st.sampled_from(["persons", "events", "seconds", "mean_seconds"]), min_size=1, unique=True),
    by=st.lists(st.sampled_from(["advertisement", "month"]), unique=True),
    filters=FILTERS,
    seed=st.integers(0, 2**32),
)
def test_the_same_question_has_one_digest_in_whatever_order_it_is_asked(measures, by, filters, seed):
    dice = random.Random(seed)
    one = question(
        measures=tuple(measures), group_by=tuple(by), filters=tuple((k, tuple(v)) for k, v in filters.items())
    )
    other = question(
        measures=shuffled([*measures, *({"persons"} - set(measures))], dice),
        group_by=shuffled(by, dice),
        filters=shuffled([(name, shuffled(values, dice)) for name, values in filters.items()], dice),
    )
    assert (one.digest, one.cells, one.cost) == (other.digest, other.cells, other.cost)


def test_a_filter_that_lets_everything_through_is_none():
    assert question(filters=(("country", COUNTRIES[::-1]),)).digest == question().digest


@pytest.mark.parametrize(
    "changes",
    [
        {"group_by": ()},
        {"measures": ("events",)},
        {"filters": (("country", ("SE",)),)},
        {"first_day": FIRST + timedelta(days=1)},
        {"noise": Noise.GAUSSIAN},
        {"event": "meeting.joined", "group_by": ()},
    ],
)
def test_another_question_has_another_digest(changes):
    assert question(**changes).digest != question().digest


def test_the_rules_are_part_of_the_question():
    assert question(min_persons=50).digest != question().digest
    assert question(min_persons=5).digest == question().digest, "the catalogue's minimum holds"


def test_every_cell_of_the_closed_domain_is_there():
    asked = question(group_by=("month", "advertisement"), first_day=date(2026, 9, 1))
    assert asked.group_by == ("advertisement", "month")
    assert len(asked.cells) == 2 * len(ADS)
    assert question(group_by=()).cells == ((),)
    assert question(group_by=()).cells_per_person == 1


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"event": "advertisement.clicked"}, Reason.FIELD_UNKNOWN, "advertisement.clicked"),
        ({"group_by": ("meeting.kind",)}, Reason.FIELD_UNKNOWN, "group_by"),
        ({"group_by": ("ip_address",)}, Reason.TECHNICAL_IDENTIFIER, "group_by"),
        ({"group_by": ("cookie.id",)}, Reason.TECHNICAL_IDENTIFIER, "group_by"),
        ({"filters": (("technical.device_code", ("x",)),)}, Reason.TECHNICAL_IDENTIFIER, "filters"),
        ({"group_by": ("day", "month")}, Reason.INVALID_REQUEST, "group_by"),
        ({"group_by": ("country", "country")}, Reason.INVALID_REQUEST, "group_by"),
        ({"group_by": ("advertisement", "country", "day")}, Reason.INVALID_REQUEST, "group_by"),
        ({"measures": ()}, Reason.INVALID_REQUEST, "measures"),
        ({"measures": ("median",)}, Reason.INVALID_REQUEST, "measures"),
        ({"measures": ("seconds",), "event": "service.used", "group_by": ()}, Reason.INVALID_REQUEST, "measures"),
        ({"filters": (("country", ()),)}, Reason.INVALID_REQUEST, "filters"),
        ({"filters": (("country", ("XX",)),)}, Reason.INVALID_REQUEST, "filters"),
        ({"filters": (("country", ("SE",)), ("country", ("NO",)))}, Reason.INVALID_REQUEST, "filters"),
        ({"filters": (("month", ("2026-10",)),)}, Reason.INVALID_REQUEST, "filters"),
        ({"last_day": FIRST - timedelta(days=1)}, Reason.INVALID_REQUEST, "last_day"),
        ({"first_day": date(2010, 1, 1)}, Reason.INVALID_REQUEST, "last_day"),
        ({"group_by": ("month",), "first_day": date(2026, 10, 2)}, Reason.INVALID_REQUEST, "first_day"),
        ({"group_by": ("month",), "last_day": date(2026, 10, 30)}, Reason.INVALID_REQUEST, "first_day"),
    ],
)
def test_what_can_not_be_asked_is_refused_by_name(changes, reason, field):
    with pytest.raises(SlussError) as caught:
        question(**changes)
    assert (caught.value.reason, caught.value.metadata["field"]) == (reason, field)


def test_a_catalogue_without_events_counts_nothing():
    bare = replace(CATALOGUE, rules=None, events={}, attributes={})
    with pytest.raises(SlussError) as caught:
        canonical(ASKED, bare, 0)
    assert caught.value.reason is Reason.FIELD_UNKNOWN


@pytest.mark.parametrize("days", [1, 2, 30])
def test_a_day_is_asked_about_once_it_is_closed(days):
    ends = datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC) + timedelta(days=1)
    opens = int(ends.timestamp()) + days * 86_400
    require_closed(question(), opens * 1_000_000, days)
    with pytest.raises(SlussError) as caught:
        require_closed(question(), opens * 1_000_000 - 1, days)
    assert caught.value.reason is Reason.PERIOD_NOT_CLOSED
    assert caught.value.metadata["last_closed_day"] == "2026-10-30"
    assert int(caught.value.metadata["retry_after_s"]) == 1
    assert last_closed_day(opens * 1_000_000, days) == LAST


# --- the catalogue --------------------------------------------------------------------------------------

TEXT = default_catalogue_text()


@pytest.mark.parametrize(
    "name",
    ["ip", "ip_address", "last_ip", "cookie", "cookie_id", "device_code", "device", "mac", "imei", "user_agent",
     "browser", "session_id", "enhetskod", "kaka", "advertising_id", "fingerprint", "visitor.id", "uuid",
     "ip24", "ip_prefix", "ipv4net", "subnet", "network_prefix", "truncated_ip", "cookie2", "serial_number",
     "ipnummer", "ip_nr", "ipnr", "macadress", "serienr", "enhetsnummer", "tracking_id", "click_id", "gclid",
     "client_addr", "remote_host", "x_forwarded_for", "meid", "adid"],
)  # fmt: skip
def test_a_technical_identifier_can_never_be_an_attribute(name):
    table = f'\n[[attribute]]\nname = "{name}"\ncategory = "usage"\nvalues = ["a"]\nen = "A"\nsv = "A"\n'
    if name == "visitor.id":
        name = "visitor_id"
        table = table.replace("visitor.id", "visitor_id")
    with pytest.raises(SlussError) as caught:
        parse_catalogue(TEXT + table)
    assert (caught.value.reason, caught.value.metadata["field"]) == (Reason.TECHNICAL_IDENTIFIER, name)


@pytest.mark.parametrize(
    "value",
    ["10.0.0.1", "10.0.0", "10.0.0.x", "10.0.x.x", "10.0.0.0-24", "10.0.0.0_8", "192.168.1.", "192.168.", "10.0-16",
     "2001-db8-85a3", "2001-db8-85a3--8a2e", "fe80--1", "2001-db8--_32", "ab-cd-ef-01-02-03",
     "10-0-0-1", "192_168_1_20"],
)  # fmt: skip
def test_an_address_that_is_cut_off_is_no_value_either(value):
    """POLICY 8: a truncated address may be kept of a person, but nobody is counted by it."""
    with pytest.raises(SlussError) as caught:
        parse_catalogue(TEXT.replace('"telephone", "web"', f'"{value}", "web"', 1))
    assert caught.value.reason is Reason.TECHNICAL_IDENTIFIER


@pytest.mark.parametrize(
    "value", ["18-24", "65-", "1.5", "2026-11", "2026-11-20", "a-b-c", "feed-a-cafe", "v1.2.3", "de-AT"]
)
def test_what_only_resembles_an_address_is_a_value(value):
    assert parse_catalogue(TEXT.replace('"telephone", "web"', f'"{value}", "web"', 1)).attributes


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('category = "usage"\nvalues = ["telephone"', 'category = "technical"\nvalues = ["telephone"', "TECHNICAL"),
        ('"telephone", "web"', '"10.0.0.1", "web"', "TECHNICAL"),
        ('"telephone", "web"', '"12345678-1234-1234-1234-123456789012", "web"', "TECHNICAL"),
        ('attributes = ["service.part"]', 'attributes = ["cookie_id"]', "TECHNICAL"),
        ('attributes = ["service.part"]', 'attributes = ["unheard_of"]', "attributes"),
        ('name = "meeting.kind"\ncategory', 'name = "month"\ncategory', "name"),
        ('name = "meeting.kind"\ncategory', 'name = "language"\ncategory', "event"),
        ('values = ["telephone", "web", "webinar"]\n', "", "values"),
        ("min_persons = 20", "min_persons = 1", "min_persons"),
        ("epsilon_micro = 250000", "epsilon_micro = 0", "epsilon_micro"),
        ('noise = "laplace"', 'noise = "uniform"', "noise"),
        ('period = "month"', 'period = "day"', "period"),
        ("max_events = 5\n", "", "max_events"),
        ("total_delta_nano = 40", "total_delta_nano = -1", "total_delta_nano"),
        ("[aggregates]", "[averages]", "averages"),
    ],
)
def test_a_catalogue_that_can_not_be_kept_is_refused(old, new, reason):
    assert old in TEXT
    with pytest.raises(SlussError) as caught:
        parse_catalogue(TEXT.replace(old, new, 1))
    assert caught.value.reason in (Reason.TECHNICAL_IDENTIFIER, Reason.MALFORMED)
    if reason == "TECHNICAL":
        assert caught.value.reason is Reason.TECHNICAL_IDENTIFIER
