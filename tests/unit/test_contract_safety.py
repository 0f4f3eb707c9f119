"""The author of a contract decides what is loaded, and not where secrets go, nor what a page does."""

import copy

import pytest
import yaml
from pydantic import ValidationError

from scripts.config import settings
from scripts.contracts import catalog
from scripts.contracts.rules import Range
from scripts.contracts.safe_text import plain_text
from scripts.contracts.source import Source
from scripts.errors import ContractError, SettingsError
from scripts.extract.client import Client
from scripts.warehouse.runner import environment
from scripts.warehouse.versions import Warehouse

CONTRACT = {
    "source": "shop",
    "description": "d",
    "owner": "me@example.com",
    "base_url": "https://shop.example.com",
    "default_resource": "orders",
    "resources": {
        "orders": {
            "description": "d",
            "path": "/orders",
            "primary_key": ["id"],
            "columns": [{"name": "id", "type": "integer", "nullable": False, "description": "d"}],
        }
    },
}


def contract(**changes):
    return Source.model_validate({**copy.deepcopy(CONTRACT), **changes})


def bearer(name):
    return {"type": "bearer", "token_env": name}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auth": bearer("SMTP_PASSWORD")}, "`SMTP_PASSWORD` is not a secret of this source: call it `SHOP_"),
        ({"source": "smtp", "auth": bearer("SMTP_PASSWORD")}, "is not a secret of this source"),
        ({"source": "airflow", "auth": bearer("AIRFLOW_JWT_SECRET")}, "is not a secret of this source"),
        ({"base_url_env": "SMTP_PASSWORD"}, "does not end in `_URL`"),
        ({"headers": {"Authorization": "Bearer x"}}, "`Authorization` carries a secret"),
        ({"headers": {"cookie": "x"}}, "`cookie` carries a secret"),
        ({"headers": {"Host": "other.example.com"}}, "`Host` is set by the client"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "holds characters that are not valid in a header"),
        ({"headers": {"X-A: 1\r\nX-B": "2"}}, "is not the name of a header"),
        ({"auth": {"type": "api_key", "value_env": "SHOP_KEY", "header": "Host"}}, "is not the name of a header for"),
        ({"base_url": "http://shop.example.com", "auth": bearer("SHOP_TOKEN")}, "would get a secret in plain text"),
        ({"base_url": "http://169.254.169.254/latest"}, "is a link-local address"),
        ({"base_url": "http://2852039166/latest"}, "is a link-local address"),
        ({"base_url": "http://[fe80::1]/"}, "is a link-local address"),
        ({"base_url": "http://[::ffff:169.254.169.254]/"}, "is a link-local address"),
        ({"base_url": "http://metadata.google.internal/"}, "is a link-local address"),
    ],
)
def test_what_a_contract_may_not_ask_for_is_refused_in_words(changes, message):
    with pytest.raises(ValidationError) as refused:
        contract(**changes)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"auth": bearer("SHOP_TOKEN")},
        {"auth": bearer("SHOP_TOKEN"), "base_url": "http://127.0.0.1:3000"},
        {"auth": bearer("SHOP_TOKEN"), "base_url": "http://localhost:3000"},
        {"headers": {"X-Day": "{day}", "Accept-Language": "en"}},
        {"auth": {"type": "api_key", "value_env": "SHOP_KEY", "header": "Authorization"}},
        {"base_url": "http://shop.example.com"},
    ],
)
def test_what_a_contract_may_ask_for(changes):
    assert contract(**changes).source == "shop"


def test_a_shared_secret_has_to_stand_on_the_list(env):
    env("SOURCE_SECRETS", "SHARED_TOKEN, OTHER_TOKEN")
    assert contract(auth=bearer("OTHER_TOKEN")).auth.token_env == "OTHER_TOKEN"


@pytest.mark.parametrize(
    "text", ["[1, 2]: x", "day: 2024-99-99", "x: " + "[" * 3000, "a: *b", "x: !!python/object:os.system {}", "\x00"]
)
def test_bad_yaml_is_one_line(tmp_path, text):
    path = tmp_path / "shop.yml"
    path.write_text(text)
    with pytest.raises(ContractError) as refused:
        catalog.read(path)
    assert str(refused.value).startswith(f"{path}: not valid YAML: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("bound", [".inf", "-.inf", ".nan"])
def test_bounds_are_numbers(bound):
    with pytest.raises(ValidationError):
        Range.model_validate(yaml.safe_load(f"min: {bound}"))


@pytest.mark.parametrize("url", ["http://shop.example.com", "http://169.254.169.254"])
def test_the_variable_with_another_address_changes_nothing(env, url):
    env("SHOP_URL", url)
    env("SHOP_TOKEN", "the-token")
    with pytest.raises(SettingsError, match="SHOP_URL"):
        Client(contract(auth=bearer("SHOP_TOKEN"), base_url_env="SHOP_URL"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{{ env_var('X') }}", "{{ '{' }}{ env_var('X') }}"),
        ("{% set x = 1 %}", "{{ '{' }}% set x = 1 %}"),
        ("{# hidden #}", "{{ '{' }}# hidden #}"),
        ("<script>alert(1)</script> & more", "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"),
        ("[click](javascript:alert(1))", "\\[click\\](javascript:alert(1))"),
        ("Rows, one per `id`.", "Rows, one per `id`."),
    ],
)
def test_a_text_of_a_contract_is_shown_as_it_is(text, shown):
    assert plain_text(text) == shown


@pytest.mark.parametrize("text", ["{{ env_var('X') }}", "{{{ x", "{%{{#", "{{ '{' }}", "a {", "{{"])
def test_jinja_gives_the_text_back(text):
    import jinja2  # noqa: PLC0415 — this test alone

    assert jinja2.Environment(autoescape=False).from_string(plain_text(text)).render() == text


def test_dbt_gets_no_secret(env):
    for name in ("AIRFLOW_ADMIN_PASSWORD", "SMTP_PASSWORD", "SHOP_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"):
        env(name, "the-secret")
    handed = environment(Warehouse(settings().data_dir / "warehouse.duckdb"), settings().bronze_location)
    assert "the-secret" not in handed.values()
    assert handed["PATH"]
