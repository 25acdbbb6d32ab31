"""What may never be stored, whatever it is called: a card's security code and its kin. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_WORDS = "cvc cvc1 cvc2 cvv cvv1 cvv2 cvn cvn2 csc cav2 cid2 track1 track2"
_PHRASES = (
    "cardsecuritycode cardverification securitycode verificationvalue verificationcode cardcode kortkod "
    "sakerhetskod kartenprufnummer prufziffer sicherheitscode cryptogramme codesecurite codigodeseguridad "
    "codigoseguridad trackdata magstripe magneticstripe pinblock cvccode cvvcode cvccod cvvcod"
)
_CODE_WORDS: Final = frozenset(_WORDS.split())
_CODE_PHRASES: Final = tuple(_PHRASES.split())


def is_security_code(name: str) -> bool:
    """Whether a field or a column is named like a card's security code or other authentication data.

    English, Swedish, German, French and Spanish names, whatever their case, accents and separators
    (PCI DSS 3.3: sensitive authentication data is not kept after authorisation, not even encrypted).
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    words = re.findall(r"[a-z]+[0-9]*", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).lower())
    joined = "".join(re.findall(r"[a-z0-9]", plain.lower()))
    return (
        not _CODE_WORDS.isdisjoint(words) or joined in _CODE_WORDS or any(phrase in joined for phrase in _CODE_PHRASES)
    )
