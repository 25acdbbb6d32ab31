"""What may never be stored, whatever it is called: a card's security code and its kin. Pure.

And what may never be counted by: whatever identifies a device rather than says what was used (policy, clause 8).
"""

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
_DEVICE_WORDS = (
    "ip ips ipv4 ipv6 mac imei imsi iccid idfa idfv gaid aaid udid uuid guid eid cookie cookies kaka kakor session "
    "sessions sid device devices enhet ua browser webblasare fingerprint fingeravtryck hostname host useragent "
    "referrer referer landing isp asn geoip etag token technical subnet subnets subnat cidr netmask natmask "
    "ipprefix iprange ipblock ipnet ipnat ipnr ssid bssid msisdn serienummer serienr hwid tmsi meid esn adid ssaid "
    "macadress gclid fbclid xff"
)
_DEVICE_PHRASES = (
    "ipaddr ipadress remoteaddr clientip lastip macaddr deviceid devicecode devicekey enhetskod enhetsid useragent "
    "networkaddr natverksadress networkprefix natverksprefix truncatedip iptrunc serialnumber hardwareid androidid "
    "installationid installid visitid requestid connectionid "
    "cookieid kakid sessionid visitorid clientid advertisingid reklamid browserid fingerprint localstorage "
    "landingpage ipnummer macnummer enhetsnummer enhetsnr apparatid trackingid sparningsid pixelid clickid klickid "
    "clientaddr remotehost forwardedfor pushtoken"
)
_CODE_WORDS: Final = frozenset(_WORDS.split())
_CODE_PHRASES: Final = tuple(_PHRASES.split())
_TECHNICAL_WORDS: Final = frozenset(_DEVICE_WORDS.split())
_TECHNICAL_PHRASES: Final = tuple(_DEVICE_PHRASES.split())
_TECHNICAL_VALUE: Final = re.compile(
    r"[0-9]{1,3}\.(?:[0-9]{1,3}|[xX]{1,3})(?:\.(?:[0-9]{1,3}|[xX]{1,3})?){1,2}(?:[_-][0-9]{1,2})?"  # IPv4, also cut off
    r"|[0-9]{1,3}\.[0-9]{1,3}(?:\.|[_-][0-9]{1,2})"  # and its networks
    r"|[0-9]{1,3}(?:[_-][0-9]{1,3}){3}"  # and it without dots
    r"|(?=.*[0-9])(?=.*[A-Fa-f])[0-9A-Fa-f]{1,4}(?:-[0-9A-Fa-f]{0,4}){2,7}(?:_[0-9]{1,3})?"  # IPv6 without colons
    r"|([0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}"  # MAC
    r"|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"  # UUID
    r"|[0-9A-Fa-f]{16,}|[0-9]{12,}",  # digests, IMEI
    re.ASCII,
)


def is_security_code(name: str) -> bool:
    """Whether a field or a column is named like a card's security code or other authentication data.

    English, Swedish, German, French and Spanish names, whatever their case, accents and separators
    (PCI DSS 3.3: sensitive authentication data is not kept after authorisation, not even encrypted).
    """
    words, joined = _plain(name)
    return (
        not _CODE_WORDS.isdisjoint(words) or joined in _CODE_WORDS or any(phrase in joined for phrase in _CODE_PHRASES)
    )


def is_technical_identifier(name: str) -> bool:
    """Whether an attribute is named like what identifies a device: an IP address, a cookie, a device code.

    English and Swedish names, whatever their case, accents and separators.
    """
    words, joined = _plain(name)
    return (
        not _TECHNICAL_WORDS.isdisjoint(words)
        or not _TECHNICAL_WORDS.isdisjoint(word.rstrip("0123456789") for word in words)
        or joined in _TECHNICAL_WORDS
        or any(phrase in joined for phrase in _TECHNICAL_PHRASES)
    )


def looks_technical(value: str) -> bool:
    """Whether a value has the form of an IP address, whole or cut off, a MAC address, a UUID or another long code."""
    return _TECHNICAL_VALUE.fullmatch(value) is not None


def _plain(name: str) -> tuple[list[str], str]:
    """The words of a name, and the name without what separates them."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    words = re.findall(r"[a-z]+[0-9]*", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).lower())
    return words, "".join(re.findall(r"[a-z0-9]", plain.lower()))
