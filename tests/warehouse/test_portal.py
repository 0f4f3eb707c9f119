"""The portal of a real build: owners, tests, lineage, and what is hidden because of the field it comes from."""

from scripts.contracts import catalog
from scripts.portal import tables
from scripts.portal.origins import Field, Origins
from scripts.portal.pages import write_portal
from scripts.portal.store import Kept
from scripts.portal.tables import read_published
from scripts.utils.days import parse_day
from scripts.warehouse.build import warehouse
from scripts.warehouse.data_docs import docs_dir

EVENTS = "model.data_pipeline.fct_events"


def sensitive(*names):
    """Return the catalog's sources, with sensitive columns of the posts."""
    found = dict(catalog.read_all().sources)
    posts = found["jsonplaceholder"].resources["posts"]
    columns = [
        column.model_copy(update={"sensitive": True}) if column.name in names else column for column in posts.columns
    ]
    resources = found["jsonplaceholder"].resources | {"posts": posts.model_copy(update={"columns": tuple(columns)})}
    found["jsonplaceholder"] = found["jsonplaceholder"].model_copy(update={"resources": resources})
    return found


def test_the_portal_of_a_build(load_days, build, monkeypatch):
    load_days(parse_day("2024-01-02"))
    build()
    found = read_published(warehouse(), Kept())
    shown = {table.name: table for table in found.tables}

    assert list(shown) == ["dim_users", "fct_coin_prices_daily", "fct_events", "fct_user_activity_daily"]
    events = shown["fct_events"]
    assert events.owner == "Data platform <data-platform@example.com>"
    assert events.key == ("event_id",)
    assert str(events.last_day) == "2024-01-02"
    assert {(item.source, item.resource) for item in events.freshness} == {
        ("jsonplaceholder", "posts"),
        ("jsonplaceholder", "comments"),
    }
    assert {test.name for test in events.tests if test.column == "user_id"} == {"not_null", "relationships"}
    assert all(test.ran_at and test.status in {"pass", "warn"} for test in events.tests)
    assert [item.label for item in shown["fct_user_activity_daily"].exposures] == ["Health page", "User activity"]
    assert list(events.steps.layers.values()) == [
        ["bronze/jsonplaceholder/comments", "bronze/jsonplaceholder/posts"],
        ["silver/stg_events", "silver/stg_jsonplaceholder__comments"],
        ["gold/fct_events"],
        ["gold/fct_user_activity_daily"],
        ["exposure/Health page", "exposure/User activity"],
    ]
    assert ("silver/stg_events", "gold/fct_events") in events.steps.edges

    # a column of another name that is computed from a sensitive field is hidden, and no other
    origins = Origins(warehouse(), found.version)
    assert origins.fields(EVENTS, "body_length_chars") == [Field("jsonplaceholder", "posts", "body", False)]
    assert origins.fields(EVENTS, "no_such_column") is None
    monkeypatch.setattr(tables.Origins, "__init__", _reading(sensitive("body", "title")))
    columns = read_published(warehouse(), Kept()).tables[2].columns
    hidden = {column.profile.name for column in columns if column.profile.hidden}
    assert hidden == {"body_length_chars", "event_title"}

    titles = [row[2] for row in events.profile.sample]
    write_portal()
    text = (docs_dir() / "tables/fct_events.html").read_text()
    assert [title for title in titles if title in text] == []


def _reading(sources):
    real = Origins.__init__

    def read(self, *arguments):
        real(self, *arguments)
        self._sources = sources

    return read
