"""When the SDK tries again, decided without a clock or a network."""

import pytest
from sluss_client.errors import (
    Aborted,
    BrokerUnavailable,
    IntegrityError,
    PermissionDenied,
    ResourceExhausted,
    TransportError,
)
from sluss_client.retry import LONGEST_S, Retry


def retry(deadline_s=60.0, dice=1.0):
    now = [0.0]
    made = Retry(deadline_s, clock=lambda: now[0], dice=lambda: dice)
    return made, now


def test_waits_double_up_to_the_longest():
    made, _ = retry(deadline_s=1e6)
    waits = [made.wait_s(TransportError()) for _ in range(20)]
    assert waits == sorted(waits)
    assert waits[1] == 2 * waits[0]
    assert waits[-1] == LONGEST_S


def test_jitter_spreads_waits_down_to_nothing():
    made, _ = retry(dice=0.0)
    assert made.wait_s(TransportError()) == 0.0


def test_the_brokers_wish_is_never_undercut():
    made, _ = retry(dice=0.0)
    assert made.wait_s(BrokerUnavailable("LEDGER_UNAVAILABLE", "", {}, 3.0)) == 3.0
    assert made.wait_s(ResourceExhausted("RATE_EXCEEDED", "", {}, 2.0)) == 2.0


def test_a_stream_that_lay_idle_is_begun_anew():
    made, _ = retry()
    assert made.wait_s(Aborted("STREAM_IDLE", "", {})) < LONGEST_S


@pytest.mark.parametrize(
    "error",
    [
        Aborted("RECORD_CHANGED", "", {}),
        PermissionDenied("PURPOSE_OUT_OF_SCOPE", "", {}),
        ResourceExhausted("VOLUME_EXCEEDED", "", {}),
        IntegrityError("lie"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_fail_again_is_not_tried_again(error):
    made, _ = retry()
    with pytest.raises(type(error)) as caught:
        made.wait_s(error)
    assert caught.value is error


def test_a_wait_beyond_the_deadline_is_not_begun():
    made, now = retry(deadline_s=5.0)
    assert made.wait_s(BrokerUnavailable("X", "", {}, 4.0)) < 5.0
    now[0] = 3.0
    with pytest.raises(BrokerUnavailable):
        made.wait_s(BrokerUnavailable("X", "", {}, 4.0))


def test_an_attempt_never_lasts_beyond_the_deadline():
    made, now = retry(deadline_s=5.0)
    now[0] = 4.5
    assert made.attempt_s == 0.5
    now[0] = 9.0
    assert made.attempt_s == 0.0


def test_a_stream_that_delivers_starts_its_deadline_anew():
    made, now = retry(deadline_s=5.0)
    now[0] = 4.9
    made.progressed()
    assert made.left_s == 5.0
