"""A world in which recipients owe: two of them with a contract each, and the verbs of an obligation."""

from __future__ import annotations

from broker.obligations import owing
from broker.sealing import RecipientPrivateKey
from tests.support.world import World


class Owing(World):
    """A broker over an engine, with recipients `acme` and `mail`."""

    def __init__(self, engine, vault, **extra):
        super().__init__(engine, vault, **extra)
        self.operator = self.actor("operator/ops")
        self.registration = self.actor("internal/registration")
        self.privacy = self.actor("privacy/team")
        self.acme = self.actor("subcontractor/acme")
        self.mail = self.actor("subcontractor/mail")
        self.acme_contract = self.contract(self.acme, self.operator)
        terms = self.terms(self.mail.name, self.grant(fields=("email=hashed", "name.given=full")))
        self.mail_contract = self.contract(self.mail, self.operator, terms, self.key_of("mail"))

    def key_of(self, name):
        """A recipient's private key, made once."""
        self.private_keys = getattr(self, "private_keys", {})
        return self.private_keys.setdefault(name, RecipientPrivateKey.generate())

    def owe(self, person, kind="correct", fields=("email",), cause="R-2026-0001"):
        return self.desk.change(self.privacy.caller(), lambda c: owing.owe(c, person, kind, fields, cause))

    def progress(self, cause="R-2026-0001"):
        with self.engine.connect() as connection:
            return owing.progress(connection, cause)

    def give(self, actor, contract, *persons, fields=("email",)):
        """Disclose persons."""
        return self.disclose(actor, contract, [self.handle(contract, person) for person in persons], fields=fields)
