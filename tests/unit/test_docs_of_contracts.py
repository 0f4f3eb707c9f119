"""Every example of what a contract can say, in docs/adding-a-source.md, is a part of a valid contract."""

import re

import pytest
import yaml

from scripts.admin import contract_page
from scripts.config import PROJECT_DIR
from scripts.contracts.source import Source

TEXT = (PROJECT_DIR / "docs" / "adding-a-source.md").read_text()
EXAMPLES = re.findall(
    r"^```yaml\n(.*?)^```$", TEXT[TEXT.index("## What a contract can say") :], re.DOTALL | re.MULTILINE
)
ID = {"name": "id", "type": "integer", "nullable": False, "description": "Key."}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_valid(example):
    keys = yaml.safe_load(example)
    auth = {"auth": keys.pop("auth")} if "auth" in keys else {}
    orders = {"description": "x", "path": "/orders", "primary_key": ["id"], "columns": [ID], **keys}
    document = {
        "source": "shop",
        "description": "x",
        "owner": "me@example.com",
        "base_url": "https://shop.example.com",
        "default_resource": "orders",
        "resources": {
            "orders": {key: value for key, value in orders.items() if value is not None},
            "issues": {"description": "x", "path": "/issues", "primary_key": ["id"], "columns": [ID]},
        },
        **auth,
    }

    Source.model_validate(document)


def test_there_are_examples():
    assert len(EXAMPLES) > 15


def parts():
    found = []
    contract_page._collect(Source, found)
    return found


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_every_key_has_an_example_that_is_valid(part):
    examples = [yaml.safe_load(text) for text in contract_page.example_texts()[part.__name__]]

    for example in examples:
        part.model_validate(example)
    assert sorted(set(part.model_fields) - {key for example in examples for key in example}) == []
