"""The field catalogue and the purposes: data from a reviewed TOML file, read strictly, asked fail-closed.

    catalogue = parse_catalogue(toml_text)
    catalogue.field("email").accept("J.Doe@Example.com")     -> "J.Doe@example.com"
    catalogue.purpose("billing.collection").kind             -> Kind.PRIMARY
    catalogue.covers("billing", "billing.collection")        -> True: a purpose covers its descendants

    model.py      what a catalogue is and answers
    parse.py      how its TOML file is read
    forbidden.py  what may never be stored
    history.py    since when each purpose is what it is

What the catalogue does not name does not exist (DESIGN promise 9), and a card's security code may not even be
named: it is never stored (PCI DSS 3.3.1), so a field that looks like one is refused by the parser.
"""

from broker.catalogue.forbidden import is_security_code
from broker.catalogue.model import Catalogue, Category, Field, Kind, Policy, Purpose
from broker.catalogue.parse import default_catalogue, default_catalogue_text, parse_catalogue

__all__ = [
    "Catalogue",
    "Category",
    "Field",
    "Kind",
    "Policy",
    "Purpose",
    "default_catalogue",
    "default_catalogue_text",
    "is_security_code",
    "parse_catalogue",
]
