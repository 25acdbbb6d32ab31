"""Words of customer files: headers in English, Swedish, German, French and Spanish; names of countries.

Tables only. Headers are written as `guess.plain` makes them: no case, no accents, no separators.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_HEADERS = {
    "customer_number": """customerno customerid customernr clientid clientno clientnumber custno custid
        memberno kundnr kundid kundennummer kundennr kdnr kundenid numeroclient
        nclient numclient noclient idclient nclient numerodecliente numerocliente nocliente idcliente
        codigocliente codecliente uid""",
    "name.given": """firstname fname forename givenname tilltalsnamn fornamn vorname rufname prenom
        nombre nombredepila ngiven""",
    "name.family": """lastname lname surname familyname secondname efternamn nachname familienname
        zuname nom nomdefamille apellido apellidos primerapellido nfamily""",
    "name.display": """name fullname displayname namn visningsnamn fullstandigtnamn vollername
        anzeigename nomcomplet nomaffiche nombrecompleto contact contactname
        kontaktperson ansprechpartner fn""",
    "title": """salutation titel anrede civilite titre tratamiento titulo nprefix""",
    "birth_date": """dob birthdate dateofbirth birthday fodd fodelsedag fodelsedatum geburtsdatum
        geburtstag gebdatum datedenaissance naissance fechadenacimiento fechanacimiento
        nacimiento bday""",
    "company": """companyname organisation organization org employer foretag foretagsnamn firma
        firmenname unternehmen societe entreprise raisonsociale empresa compania
        razonsocial""",
    "company.vat_number": """vat vatno vatid vatnumber momsnr momsregnr ustid ustidnr umsatzsteuerid tva
        numerotva notva nif cif iva""",
    "email": """mail emailaddress emailaddr epost epostadress mejl mailadresse emailadresse
        courriel adressemail adresseemail adresseelectronique correo correoelectronico
        direcciondecorreo""",
    "phone": """tel telephone phonenumber telephonenumber phoneno landline telefon telefonnummer
        telnr tfn hemtelefon festnetz rufnummer numerodetelephone telefono
        numerodetelefono""",
    "mobile": """mobilephone mobileno mobilenumber cell cellphone cellular mobil mobiltelefon
        mobilnummer mobilnr handy handynummer portable telephoneportable movil
        telefonomovil celular telcell""",
    "address.street": """address address1 addressline1 street streetaddress adress adress1 gatuadress
        gata utdelningsadress strasse strassehausnummer anschrift adresse adresse1 rue
        voie direccion calle domicilio adrstreet""",
    "address.extra": """address2 addressline2 adress2 adresszusatz adresse2 complement
        complementdadresse direccion2 adrextended""",
    "address.postal_code": """postcode postalcode zip zipcode postnr postnummer plz postleitzahl codepostal cp
        codigopostal adrpostalcode""",
    "address.city": """city town ort postort stad stadt wohnort ville localite commune ciudad poblacion
        localidad adrcity""",
    "address.region": """region state province county lan delstat bundesland departement provincia estado
        adrregion""",
    "address.country": """country countrycode land landskod landkod laendercode landercode pays codepays
        pais codigopais adrcountry""",
    "language": """lang locale preferredlanguage sprak sprakkod sprache langue idioma lengua""",
    "account.id": """account accountno accountnumber accountid konto kontonr kontoid kontonummer
        benutzerkonto compte numerodecompte cuenta numerodecuenta""",
    "account.plan": """plan subscription abonnemang abonnement tarif tarifa forfait abo""",
    "account.opened": """opened customersince created createdat registered kundsedan skapad kundeseit
        erstelltam clientdepuis creele clientedesde""",
    "account.time_zone": """timezone tz tidszon zeitzone fuseauhoraire zonahoraria""",
    "usage.minutes_month": """minutes minuter minuten minutos""",
    "invoice.last_number": """invoice invoiceno invoicenumber fakturanr fakturanummer rechnungsnummer
        rechnungsnr numerodefacture numerodefactura""",
    "invoice.amount": """amount invoiceamount belopp fakturabelopp betrag rechnungsbetrag montant importe""",
    "invoice.currency": """currency valuta waehrung wahrung devise moneda""",
    "invoice.due_date": """duedate due forfallodag forfallodatum faelligkeit falligkeit faelligam falligam
        echeance datedecheance vencimiento fechadevencimiento""",
    "invoice.overdue_days": """overdue overduedays dagarforsenad tageuberfallig joursderetard diasdeatraso""",
    "payment.card_number": """card cardno creditcard creditcardnumber pan kortnr kontokort kartennummer
        kartennr kreditkarte kreditkartennummer numerodecarte cartebancaire
        numerodetarjeta tarjeta""",
    "payment.card_holder": """cardholder cardholdername nameoncard kortinnehavare karteninhaber titulaire
        titulairedelacarte titular titulardelatarjeta""",
    "payment.card_expiry": """expiry expirydate expires cardexpiry expirationdate giltighetstid gallertill
        ablaufdatum gultigbis dateexpiration datedexpiration fechadecaducidad caducidad""",
    "payment.iban": """iban bankaccount bankkonto bankverbindung comptebancaire cuentabancaria""",
    "payment.bic": """bic swift swiftcode bicswift swiftbic""",
    "payment.bank_name": """bank bankname bankensnamn banque nomdelabanque banco""",
    "technical.last_ip": """ip ipaddress ipadress ipadresse adresseip direccionip lastip""",
    "technical.cookie_id": """cookie cookieid kaka""",
    "technical.device_code": """device deviceid enhet geraet gerat appareil dispositivo""",
    "technical.browser": """browser useragent webblasare navigateur navegador""",
}

HEADERS: Final = MappingProxyType({word: name for name, words in _HEADERS.items() for word in words.split()})
"""A header without case, accents and separators -> the field that it names."""

_COUNTRY_WORDS = {
    "AT": "Austria/Österrike/Österreich/Autriche",
    "BE": "Belgium/Belgien/Belgique/Bélgica",
    "CH": "Switzerland/Schweiz/Suisse/Suiza",
    "CN": "China/Kina/Chine/中国",
    "CZ": "Czechia/Czech Republic/Tjeckien/Tschechien/Česko",
    "DE": "Germany/Tyskland/Deutschland/Allemagne/Alemania",
    "DK": "Denmark/Danmark/Dänemark/Danemark/Dinamarca",
    "EE": "Estonia/Estland/Eesti",
    "ES": "Spain/Spanien/España/Espagne",
    "FI": "Finland/Suomi/Finnland/Finlande/Finlandia",
    "FR": "France/Frankrike/Frankreich/Francia",
    "GB": "United Kingdom/UK/Great Britain/Storbritannien/Vereinigtes Königreich/Royaume-Uni/Reino Unido",
    "GR": "Greece/Grekland/Griechenland/Grèce/Ελλάδα",
    "IE": "Ireland/Irland/Irlande/Irlanda",
    "IL": "Israel/ישראל",
    "IN": "India/Indien/भारत",
    "IS": "Iceland/Island/Ísland/Islande/Islandia",
    "IT": "Italy/Italien/Italia/Italie",
    "JP": "Japan/日本/Japon/Japón",
    "NL": "Netherlands/Nederländerna/Niederlande/Nederland/Pays-Bas/Países Bajos",
    "NO": "Norway/Norge/Norwegen/Norvège/Noruega",
    "PL": "Poland/Polen/Polska/Pologne/Polonia",
    "PT": "Portugal",
    "RU": "Russia/Ryssland/Russland/Россия",
    "SE": "Sweden/Sverige/Schweden/Suède/Suecia",
    "TR": "Turkey/Turkiet/Türkei/Türkiye",
    "US": "United States/USA/U.S.A./Vereinigte Staaten/États-Unis/Estados Unidos",
    "VN": "Vietnam/Việt Nam",
}

COUNTRY_WORDS: Final = MappingProxyType(
    {word.casefold(): code for code, words in _COUNTRY_WORDS.items() for word in words.split("/")}
)
"""A country's name without case -> its ISO 3166-1 code, for a mapping's `words`."""
