"""What is urgent is seen however many cases there are: the broker lists the newest first, and the urgent are old."""

import re

import pytest
from sluss.v1 import legal_pb2 as pb

from tests.support.memory_legal import today

MANY = 205


@pytest.fixture(scope="module")
def crowd(team):
    """An overdue case, one that is released with a deadline long past, and more cases after them than fit a page."""
    overdue = team.open_case(received=today(-40), deadline=today(-20))
    released = team.open_case(received=today(-40), deadline=today(-30))
    team.world.cases[released.case_id].state = pb.CASE_STATE_RELEASED
    for _ in range(MANY):
        team.open_case(deadline=today(30))
    soon = [team.open_case(deadline=today(days)) for days in (0, 1, 3, 4)]
    return overdue, released, soon


def cases_on(body):
    return re.findall(r'class="title nowrap" href="/cases/([^"]+)"', body)


def test_the_inbox_sorts_all_cases_and_not_only_those_of_a_page(crowd, anna):
    overdue, released, soon = crowd
    body = anna.get("/")[2]
    assert cases_on(body)[:5] == [overdue.case_id, *(case.case_id for case in soon)]
    assert released.case_id not in cases_on(body)
    seen = cases_on(body)
    while after := re.search(r'href="(/\?[^"]*after=\d+)"', body):
        body = anna.get(after[1].replace("&amp;", "&"))[2]
        seen += cases_on(body)
    assert len(seen) == len(set(seen)) == MANY + 6
    assert seen[-1] == released.case_id


def test_what_is_overdue_stands_out_on_every_page_however_old_it_is(crowd, anna):
    overdue, _, _ = crowd
    banner = re.search(r'<div class="banner warn">.*?</div>', anna.get("/contracts")[2], re.DOTALL)
    assert overdue.case_id in banner[0]


def test_a_deadline_that_is_near_is_marked(crowd, anna):
    body = anna.get("/")[2]
    assert [body.count(text) for text in ("Due today", "Due tomorrow", "Due in 3 days", "Due in 4 days")] == [
        1,
        1,
        1,
        0,
    ]
