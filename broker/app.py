"""The composition root: settings -> store, keys, ledger, spine, services. The only place that knows all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool
from sqlalchemy import update

from broker import epochs, requests, ring_checks, volumes
from broker.aggregates import recording
from broker.aggregates.answering import Questions
from broker.agreements import Agreements
from broker.batching import GroupCommit
from broker.clock import SECOND, Clock, system_clock
from broker.desk import Desk
from broker.disclosure import Spine
from broker.epochs import Epochs
from broker.erasure.register import ErasureRegister, require_applied
from broker.erasure.scrubbing import Scrubber
from broker.keys.file import FileProvider
from broker.keys.provider import INDEX
from broker.ledger.log import Ledger
from broker.ledger.rows import existing, read_head
from broker.ledger.signer import LedgerKeys
from broker.legal.cases import Cases
from broker.obligations.upkeep import Upkeep
from broker.outbox import consumers
from broker.pages import Cursors
from broker.person_requests import completing
from broker.persons.importing import Importer
from broker.policies import notices
from broker.refusals import RefusalLog
from broker.rights import Rights
from broker.rpc.aggregates import Aggregates
from broker.rpc.choices import Choices
from broker.rpc.complaints import Complaints
from broker.rpc.compromises import Compromises
from broker.rpc.contracts import Contracts
from broker.rpc.disclosures import Disclosures
from broker.rpc.erasures import Erasures
from broker.rpc.ledgers import Ledgers
from broker.rpc.legal import Legal
from broker.rpc.obligations import Obligations
from broker.rpc.outbox import Outbox
from broker.rpc.person_requests import PersonRequests
from broker.rpc.persons import Persons
from broker.rpc.policies import Policies
from broker.rpc.pulse import Pulse
from broker.rpc.threads import Threads
from broker.rpc.traces import Traces
from broker.store import tables
from broker.store.engine import POOL_WAIT_S, open_engine, reading
from broker.store.migrations import check_revision
from broker.tracing import former
from broker.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.descriptor import ServiceDescriptor

    from broker.errors import SlussError
    from broker.identity import Caller, Principal
    from broker.settings import Settings

HEAD = tables.core(tables.Head)
CURSOR_LABEL = b"sluss/v1 cursors\x00"
THREADS = 8
EXPORTERS = 2
"""Access exports, facts of a breach, statistics and the like that are made at a time: each holds one in memory."""
EXPORT_S = 240.0
"""Seconds that one may take; nothing waits for it but its caller."""
COUNTERS = 2
"""Questions about usage that are counted at the same time."""
COUNT_S = 60.0
"""Seconds that one may take; each statement in it is bounded by the store's own time limit."""
ANSWER_S = 0.2
"""What is left of the commit's time for everything but waiting for the store."""
MOST_PARTS = 100
"""Parts of a policy's fan-out in one go: 100,000 persons, and other calls come in between."""
KEPT_VOLUMES_S = 62 * 86_400
"""Counts of volumes are kept for two of the longest windows."""


class App:
    """One broker process: what it is made of, and what it offers. Opens the store; `close` gives it back.

    Raises:
        SlussError: KEYS_UNAVAILABLE, LEDGER_UNAVAILABLE, or the store's revision is not this program's.
    """

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        self._settings = settings
        self._clock = clock
        folder = settings.folder
        self._rings = rings = FileProvider(folder.rings).rings
        self.engine = open_engine(settings.database_url, timeout_s=settings.commit_timeout_s - POOL_WAIT_S - ANSWER_S)
        check_revision(self.engine)
        self.vault = Vault(rings)
        self.ledger = Ledger(self.engine, LedgerKeys.load(folder.ledger_keys).signer(), settings.origin, clock)
        self._refusals = RefusalLog(round(settings.refusal_window_s), settings.refusal_entries)
        self.spine = Spine(
            self.engine,
            self.ledger,
            Rights(self.vault),
            self.vault,
            self._refusals,
            Epochs(self.vault, round(settings.epoch_s * SECOND), settings.epoch_disclosures),
            clock,
            settings.trust_domain,
        )
        self.desk = Desk(self.engine, self.ledger, self.vault, self._refusals, clock, settings.trust_domain)
        self._register = ErasureRegister(folder.erased)
        self.scrubber = Scrubber(self.engine, self._register, clock)
        self._batches = GroupCommit(self.spine.run, settings.commit_timeout_s)
        self._threads = Threads(THREADS, settings.commit_timeout_s)
        self._counting = Threads(COUNTERS, COUNT_S)
        self._exporting = Threads(EXPORTERS, EXPORT_S)
        self._upkeep = Upkeep(
            self.engine,
            self.ledger,
            self.vault,
            clock,
            settings.obligation_remind_days,
            settings.obligation_escalate_days,
        )
        self._cursors = Cursors(rings[INDEX].digest(CURSOR_LABEL, b""))

    def services(self) -> list[tuple[ServiceDescriptor, object]]:
        """Every service with its servicer, for the guard."""
        named = descriptor_pool.Default().FindServiceByName
        return [(named(f"sluss.v1.{name}"), servicer) for name, servicer in self._servicers().items()]

    def _servicers(self) -> dict[str, object]:
        """A servicer for each service of `sluss.v1`."""
        desk, ledger, cursors, call, batches = self.desk, self.ledger, self._cursors, self._threads, self._batches
        agreed, tell, settings = Agreements(self.vault), self.scrubber.tell, self._settings
        retry_us, confirm_us = round(settings.outbox_retry_s * SECOND), round(settings.emergency_confirm_s * SECOND)
        months = settings.usage_retention_months
        questions = Questions(self.engine, ledger, desk, months)
        return {
            "AggregateService": Aggregates(desk, questions, months, call, self._counting),
            "ChoiceService": Choices(desk, cursors, call),
            "ComplaintService": Complaints(desk, agreed, cursors, call, self._exporting, tell),
            "CompromiseService": Compromises(desk, cursors, call, self._exporting),
            "ContractService": Contracts(desk, agreed, cursors, call),
            "DisclosureService": Disclosures(desk, batches, agreed, cursors, call),
            "ErasureService": Erasures(desk, cursors, call),
            "LedgerService": Ledgers(desk, ledger, cursors, call),
            "LegalService": Legal(desk, ledger, batches, Cases(confirm_us), cursors, call),
            "ObligationService": Obligations(desk, ledger, cursors, call, Pulse(self.rights)),
            "OutboxService": Outbox(desk, cursors, call, retry_us),
            "PersonRequestService": PersonRequests(desk, ledger, settings.origin, cursors, call, self._exporting, tell),
            "PersonService": Persons(desk, Importer(self.engine, desk), call, self._exporting),
            "PolicyService": Policies(desk, cursors, call),
            "TraceService": Traces(desk, cursors, call),
        }

    def authorise(self, caller: Caller) -> Principal:
        """Who calls health or reflection, on the pins as they stand now.

        Raises:
            SlussError: as `identity.authorise`, LEDGER_UNAVAILABLE.
        """
        return self.desk.read(caller, lambda view: view.principal)

    def rights(self) -> int:
        """The count of changes to rights.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        with reading(self.engine) as connection:
            return existing(read_head(connection)).rights

    def refused(self, callers: Sequence[Caller]) -> list[tuple[Caller, SlussError]]:
        """Those who may no longer call what they are calling, and why.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        return self.desk.refused(callers)

    def probe(self) -> None:
        """Try whether the ledger can be written: a durable write that changes nothing.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        with self.ledger.transaction() as tx:
            tx.connection.execute(update(HEAD).values(rights=HEAD.c.rights))

    def maintain(self) -> None:
        """Close what is over, destroy what nobody needs any more, tell of policy versions, record what is done.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        try:
            self._keep_house()
        finally:
            # Whatever else is amiss: erasures are finished.
            self.scrubber.run()
        completing.run(self.engine, self.ledger, Rights(self.vault))

    def _keep_house(self) -> None:
        self.ledger.run(self._refusals.close)
        self._upkeep.run()
        now_us = self._clock()
        before_us = now_us - round(self._settings.retry_window_s * SECOND)
        with self.ledger.transaction() as tx:
            requests.forget_before(tx.connection, before_us)
            epochs.destroy_expired(tx.connection, before_us - epochs.LIFETIME_US)
            volumes.forget_before(tx.connection, now_us // SECOND - KEPT_VOLUMES_S)
            former.forget_before(tx.connection, now_us - former.KEPT_US)
            recording.expire(tx.connection, recording.oldest_day(now_us, self._settings.usage_retention_months))
        self.ledger.run(lambda tx: consumers.expire(tx.connection, tx.at))
        rights = Rights(self.vault)
        for _ in range(MOST_PARTS):
            if not self.ledger.run(lambda tx: notices.go_on(tx, rights.at(tx.connection))):
                break

    def start(self) -> None:
        """Before the first call is taken: ledger and rings are those of the store, and nobody came back.

        Raises:
            SlussError: LEDGER_INCONSISTENT, LEDGER_UNAVAILABLE, KEYS_UNAVAILABLE.
        """
        self.ledger.state()
        with reading(self.engine) as connection:
            ring_checks.require_newest(connection, self._rings)
            ring_checks.require_ours(connection, self.vault)
            require_applied(connection, self._register)

    def close(self) -> None:
        """Let what runs end; give back the store."""
        self._batches.close()
        self._threads.close()
        self._counting.close()
        self._exporting.close()
        self.engine.dispose()
