"""Every example of what a contract can say, in docs/adding-a-source.md, is a part of a valid contract."""

import re

import pytest
import yaml

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
