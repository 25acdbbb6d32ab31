"""Sessions and links end by themselves."""

import pytest
from sluss_legal.web.jobs import Job
from sluss_legal.web.sessions import IDLE_S, LINK_S, LONGEST_S, MOST, Links, Sessions


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_session_ends_when_nothing_is_asked_for_half_an_hour(clock, tmp_path):
    sessions = Sessions(clock)
    secret = sessions.begin(tmp_path).secret
    clock.now += IDLE_S
    assert sessions.find(secret)
    clock.now += IDLE_S + 1
    assert sessions.find(secret) is None
    clock.now -= IDLE_S
    assert sessions.find(secret) is None


def test_a_session_ends_after_eight_hours_however_busy(clock, tmp_path):
    sessions = Sessions(clock)
    secret = sessions.begin(tmp_path).secret
    for _ in range(LONGEST_S // 600):
        clock.now += 600
        assert sessions.find(secret)
    clock.now += 1
    assert sessions.find(secret) is None


def test_what_a_session_held_goes_when_another_is_asked_for(clock, tmp_path):
    sessions = Sessions(clock)
    sessions.begin(tmp_path)
    clock.now += IDLE_S + 1
    sessions.find("another")
    assert sessions._open == {}


def test_secrets_and_tokens_are_each_their_own(clock, tmp_path):
    sessions = Sessions(clock)
    made = [sessions.begin(tmp_path) for _ in range(50)]
    assert len({text for session in made for text in (session.secret, session.csrf)}) == 100
    assert not made[0].owns(made[1].csrf)


def test_a_link_works_once_and_for_two_minutes(clock):
    links = Links(clock)
    token, late = links.issue(), links.issue()
    assert links.redeem(token)
    assert not links.redeem(token)
    clock.now += LINK_S + 1
    assert not links.redeem(late)
    assert not links.redeem("")


def test_who_begins_ever_new_sessions_ends_those_that_were_not_used_for_longest(clock, tmp_path):
    sessions = Sessions(clock)
    other = sessions.begin(tmp_path / "legal-bo")
    releasing, idle = sessions.begin(tmp_path), sessions.begin(tmp_path)
    releasing.jobs["L-2026-0001"] = Job("L-2026-0001")
    made = []
    for _ in range(MOST - 1):
        clock.now += 1
        made.append(sessions.begin(tmp_path))
    assert sessions.find(idle.secret) is None
    assert all(sessions.find(session.secret) for session in (other, releasing, *made))
