"""Mail goes only to the server whose certificate is valid for its name: the password goes nowhere else."""

import contextlib
import socket
import ssl

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import SMTP, AuthResult

from scripts.errors import SettingsError
from scripts.monitoring import alerts
from scripts.monitoring.alerts import Alert

PASSWORD = "the-mail-password"
ALERT = Alert("task failed", "a.b", "it failed")


class Mailbox(Message):
    def __init__(self):
        super().__init__()
        self.mails, self.logins = [], []

    def handle_message(self, message):
        self.mails.append(message)

    def authenticate(self, _server, _session, _envelope, _mechanism, data):
        self.logins.append(data.password.decode())
        return AuthResult(success=True)


@contextlib.contextmanager
def mail_server(security, certificate):
    """A mail server with a certificate, for the block; yields what it got and its port."""
    context, box = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), Mailbox()
    certificate.configure_cert(context)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    class Server(Controller):
        def factory(self):
            starttls = {"tls_context": context, "require_starttls": True} if security == "starttls" else {}
            return SMTP(
                box,
                authenticator=box.authenticate,
                auth_require_tls=security == "starttls",
                auth_required=True,
                hostname="localhost",
                **starttls,
            )

        def _trigger_server(self):
            """Only connect, where aiosmtpd would speak without knowing the certificate."""
            socket.create_connection((self.hostname, self.port), timeout=10).close()

    server = Server(box, hostname="127.0.0.1", port=port, ssl_context=context if security == "tls" else None)
    server.start()
    try:
        yield box, port
    finally:
        server.stop()


@pytest.fixture
def send(env, tmp_path):
    """Send an alert to a server, and return the sinks that took it."""

    def send_alert(security, port, *, ca=None, host="localhost"):
        values = {"HOST": host, "PORT": port, "SECURITY": security, "USER": "pipeline", "PASSWORD": PASSWORD}
        for name, value in values.items():
            env(f"SMTP_{name}", value)
        env("ALERT_EMAIL", "one@example.com")
        if ca is not None:
            ca.cert_pem.write_to_path(tmp_path / "ca.pem")
            env("SMTP_CA_FILE", tmp_path / "ca.pem")
        return alerts.notify(ALERT)

    return send_alert


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_server_that_nobody_vouches_for_gets_no_password(security, send, capsys):
    with mail_server(security, trustme.CA().issue_cert("localhost")) as (box, port):
        assert send(security, port) == []
    assert (box.logins, box.mails) == ([], [])
    assert "certificate verify failed" in capsys.readouterr().err


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_certificate_for_another_name_is_refused(security, send):
    ca = trustme.CA()
    with mail_server(security, ca.issue_cert("mail.example.com")) as (box, port):
        assert send(security, port, ca=ca) == []
    assert (box.logins, box.mails) == ([], [])


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_private_ca_may_be_named(security, send):
    ca = trustme.CA()
    with mail_server(security, ca.issue_cert("localhost")) as (box, port):
        assert send(security, port, ca=ca) == ["mail"]
    assert box.logins == [PASSWORD]
    assert [mail["Subject"] for mail in box.mails] == ["[data-pipeline] task failed: a.b"]


def test_a_file_that_is_no_certificate_is_told(send, env, tmp_path, capsys):
    (tmp_path / "ca.pem").write_text("no certificate")
    env("SMTP_CA_FILE", tmp_path / "ca.pem")
    assert send("tls", 9) == []
    assert "could not be sent by mail" in capsys.readouterr().err


def test_a_login_is_not_sent_in_plain_text(env):
    env("SMTP_HOST", "mail.example.com")
    env("SMTP_SECURITY", "none")
    env("SMTP_USER", "pipeline")
    with pytest.raises(SettingsError, match="SMTP_USER=pipeline is refused: a login is not sent in plain text"):
        alerts.settings()
    env("SMTP_HOST", "127.0.0.1")
    assert alerts.settings().smtp_user == "pipeline"


@pytest.mark.parametrize("url", ["http://hooks.example.com/T/B/x", "ftp://x", "http://"])
def test_the_hook_of_slack_is_a_secret_that_goes_only_by_https(env, url):
    env("SLACK_WEBHOOK", url)
    with pytest.raises(SettingsError, match="SLACK_WEBHOOK is refused: must be a URL that starts with https://"):
        alerts.settings()
