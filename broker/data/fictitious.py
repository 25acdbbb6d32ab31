"""Telephone numbers that regulators keep free for fiction, by country: they ring nowhere. `#` is any digit.

SE: PTS, numbers for books and films (031-390 06, 040-628 04, 08-465 004, 0980-319 2). GB: Ofcom, numbers for drama
(01632 960, 020 7946 0, 07700 900). DE: Bundesnetzagentur, Rufnummern für Medienproduktionen. FR: Arcep, for films.
IE: ComReg, 020 91. US, CA: NANPA, 555-0100 to 0199. AU: ACMA, (02) 5550 and (02) 7010.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

PHONES: Final = MappingProxyType(
    {
        "SE": ("+463139006##", "+464062804##", "+468465004##", "+469803192##"),
        "GB": ("+441632960###", "+442079460###", "+447700900###"),
        "DE": ("+493023125###", "+496990009###", "+494066969###", "+498999998###"),
        "FR": ("+3319900####", "+3326191####", "+3363998####"),
        "IE": ("+3532091#####",),
        "US": ("+121255501##", "+131055501##", "+141555501##"),
        "CA": ("+160455501##", "+141655501##"),
        "AU": ("+6125550####", "+6127010####"),
    }
)
