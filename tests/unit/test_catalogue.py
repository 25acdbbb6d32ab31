"""The catalogue: strict to read, fail-closed to ask, and honest about what it ships."""

from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError

import pytest

from broker.catalogue import (
    Category,
    Kind,
    default_catalogue,
    default_catalogue_text,
    is_security_code,
    parse_catalogue,
)
from broker.errors import Reason, SlussError

SMALL = """\
format = 1

[policy]
version = "2026-01"
effective = "2026-01-01T00:00:00Z"

[[field]]
name = "email"
category = "contact"
type = "email"
en = "E-mail"
sv = "E-post"
index = "email"

[[purpose]]
code = "billing"
kind = "primary"
dpv = "https://w3id.org/dpv#PaymentManagement"
en = "Bill"
sv = "Fakturera"
payment = true

[[purpose]]
code = "billing.collection"
kind = "primary"
dpv = "https://w3id.org/dpv#CustomerClaimsManagement"
en = "Collect"
sv = "Driva in"
"""

# Purposes of the Data Privacy Vocabulary 2.0 (https://w3id.org/dpv/2.0, module "purposes").
_DPV = (
    "AccountManagement Advertising CommercialResearch CommunicationForCustomerCare "
    "CommunicationManagement CreditChecking CustomerCare CustomerClaimsManagement CustomerManagement "
    "CustomerOrderManagement CustomerRelationshipManagement CustomerSolvencyMonitoring DeliveryOfGoods "
    "DirectMarketing DisputeManagement EnforceAccessControl EnforceSecurity EstablishContractualAgreement "
    "FraudPreventionAndDetection FulfilmentOfContractualObligation FulfilmentOfObligation "
    "IdentityAuthentication IdentityVerification ImproveExistingProductsAndServices "
    "ImproveInternalCRMProcesses IncreaseServiceRobustness InternalResourceOptimisation LegalCompliance "
    "Marketing MisusePreventionAndDetection OptimisationForConsumer OptimisationForController "
    "OrganisationComplianceManagement OrganisationGovernance OrganisationRiskManagement PaymentManagement "
    "Personalisation PersonalisedAdvertising ProtectionOfPublicSecurity PublicRelations RecordManagement "
    "RequestedServiceProvision ResearchAndDevelopment RightsFulfillment SellProducts ServiceOptimisation "
    "ServiceProvision ServiceRegistration ServiceUsageAnalytics TargetedAdvertising "
    "TechnicalServiceProvision VendorManagement Verification "
)
DPV_PURPOSES = frozenset(_DPV.split())


def refusal(text):
    with pytest.raises(SlussError) as caught:
        parse_catalogue(text)
    return caught.value


def test_small_catalogue_is_read_whole():
    catalogue = parse_catalogue(SMALL)
    assert catalogue.field("email").category is Category.CONTACT
    assert catalogue.purpose("billing").payment
    assert not catalogue.purpose("billing.collection").payment
    assert catalogue.policy.version == "2026-01"
    assert catalogue.policy.effective == "2026-01-01T00:00:00.000000Z"
    assert catalogue.digest == hashlib.sha256(SMALL.encode()).digest()
    assert [field.name for field in catalogue.indexed("email")] == ["email"]


EDITS = [
    ('sv = "E-post"', 'sv = "E-post"\ncolour = "red"', 7, "colour"),
    ('category = "contact"', 'category = "gossip"', 7, "category"),
    ('type = "email"', 'type = "emial"', 7, "type"),
    ('sv = "E-post"\n', "", 7, "sv"),
    ('sv = "E-post"', 'sv = ""', 7, "sv"),
    ('sv = "E-post"', "sv = 7", 7, "sv"),
    ('sv = "E-post"', 'sv = "E\\u202epost"', 7, "sv"),
    ('name = "email"', 'name = "E-mail"', 7, "name"),
    ('name = "email"', f'name = "{"a" * 65}"', 7, "name"),
    ('index = "email"', 'index = "phone"', 7, "index"),
    ('index = "email"', "max_length = 0", 7, "max_length"),
    ('index = "email"', "max_length = true", 7, "max_length"),
    ('index = "email"', 'words = ["a"]', 7, "words"),
    (
        'kind = "primary"\ndpv = "https://w3id.org/dpv#Pay',
        'kind = "prime"\ndpv = "https://w3id.org/dpv#Pay',
        15,
        "kind",
    ),
    ("https://w3id.org/dpv#PaymentManagement", "https://example.com/dpv#PaymentManagement", 15, "dpv"),
    ("payment = true", 'payment = "yes"', 15, "payment"),
    ('code = "billing.collection"', 'code = "billng.collection"', 23, "code"),
    ('code = "billing.collection"', 'code = "billing"', 23, "code"),
    (
        'kind = "primary"\ndpv = "https://w3id.org/dpv#Cus',
        'kind = "secondary_own"\ndpv = "https://w3id.org/dpv#Cus',
        23,
        "kind",
    ),
    ('effective = "2026-01-01T00:00:00Z"', 'effective = "2026-01-01"', 0, "effective"),
    ('version = "2026-01"', 'version = "../../etc"', 0, "version"),
    ("format = 1", "format = 1\nextra = 2", 0, "extra"),
]


@pytest.mark.parametrize(("old", "new", "line", "key"), EDITS)
def test_what_is_not_understood_is_refused_with_its_line_and_key(old, new, line, key):
    assert SMALL.count(old) == 1
    error = refusal(SMALL.replace(old, new))
    assert error.reason is Reason.MALFORMED
    assert error.metadata == {"line": str(line), "key": key}


def test_duplicate_field_is_refused():
    table = SMALL[SMALL.index("[[field]]") : SMALL.index("[[purpose]]")]
    assert "stands twice" in refusal(SMALL + "\n" + table).detail


def test_second_customer_number_is_refused():
    table = (
        '\n[[field]]\nname = "{}"\ncategory = "identity"\ntype = "text"\n'
        'en = "N"\nsv = "N"\nindex = "customer_number"\n'
    )
    assert refusal(SMALL + table.format("a") + table.format("b")).metadata["key"] == "index"


@pytest.mark.parametrize(
    "text",
    ["", "format = 1", "not toml [", "format = 1\n[policy]\nversion='1'\neffective='x'\n", "a=" + "[" * 5000],
)
def test_incomplete_or_broken_file_is_one_domain_error(text):
    assert refusal(text).reason is Reason.MALFORMED


@pytest.mark.parametrize("version", ["2", "0", "true", '"1"'])
def test_other_format_is_refused(version):
    assert refusal(SMALL.replace("format = 1", f"format = {version}")).reason is Reason.UNSUPPORTED_VERSION


def test_payment_beyond_primary_purposes_is_refused():
    text = SMALL.replace('kind = "primary"', 'kind = "secondary_own"')
    assert refusal(text).metadata["key"] == "payment"


def test_line_is_withheld_when_a_string_imitates_a_table():
    text = SMALL.replace('en = "E-mail"', 'en = """\n[[field]]\n"""\nwrong = 1')
    assert refusal(text).metadata["line"] == "0"


SECURITY_CODES = [
    "cvc",
    "payment.cvv",
    "card_cvc2",
    "CVV Code",
    "Card Security Code",
    "cardSecurityCode",
    "Kortets säkerhetskod",
    "CVC-kod",
    "Kartenprüfnummer",
    "Prüfziffer",
    "Cryptogramme visuel",
    "Código de seguridad",
    "card_verification_value",
    "track2",
    "pin_block",
    "payment.csc",
]
HARMLESS = [
    "country",
    "postal_code",
    "card_number",
    "civic_number",
    "tracking",
    "kort",
    "description",
    "pin_code_area",
]


@pytest.mark.parametrize("name", SECURITY_CODES)
def test_card_security_code_is_known_in_every_language(name):
    assert is_security_code(name)


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_name_is_not_taken_for_a_security_code(name):
    assert not is_security_code(name)


def test_field_that_looks_like_a_security_code_cannot_be_added():
    error = refusal(SMALL.replace('name = "email"', 'name = "payment.cvv_2"'))
    assert error.reason is Reason.FIELD_FORBIDDEN


def test_security_code_is_forbidden_under_any_name():
    catalogue = default_catalogue()
    for name in ("payment.card_security_code", "cvc", "payment.cvv"):
        with pytest.raises(SlussError) as caught:
            catalogue.field(name)
        assert caught.value.reason is Reason.FIELD_FORBIDDEN
    with pytest.raises(SlussError) as caught:
        catalogue.fields["payment.card_security_code"].accept("123")
    assert caught.value.reason is Reason.FIELD_FORBIDDEN


def test_unknown_field_and_purpose_are_refused_without_repeating_a_value():
    catalogue = default_catalogue()
    with pytest.raises(SlussError) as caught:
        catalogue.field("j.doe@example.com")
    assert caught.value.reason is Reason.FIELD_UNKNOWN
    assert "j.doe" not in str(caught.value) + str(caught.value.metadata)
    with pytest.raises(SlussError) as caught:
        catalogue.purpose("billing.colection")
    assert caught.value.reason is Reason.PURPOSE_UNKNOWN


def test_purpose_covers_descendants_and_nothing_else():
    catalogue = default_catalogue()
    assert catalogue.covers("billing", "billing")
    assert catalogue.covers("billing", "billing.collection")
    assert not catalogue.covers("billing.collection", "billing")
    assert not catalogue.covers("billing.payment", "billing.collection")
    assert not catalogue.covers("offers", "partners")
    for pair in (("billing", "billing.nothing"), ("bill", "billing")):
        with pytest.raises(SlussError):
            catalogue.covers(*pair)


def test_catalogue_cannot_be_changed_in_place():
    catalogue = default_catalogue()
    with pytest.raises(TypeError):
        catalogue.fields["new"] = catalogue.field("email")
    with pytest.raises(FrozenInstanceError):
        catalogue.field("email").forbidden = True


def test_enum_field_takes_its_own_words_only():
    field = default_catalogue().field("account.plan")
    assert field.accept("Team") == "team"
    with pytest.raises(SlussError, match="free, basic, team, enterprise"):
        field.accept("platinum")


def test_shipped_purposes_name_concepts_that_the_vocabulary_has():
    for purpose in default_catalogue().purposes.values():
        assert purpose.dpv.removeprefix("https://w3id.org/dpv#") in DPV_PURPOSES, purpose.code


def test_shipped_catalogue_serves_every_clause_of_the_policy():
    catalogue = default_catalogue()
    assert {field.category for field in catalogue.fields.values()} == set(Category)
    assert {purpose.kind for purpose in catalogue.purposes.values()} == set(Kind)
    grounds = [p for p in catalogue.purposes.values() if p.kind is Kind.LEGAL and p.parent]
    assert len(grounds) == 4
    assert {f.index for f in catalogue.fields.values()} == {"", "email", "phone", "customer_number"}
    assert all(f.financial for n, f in catalogue.fields.items() if n.startswith(("payment.", "invoice.")))


def test_shipped_labels_differ_between_fields():
    catalogue = default_catalogue()
    for items in (catalogue.fields.values(), catalogue.purposes.values()):
        for language in ("label_en", "label_sv"):
            labels = [getattr(item, language) for item in items]
            assert len(set(labels)) == len(labels)


def test_default_text_is_what_is_parsed():
    assert parse_catalogue(default_catalogue_text()) == default_catalogue()
