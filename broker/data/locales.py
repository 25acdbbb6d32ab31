"""Names, streets and cities of invented persons, by country: the demo's and canaries. Tables only; nobody here is real.

Telephone numbers go on with 000 after the country code, which no country assigns; banks are called DEMO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Locale:
    """What persons of one country are made of.

    Attributes:
        country: ISO 3166-1 alpha-2.
        language: BCP 47.
        currency: ISO 4217.
        phone: E.164 pattern, `#` a digit.
        postal: postal code pattern, `#` a digit.
        bban: pattern of an IBAN after its check digits, `#` a digit; empty where there are no IBANs.
        bic: a BIC of an invented bank.
        given: given names.
        family: family names.
        streets: streets, the house number goes where `#` is.
        cities: cities.
        weight: how often the country comes up.
    """

    country: str
    language: str
    currency: str
    phone: str
    postal: str
    bban: str
    bic: str
    given: tuple[str, ...]
    family: tuple[str, ...]
    streets: tuple[str, ...]
    cities: tuple[str, ...]
    weight: int = 2


def _locale(facts: str, given: str, family: str, streets: str, cities: str, *, weight: int = 2) -> Locale:
    country, language, currency, phone, postal, bban, bic = (part.strip() for part in facts.split("|"))
    return Locale(
        country,
        language,
        currency,
        phone,
        postal,
        bban,
        bic,
        tuple(given.split()),
        tuple(part.strip() for part in family.split(",")),
        tuple(part.strip() for part in streets.split(",")),
        tuple(part.strip() for part in cities.split(",")),
        weight,
    )


LOCALES: Final = (
    _locale(
        "SE | sv | SEK | +46000####### | 1## ## | 9999################ | DEMOSESS",
        "Åsa Björn Elin Göran Malin Örjan Sara Nils Märta Håkan Ebba Olle",
        "Öberg, Lindqvist, Sjöström, Åkesson, Nyström, Björk, Hägglund, Ek, af Ugglas, Bergström",
        "Storgatan #, Kungsgatan #, Älvvägen #, Östra Hamngatan #, Björkstigen #",
        "Stockholm, Göteborg, Malmö, Umeå, Växjö, Örebro",
        weight=8,
    ),
    _locale(
        "GB | en-GB | GBP | +44000####### | SW1A #AA | DEMO############## | DEMOGB2L",
        "Oliver Amelia Siân Niamh Harry Isla Zoë Alistair",
        "Smith, O'Neill, Llewellyn-Jones, MacDonald, Okafor, Patel",
        "# High Street, # Mill Lane, Flat 2 # Rose Court",
        "London, Leeds, Cardiff, Glasgow",
        weight=3,
    ),
    _locale(
        "DE | de | EUR | +49000####### | 1#### | 99999999########## | DEMODEFF",
        "Jürgen Käthe Günther Anneliese Sören Mia Björn Luise",
        "Müller, Weiß, Schröder, von der Heide, Krüger, Groß, Jäger",
        "Hauptstraße #, Bäckergasse #, Königsallee #, Am Mühlbach #",
        "Berlin, München, Köln, Düsseldorf, Nürnberg",
        weight=4,
    ),
    _locale(
        "FR | fr | EUR | +33000####### | 75### | 9999999999############# | DEMOFRPP",
        "Élodie François Zoé Jérôme Anaïs Benoît Noëlle Loïc",
        "Lefèvre, D'Aubigné, Béranger, Çelik-Durand, Le Goff, Müntz",
        "# rue de l'Église, # avenue des Frères-Lumière, # place du Marché",
        "Paris, Besançon, Orléans, Nîmes",
        weight=3,
    ),
    _locale(
        "ES | es | EUR | +34000####### | 28### | 99999999############ | DEMOESMM",
        "Íñigo Begoña José Lucía Ángel Núria Ramón",
        "Muñoz García, Ibáñez López, Peña Ortiz, Güell Font",
        "Calle Mayor #, Avenida de la Constitución #, Plaça Reial #",
        "Madrid, A Coruña, Málaga, Cádiz",
    ),
    _locale(
        "PT | pt | EUR | +351000####### | 1###-### | 99999999############# | DEMOPTPL",
        "João Conceição Inês Tomás Assunção",
        "Gonçalves, Magalhães, Conceição e Silva, Araújo",
        "Rua da Liberdade #, Avenida São João #",
        "Lisboa, Évora, Guimarães",
        weight=1,
    ),
    _locale(
        "PL | pl | PLN | +48000####### | 00-### | 99999999################ | DEMOPLPW",
        "Łukasz Świętosława Zbigniew Małgorzata Żaneta Jędrzej",
        "Wąsik, Brzęczyszczykiewicz, Dąbrowska, Żółć, Król",
        "ul. Długa #, ul. Świętego Marcina #, al. Niepodległości #",
        "Warszawa, Łódź, Kraków, Gdańsk",
    ),
    _locale(
        "GR | el | EUR | +30000####### | 10# ## | 9999999################ | DEMOGRAA",
        "Γιώργος Ελένη Δημήτρης Αικατερίνη Νίκος",
        "Παπαδόπουλος, Οικονόμου, Χατζηγεωργίου, Κωνσταντίνου",
        "Ερμού #, Λεωφόρος Αλεξάνδρας #, Πατησίων #",
        "Αθήνα, Θεσσαλονίκη, Ηράκλειο",
    ),
    _locale(
        "RU | ru | RUB | +7000####### | 10#### | | DEMORUMM",
        "Алексей Наталья Фёдор Юлия Дмитрий",
        "Иванов, Щербакова, Соловьёв, Кузнецова",
        "ул. Ленина #, Невский проспект #, Большая Ордынка #",
        "Москва, Санкт-Петербург, Казань",
    ),
    _locale(
        "SA | ar | SAR | +966000####### | 1#### | 99################## | DEMOSARI",
        "محمد فاطمة خالد نورة عبدالله",
        "الأحمد, العتيبي, القحطاني, الزهراني",
        "شارع الملك فهد #, طريق العليا #",
        "الرياض, جدة, الدمام",
        weight=1,
    ),
    _locale(
        "IL | he | ILS | +972000####### | 61##### | 999999############# | DEMOILIT",
        "יעל אורי נועה איתן",
        "כהן, לוי, בן־דוד, מזרחי",
        "רחוב הרצל #, שדרות רוטשילד #",
        "תל אביב, חיפה, ירושלים",
        weight=1,
    ),
    _locale(
        "CN | zh-Hans | CNY | +86000####### | 10#### | | DEMOCNBJ",
        "伟 芳 秀英 建国 雪",
        "王, 李, 欧阳, 司马, 张",
        "长安街#号, 人民路#号, 中山北路#号",
        "北京, 上海, 广州",
    ),
    _locale(
        "JP | ja | JPY | +81000####### | 1##-#### | | DEMOJPJT",
        "太郎 花子 さくら 健一 ひかり",
        "山田, 佐々木, 髙橋, 渡邊",
        "銀座#丁目, 青葉町#番地",
        "東京都, 大阪市, 札幌市",
    ),
    _locale(
        "IN | hi | INR | +91000####### | 11#### | | DEMOINBB",
        "अर्जुन प्रिया कृष्ण लक्ष्मी",
        "शर्मा, श्रीवास्तव, त्रिपाठी, वर्मा",
        "महात्मा गांधी मार्ग #, नेहरू नगर #",
        "दिल्ली, मुंबई, वाराणसी",
        weight=1,
    ),
    _locale(
        "VN | vi | VND | +84000####### | 10#### | | DEMOVNVX",
        "Hương Đức Thảo Nguyệt Bảo",
        "Nguyễn, Trần, Lê, Phạm, Đặng",
        "# Đường Lê Lợi, # Phố Huế",
        "Hà Nội, Đà Nẵng, Cần Thơ",
        weight=1,
    ),
    _locale(
        "TR | tr | TRY | +90000####### | 34### | 999990################ | DEMOTRIS",
        "İbrahim Işıl Gülşen Çağrı Oğuz",  # noqa: RUF001 - Turkish letters
        "Yıldız, Şahin, İnönü, Öztürk",  # noqa: RUF001 - Turkish letters
        "İstiklal Caddesi No #, Çiçek Sokağı No #",  # noqa: RUF001 - Turkish letters
        "İstanbul, İzmir, Diyarbakır",  # noqa: RUF001 - Turkish letters
    ),
    _locale(
        "IS | is | ISK | +354000####### | 1## | 9999################## | DEMOISRE",
        "Þórður Guðrún Æsa Sigríður Björk",
        "Þórðarson, Jónsdóttir, Hallgrímsson, Ægisdóttir",
        "Laugavegur #, Skólavörðustígur #",
        "Reykjavík, Akureyri, Ísafjörður",
        weight=1,
    ),
    _locale(
        "US | en-US | USD | +1000####### | 000## | | DEMOUS33",
        "Ava Noah María DeShawn Mei-Ling Liam",
        "Johnson, García, van Buren, O'Connor, Nguyen",
        "# Main Street, # Martin Luther King Jr Blvd, # Elm Ave Apt 4",
        "Springfield, Riverside, San José",
        weight=3,
    ),
)
