import pytest
from sluss.v1 import contract_pb2 as pb
from sluss_cli.contract_file import EXAMPLE, parse_contract
from sluss_cli.exits import Exit
from sluss_cli.problems import Problem

MINIMAL = """
subcontractor = "subcontractor/acme-pay"
recipient_name = "Acme"
recipient_address = "Street 1"
valid_from = 2026-01-01
valid_until = "2026-12-31"
[[grants]]
purpose = "billing"
population = "everyone"
retention_days = 30
volume = { day = 10 }
fields = { email = "full" }
"""


def test_example_parses_to_the_terms_that_it_describes():
    terms = parse_contract(EXAMPLE)
    assert terms.subcontractor == "subcontractor/acme-pay"
    assert (terms.valid_from, terms.valid_until) == ("2026-01-01", "2030-12-31")
    billing, delivery, counted = terms.grants
    assert (counted.purpose, counted.population.everyone, counted.fields) == ("anonymous.advertising", True, [])
    (granted,) = counted.aggregate.events
    assert (granted.event, list(granted.dimensions)) == ("advertisement.visited", ["advertisement", "country"])
    assert (counted.aggregate.min_persons, counted.aggregate.budget_micro) == (50, 1_500_000)
    assert [(f.field, f.transform) for f in billing.fields] == [
        ("email", "full"),
        ("name.display", "full"),
        ("payment.card_number", "last4"),
        ("phone", "full"),
    ]
    assert billing.population.everyone
    assert [(v.window, v.persons) for v in billing.volumes] == [("day", 10000), ("month", 100000)]
    assert [(p.field, list(p.values)) for p in delivery.population.predicates.predicates] == [
        ("address.country", ["SE", "NO"])
    ]


def test_quoted_and_dotted_field_names_mean_the_same():
    dotted = parse_contract(MINIMAL.replace('{ email = "full" }', '{ name.given = "first" }'))
    quoted = parse_contract(MINIMAL.replace('{ email = "full" }', '{ "name.given" = "first" }'))
    assert dotted == quoted
    assert dotted.grants[0].fields[0] == pb.FieldGrant(field="name.given", transform="first")


def test_listed_persons_are_a_population():
    terms = parse_contract(MINIMAL.replace('"everyone"', '{ persons = ["P-1", "P-2"] }'))
    assert list(terms.grants[0].population.persons.person_ids) == ["P-1", "P-2"]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("valid_from", "valid_form", "valid_form"),
        ('subcontractor = "subcontractor/acme-pay"', "", "subcontractor"),
        ('"subcontractor/acme-pay"', "7", "subcontractor"),
        ('recipient_name = "Acme"', 'recipient_name = "  "', "recipient_name"),
        ("2026-01-01", "2026-01-01T00:00:00Z", "valid_from"),
        ("2026-01-01", "20260", "valid_from"),
        ('"2026-12-31"', '"2026-13-31"', "valid_until"),
        ("[[grants]]", "[grants]", "grants"),
        ('purpose = "billing"', "", "grants[1].purpose"),
        ('purpose = "billing"', 'purpos = "billing"', "grants[1].purpos"),
        ('population = "everyone"', "", "grants[1].population"),
        ('"everyone"', '"all"', "grants[1].population"),
        ('"everyone"', "{ everyone = true }", "grants[1].population"),
        ('"everyone"', "{ persons = [] }", "grants[1].population.persons"),
        ('"everyone"', "{ persons = [1] }", "grants[1].population.persons"),
        ('"everyone"', '{ persons = ["P"], where = {} }', "grants[1].population"),
        ('"everyone"', "{ where = {} }", "grants[1].population.where"),
        (
            '"everyone"',
            '{ where = { address.country = "SE" } }',
            "grants[1].population.where.address.country",
        ),
        ("retention_days = 30", "retention_days = 0", "grants[1].retention_days"),
        ("retention_days = 30", "retention_days = true", "grants[1].retention_days"),
        ("retention_days = 30", "retention_days = 3651", "grants[1].retention_days"),
        ("retention_days = 30", "retention_days = 30.5", "grants[1].retention_days"),
        ("{ day = 10 }", "{}", "grants[1].volume"),
        ("{ day = 10 }", "{ week = 10 }", "grants[1].volume.week"),
        ("{ day = 10 }", "{ day = -1 }", "grants[1].volume.day"),
        ('{ email = "full" }', "{}", "grants[1].fields"),
        ('{ email = "full" }', "{ email = 1 }", "grants[1].fields.email"),
        ('{ email = "full" }', '{ email = "" }', "grants[1].fields.email"),
        ('{ email = "full" }', '["email"]', "grants[1].fields"),
        (
            '{ email = "full" }',
            '{ name.given = "full", "name.given" = "first" }',
            "grants[1].fields.name.given",
        ),
    ],
)
def test_each_mistake_is_named_by_its_place(old, new, place):
    assert old in MINIMAL
    with pytest.raises(Problem) as caught:
        parse_contract(MINIMAL.replace(old, new, 1))
    assert caught.value.exit is Exit.USAGE
    assert caught.value.metadata["place"] == place
    assert f"`{place}`" in caught.value.detail


def test_toml_syntax_error_names_the_line():
    with pytest.raises(Problem, match="line 2"):
        parse_contract('subcontractor = "x"\n= 3\n')


def test_deep_nesting_is_refused_and_not_followed():
    deep = "{ a = " * 30 + '"full"' + " }" * 30
    with pytest.raises(Problem, match="nested too deeply"):
        parse_contract(MINIMAL.replace('{ email = "full" }', deep))
