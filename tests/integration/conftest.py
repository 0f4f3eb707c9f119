"""Where the alerts of a test arrive."""

import pytest

from tests.support.alert_sink import alert_sink


@pytest.fixture
def sink(env):
    """Where alerts arrive as if it were Slack; its `texts` has them."""
    with alert_sink() as server:
        env("SLACK_WEBHOOK", server.url)
        yield server
