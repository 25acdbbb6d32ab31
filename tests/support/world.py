"""A whole broker without the network: store, keys, ledger, spine and desk, with principals, contracts and persons.

Every part is the real one; only TLS and gRPC are left out, so a `Caller` carries the evidence that a connection would.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from datetime import date

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from sqlalchemy import insert

from broker import agreements, pki
from broker.agreements import Agreements
from broker.asks import Answer, Ask, Named
from broker.catalogue import default_catalogue_text
from broker.choices import recording
from broker.choices.model import ChoiceMade, Recording
from broker.clock import system_clock
from broker.contracts import FieldGrant, Grant, Population, Step, Terms, Volume, Window
from broker.desk import Desk
from broker.disclosure import Spine
from broker.epochs import Epochs
from broker.handles import handle_of
from broker.identity import KINDS, Caller, Evidence, Principal
from broker.ledger import entry
from broker.ledger.log import Ledger
from broker.ledger.signer import LedgerKeys
from broker.operator.catalogues import put_in_force
from broker.persons import register
from broker.persons.model import Registration
from broker.refusals import RefusalLog
from broker.rights import CERTIFICATE, Rights
from broker.sealing import Opener, RecipientPrivateKey

DOMAIN = "example.com"
ORIGIN = "example.com/sluss"
DISCLOSE = "/sluss.v1.DisclosureService/Disclose"


class Actor:
    """A principal with a certificate of its own, pinned in a world."""

    def __init__(self, world, name):
        self.name = name
        kind, _, identifier = name.partition("/")
        request = pki.make_request()
        self.pem = pki.issue(world.ca, request.csr, Principal(kind, identifier), DOMAIN, world.clock())
        facts = pki.describe(self.pem)
        self.key = load_pem_private_key(request.key, None)
        self.evidence = Evidence(
            facts.uri, facts.spki, x509.load_pem_x509_certificate(self.pem).public_bytes(Encoding.DER)
        )
        with world.ledger.transaction() as tx:
            tx.connection.execute(
                insert(CERTIFICATE).values(
                    spki=facts.spki,
                    principal=name,
                    serial=facts.serial,
                    not_after=facts.not_after,
                    issued_at=world.clock(),
                    revoked_at=0,
                    reason="",
                )
            )
            tx.append(entry.certificate(tx.at, "pinned", name, facts.spki, "operator/test", ""))
            tx.bump_rights()

    def caller(self, method=DISCLOSE, allowed=KINDS):
        return Caller(self.evidence, method, allowed)

    def sign(self, message):
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))


class World:
    """A broker over an engine."""

    def __init__(self, engine, vault, clock=system_clock, keys=None, refusals=None):
        self.engine, self.vault, self.clock = engine, vault, clock
        self.keys = keys or LedgerKeys.generate(ORIGIN)
        self.ca = pki.make_ca(DOMAIN, clock())
        self.agreed = Agreements(vault)
        self.refusals = refusals or RefusalLog()
        self.private_key = RecipientPrivateKey.generate()
        self.reopen()
        if self.ledger.genesis():
            self.ledger.run(lambda tx: put_in_force(tx, default_catalogue_text()))

    def reopen(self):
        """A fresh process's view of the same store."""
        self.ledger = Ledger(self.engine, self.keys.signer(), ORIGIN, self.clock)
        self.spine = Spine(
            self.engine,
            self.ledger,
            Rights(self.vault),
            self.vault,
            self.refusals,
            Epochs(self.vault),
            self.clock,
            DOMAIN,
        )
        self.desk = Desk(self.engine, self.ledger, self.vault, self.refusals, self.clock, DOMAIN)

    def actor(self, name):
        return Actor(self, name)

    def terms(self, subcontractor, *grants, **changes):
        found = Terms(
            subcontractor=subcontractor,
            recipient_name="Acme Pay AB",
            recipient_address="Storgatan 1, 111 22 Stockholm, SE",
            valid_from=date(2020, 1, 1),
            valid_until=date(2099, 12, 31),
            grants=grants or (self.grant(),),
            reference="archive 4711",
        )
        return replace(found, **changes)

    def grant(self, purpose="billing", fields=("email=full", "payment.iban=last4"), **changes):
        found = Grant(
            purpose=purpose,
            fields=tuple(FieldGrant(*field.split("=")) for field in fields),
            population=Population(everyone=True),
            retention_days=30,
            volumes=(Volume(Window.DAY, 1_000_000),),
        )
        return replace(found, **changes)

    def contract(self, actor, operator, terms=None, key=None):
        """A live contract with a registered key; gives its id."""
        proposed = self.desk.change(
            operator.caller(),
            lambda c: self.agreed.propose(c, terms or self.terms(actor.name), uuid.uuid4().bytes),
        )
        self.accept(actor, proposed.row.id)
        self.register_key(actor, key)
        return proposed.row.id

    def accept(self, actor, contract):
        view = self.desk.read(actor.caller(), lambda v: agreements.show_to(v, contract))
        waiting = view.versions[view.row.proposed - 1]
        signature = actor.sign(agreements.SIGNATURE_LABEL + waiting.terms)
        return self.desk.change(
            actor.caller(),
            lambda c: self.agreed.accept(c, contract, waiting.version, signature, actor.evidence.certificate_der),
        )

    def register_key(self, actor, private=None):
        key = (private or self.private_key).public()
        signature = actor.sign(agreements.KEY_LABEL + bytes([key.suite]) + key.data)
        return self.desk.change(
            actor.caller(),
            lambda c: self.agreed.register_key(c, key, signature, actor.evidence.certificate_der),
        )

    def step(self, operator, contract, step=Step.SUSPEND):
        return self.desk.change(operator.caller(), lambda c: self.agreed.step(c, contract, step, "a test says so", ""))

    def person(self, actor, values=None, **extra):
        number = f"K-{os.urandom(4).hex()}"
        given = values or {
            "customer_number": number,
            "name.given": "Åsa",
            "email": f"{number.lower()}@example.com",
            "address.country": "SE",
            "payment.iban": "SE4550000000058398257466",
        }
        asked = Registration(uuid.uuid4().bytes, list(given.items()), "registration", **extra)
        return self.desk.change(actor.caller(), lambda c: register.register(c, asked)).person

    def choose(self, actor, person, purpose, state, *channels):
        made = ChoiceMade(purpose, state, channels, "web")
        asked = Recording(uuid.uuid4().bytes, person, made, "preference-centre")
        return self.desk.change(actor.caller(), lambda c: recording.record(c, asked))

    def handle(self, contract, person):
        with self.engine.connect() as connection:
            held = Rights(self.vault).at(connection).contract(connection, contract)
        return handle_of(held.handle_key, person)

    def ask(self, actor, contract, handles, purpose="billing", fields=("email",), **extra):
        return Ask(
            actor.caller(),
            extra.pop("request_id", uuid.uuid4().bytes),
            contract,
            purpose,
            tuple(fields),
            extra.pop("who", None) or Named(tuple(handles)),
            **extra,
        )

    def disclose(self, actor, contract, handles, **extra):
        """The answer to one ask; its error is raised."""
        (outcome,) = self.spine.run([self.ask(actor, contract, handles, **extra)])
        if isinstance(outcome, Answer):
            return outcome
        raise outcome

    def opened(self, answer, private=None):
        """handle -> values of every slice in an answer, opened with the recipient's key."""
        found = {}
        for sealed in answer.sealed:
            opener = Opener([private or self.private_key], answer.decision.contract)
            terms = entry.canonical(entry.parse(sealed.entry)["terms"])
            for made in sealed.slices:
                opened = opener.open(terms, sealed.epoch, made)
                found[opened.handle] = dict(opened.values)
        return found

    def entries(self, **wanted):
        """Parsed entries of the ledger."""
        return [entry.parse(row.entry) for row in self.ledger.entries(0, 100_000, **wanted)]
