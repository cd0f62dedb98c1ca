"""Labs for the end-to-end tests. JITWG_BUILD=DIR chooses the build."""

import pytest

from labs import Lab, why_not


@pytest.fixture(scope="session")
def _possible():
    reason = why_not()
    if reason:
        pytest.skip(reason)


def _lab(*options):
    lab = Lab()
    try:
        lab.up(*options)
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def lab(_possible):
    """One lab with everything running, shared by all tests that leave it as they found it."""
    yield from _lab()


@pytest.fixture
def fresh_lab(_possible):
    """A lab with everything running for this test alone, which may break it."""
    yield from _lab()


@pytest.fixture(scope="session")
def bare_lab(_possible):
    """Shared, without jitwg's programs: network, people, journals and a plain sshd."""
    yield from _lab("--without-daemons")


@pytest.fixture
def fresh_bare_lab(_possible):
    yield from _lab("--without-daemons")


@pytest.fixture
def new_lab(_possible):
    """Makes Lab objects that are not up yet; all are taken down at the end of the test."""
    made = []

    def make(**options):
        made.append(Lab(**options))
        return made[-1]

    yield make
    for each in made:
        each.down()
