"""A legal team of two, Anna and Bo, with a broker and a console each."""

from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import sync_playwright

from tests.console.consoles import CHROMIUM, FLAGS, NO_CHROMIUM, WIDE, Console, Visitor
from tests.support.legal_team import Team
from tests.support.memory_legal_service import serving
from tests.support.nursery import start_anew_telling


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    team = Team(tmp_path_factory.mktemp("team"))
    with serving(team.world, team.company) as endpoint:
        team.hire(endpoint, "anna", "bo")
        yield team
        for line in team.lines:
            line.close()


@pytest.fixture
def console(team):
    """Anna's console, with its link not used yet, started as she would."""
    with Console("--profile", team.folder("anna"), begin=start_anew_telling) as running:
        yield running


@pytest.fixture(scope="module")
def anna(team):
    """Anna, signed in, without a browser."""
    with Console("--profile", team.folder("anna")) as running:
        visitor = Visitor(running)
        visitor.enter()
        yield visitor


@pytest.fixture(scope="module")
def chromium():
    """A browser without a screen."""
    if not CHROMIUM.exists():
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def entered(team, chromium):
    """Signs a member of the team in, in a browser context of their own."""
    with ExitStack() as stack:

        @contextmanager
        def enter(name, **options):
            console = stack.enter_context(Console("--profile", team.folder(name)))
            context = chromium.new_context(**{"viewport": WIDE, "locale": "en", "base_url": console.address} | options)
            context.set_default_timeout(20_000)
            page = context.new_page()
            faults = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
            page.goto(console.link)
            try:
                yield page
            finally:
                context.close()
            assert [fault for fault in faults if "Content Security Policy" in fault or "Error" in fault] == []

        yield enter
