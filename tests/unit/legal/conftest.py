"""A legal team of two with a broker in memory; a world of its own for each test."""

import pytest
from sluss_client.profile import Profile

from tests.support import sluss_command
from tests.support.legal_team import Team
from tests.support.memory_legal_service import serving


@pytest.fixture
def team(tmp_path):
    team = Team(tmp_path)
    with serving(team.world, team.company) as endpoint:
        team.hire(endpoint, "anna", "bo")
        yield team
        for line in team.lines:
            line.close()


@pytest.fixture
def anna(team):
    """Anna's profile."""
    return Profile.load(team.folder("anna"))


@pytest.fixture(scope="session")
def app():
    return sluss_command.clients()


@pytest.fixture
def sluss(app, team, monkeypatch):
    """Runs `sluss WORDS` as Anna; nothing may end in a traceback."""
    monkeypatch.setenv("SLUSS_PROFILE", str(team.folder("anna")))

    def run(*words, **options):
        result = sluss_command.invoke(app, words, **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert "Traceback" not in result.output
        return result

    return run
