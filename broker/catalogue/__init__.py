"""The field catalogue and the purposes: data from a reviewed TOML file, read strictly, asked fail-closed.

    catalogue = parse_catalogue(toml_text)
    catalogue.field("email").accept("J.Doe@Example.com")     -> "J.Doe@example.com"
    catalogue.purpose("billing.collection").kind             -> Kind.PRIMARY
    catalogue.covers("billing", "billing.collection")        -> True: a purpose covers its descendants

    model.py      what a catalogue is and answers
    usage.py      what may be counted: events, attributes, the rules of answers
    parse.py      how its TOML file is read; parse_usage.py the part about usage; place.py where an error stands
    forbidden.py  what may never be stored, and never be counted by
    history.py    since when each purpose is what it is

What the catalogue does not name does not exist (DESIGN promise 9), and a card's security code may not even be
named: it is never stored (PCI DSS 3.3.1), so a field that looks like one is refused by the parser.
"""

from broker.catalogue.forbidden import is_security_code, is_technical_identifier
from broker.catalogue.model import Catalogue, Category, Field, Kind, Policy, Purpose
from broker.catalogue.parse import default_catalogue, default_catalogue_text, parse_catalogue
from broker.catalogue.usage import AggregateRules, Attribute, Event, Noise, Period

__all__ = [
    "AggregateRules",
    "Attribute",
    "Catalogue",
    "Category",
    "Event",
    "Field",
    "Kind",
    "Noise",
    "Period",
    "Policy",
    "Purpose",
    "default_catalogue",
    "default_catalogue_text",
    "is_security_code",
    "is_technical_identifier",
    "parse_catalogue",
]
