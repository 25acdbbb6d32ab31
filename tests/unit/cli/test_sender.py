import threading
import time

import pytest
from sluss.v1 import person_pb2 as pb
from sluss_cli.sender import BATCH, IN_FLIGHT, Sender, sendable

RESULT = pb.ImportResult


def rows(count):
    return (sendable(line=n + 2, values={"customer_number": f"K-{n}"}, row=f"raw {n}") for n in range(count))


def answer(batch, outcome=RESULT.OUTCOME_CREATED):
    return pb.ImportPersonsResponse(results=[RESULT(line=row.line, outcome=outcome) for row in batch.rows])


def test_all_rows_arrive_in_full_batches_and_are_counted():
    batches = []

    def stream(requests):
        for batch in requests:
            batches.append(batch)
            yield answer(batch)

    progress = []
    sent = Sender(stream, source="import:crm", dry_run=True).send(rows(1200), lambda *_: None, progress.append)
    assert [len(batch.rows) for batch in batches] == [BATCH, BATCH, 200]
    assert {(batch.source, batch.dry_run) for batch in batches} == {("import:crm", True)}
    assert sent.of(RESULT.OUTCOME_CREATED) == 1200
    assert progress == [500, 1000, 1200]


def test_faulty_rows_come_back_with_the_row_that_was_read():
    def stream(requests):
        for batch in requests:
            reply = answer(batch)
            reply.results[1].outcome = RESULT.OUTCOME_FAULTY
            reply.results[1].faults.add(field="email", reason="INVALID_VALUE", detail="no @", masked="j***")
            yield reply

    refused = []
    sent = Sender(stream, source="s", dry_run=False).send(
        rows(3), lambda row, result: refused.append((row, result.line)), lambda _: None
    )
    assert refused == [("raw 1", 3)]
    assert sent.of(RESULT.OUTCOME_FAULTY) == 1


def test_slow_broker_never_has_more_than_a_few_batches_in_flight():
    read = 0

    def counted():
        nonlocal read
        for row in rows(20 * BATCH):
            read += 1
            yield row

    def eager(requests):
        """Takes requests on a thread of its own, as gRPC does, and answers late."""
        queue = []
        taker = threading.Thread(target=lambda: queue.extend(requests), daemon=True)
        taker.start()
        answered = 0
        while answered < 20:
            time.sleep(0.01)
            while len(queue) <= answered:
                time.sleep(0.001)
            assert read <= (answered + IN_FLIGHT + 1) * BATCH
            yield answer(queue[answered])
            answered += 1

    sent = Sender(eager, source="s", dry_run=False).send(counted(), lambda *_: None, lambda _: None)
    assert sent.outcomes.total() == 20 * BATCH


def test_fault_while_reading_surfaces_after_what_was_read_is_answered():
    def broken():
        yield from rows(BATCH)
        raise ValueError("the file ended in the middle")

    answered = []

    def stream(requests):
        for batch in requests:
            answered.append(len(batch.rows))
            yield answer(batch)

    with pytest.raises(ValueError, match="middle"):
        Sender(stream, source="s", dry_run=False).send(broken(), lambda *_: None, lambda _: None)
    assert answered == [BATCH]


def test_broken_stream_ends_the_reading_thread():
    threads = []

    def stream(requests):
        taker = threading.Thread(target=lambda: list(requests), daemon=True)
        threads.append(taker)
        taker.start()
        raise ConnectionError("gone")
        yield

    with pytest.raises(ConnectionError):
        Sender(stream, source="s", dry_run=False).send(rows(10 * BATCH), lambda *_: None, lambda _: None)
    threads[0].join(timeout=5)
    assert not threads[0].is_alive()
