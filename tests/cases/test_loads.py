"""Cases of loads: what is asked for, what is in Bronze and in quarantine, and which answers are refused."""

import datetime as dt
import json
from decimal import Decimal

import pytest
import requests


def ids(*numbers):
    """Return rows that have only an id."""
    return [{"id": number, "_extra": None} for number in numbers]


# what is asked for


def test_boolean_params(case):
    """A boolean is sent as JSON writes it."""
    case.load()

    assert case.asked[0].query == {"active": "true"}
    assert case.rows() == ids(1)


def test_day_in_path(case):
    """A template in the path is filled with the day."""
    case.load()

    assert [ask.path for ask in case.asked] == ["/v1/2024-01-01/items"]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Apia"])
def test_epoch_format_in_local_time(case, monkeypatch, zone):
    """The time zone of the machine changes no window."""
    monkeypatch.setenv("TZ", zone)

    entry = case.load("2024-03-10")

    assert case.asked[0].query == {"from": "1710028800", "to": "1710115200"}
    assert entry.bronze == 24


def test_inclusive_end_with_time(case):
    """An inclusive end asks for the last moment of the day."""
    case.load("2024-03-10")

    assert case.asked[0].query == {"from": "2024-03-10T00:00:00Z", "to": "2024-03-10T23:59:59Z"}
    assert [row["id"] for row in case.rows("2024-03-10")] == list(range(24))


def test_netrc_replaces_bearer(case, env, monkeypatch, tmp_path):
    """The password file of the user does not replace the contract's authentication."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    env("DEMO_TOKEN", "topsecret")
    assert requests.utils.get_netrc_auth("http://127.0.0.1") == ("someone", "else")

    case.load()

    assert case.asked[0].headers["Authorization"] == "Bearer topsecret"


def test_api_key_follows_redirect(case, env, capsys):
    """A redirect to another host is refused, so that it gets no key."""
    env("DEMO_TOKEN", "topsecret")

    ended = case.run_on("2024-01-01", "ingest")
    case.source.server.other.shutdown()

    assert ended.code == 6
    assert f"the source leads to http://localhost:{case.source.server.other.server_port}/x, on another" in ended.error
    assert "other host got" not in ended.output
    assert case.asked[0].headers["X-Api-Key"] == "topsecret"


@pytest.mark.parametrize("form", ["url", "header"])
def test_secret_shown(case, env, form):
    """No line shows a secret in any form, whether the contract is refused or the host is not known."""
    secret, text = "p@ss/w+rd", (case.folder / "contract.yml").read_text()
    env("DEMO_TOKEN", secret if form == "url" else f"{secret}\n")
    ways = [text, text.replace("http://", "https://")]
    if form == "header":
        ways = [way.replace("query: key", "header: X-Key") for way in ways]
    for way, code in zip(ways, (4, 5), strict=True):
        case.write_contract(way)
        for options in ((), ("--json",)):
            ended = case.run_on("2024-01-01", "ingest", *options)

            assert ended.code == code, ended.errors
            assert ended.error
            shown = ended.output + ended.errors
            assert not [part for part in (secret, "p%40ss", "w%2Brd", "ss/w") if part in shown]
            assert "***" in shown or "key=" not in shown


# pages


def test_endless_link(case):
    """Links to pages without rows end in an error."""
    ended = case.run_on("2024-01-01", "ingest")

    assert ended.code == 6
    assert "/items: 21 consecutive pages have no rows; expected rows, or a last page" in ended.error
    assert len(case.asked) < 40
    assert case.entry() is None


def test_endless_offset_with_time_in_body(case):
    """The same rows again are refused, whatever else is in the answer."""
    ended = case.run_on("2024-01-01", "ingest")

    assert ended.code == 6
    assert "/items: page 4 is the same as page 3; expected another page" in ended.error
    assert case.entry() is None


@pytest.mark.parametrize(
    "form",
    [
        '</items?page=N>; Rel="next"',
        '</items?page=N>; rel="next last"',
        # the server replaces every N
        '</items?page=N>; rel="nEXT"',
        '</items?page=N>; title="a=b"; rel="next"',
        '</items;v=1?page=N>; rel="next"',
    ],
)
def test_link_header_forms(case, env, form):
    """Every form of a `Link` header is followed to the last page."""
    env("LINK", form)

    entry = case.load()

    assert entry.pages == 3
    assert case.rows() == ids(10, 11, 20, 21, 30, 31)


def test_rows_move_total_constant(case):
    """Rows that move between pages are fetched again, and refused if they move each time."""
    ended = case.run_on("2024-01-01", "ingest")

    assert ended.code == 5
    assert "rows moved between pages: 1 keys came on more than one page" in ended.error
    assert [ask.query["offset"] for ask in case.asked].count("0") == 3
    assert case.entry() is None


@pytest.mark.parametrize("where", ["first page", "middle"])
def test_short_page_capped_by_server(case, where):
    """A page with fewer rows than asked for is not taken for the last one, and is warned of."""
    if where == "middle":
        # the page size of the contract is 1000
        pages = {"1": range(1000), "2": range(1000, 1900), "3": range(1900, 2900)}
        case.source.answer = lambda ask: (200, {}, json.dumps(ids(*pages.get(ask.query["page"], ()))).encode())

    ended = case.run_on("2024-01-01", "ingest")

    assert ended.code == 0
    assert [row["id"] for row in case.rows()] == list(range(250 if where == "first page" else 2900))
    page, rows = (1, 100) if where == "first page" else (2, 900)
    assert f"page {page} has {rows} rows of 1000, and another page followed" in ended.errors


def test_http_204(case):
    """The status 204 is an answer without rows."""
    entry = case.load()

    assert (entry.fetched, case.rows(), len(case.asked)) == (0, [], 1)


# records


def test_duplicate_keys(case):
    """A record with a key twice is set aside as it came; a load of only such a record is refused with the reason."""
    ended = case.run_on("2024-01-01", "ingest")

    assert ended.code == 7
    assert "none of the 1 rows fits the contract; the first: field `n` appears 2 times" in ended.error
    assert case.entry() is None

    case.source.answer = lambda _: (200, {}, b'[{"id":1,"n":1,"n":2},{"id":2,"n":3}]')
    case.load()

    assert case.rows() == [{"id": 2, "n": 3.0, "_extra": None}]
    (aside,) = case.aside()
    assert (aside.raw, aside.reason) == ('{"id":1,"n":1,"n":2}', "field `n` appears 2 times")


@pytest.mark.parametrize("form", ["half a surrogate", "NaN", "utf-8-sig", "utf-16"])
def test_decimal_rounded_beside_bad_row(case, form):
    """A decimal is never rounded, whatever is beside it and however the page is encoded."""
    text = case.source.body()
    if form != "half a surrogate":
        text = text.replace(b'"\\ud800"', b"NaN" if form == "NaN" else b'"b"')
        case.source.answer = lambda _: (200, {}, text if form == "NaN" else text.decode().encode(form))

    case.load()

    first = {"id": 1, "amt": Decimal("1234567890123456789.1234567891"), "note": "a", "_extra": None}
    second = {"id": 2, "amt": Decimal(1), "note": "b", "_extra": None}
    is_whole = form.startswith("utf")
    assert case.rows() == ([first, second] if is_whole else [first])
    raw = '{"id":2,"amt":1,"note":"\\ud800"}' if form == "half a surrogate" else '{"id":2,"amt":1,"note":NaN}'
    assert [row.raw for row in case.aside()] == ([] if is_whole else [raw])


@pytest.mark.parametrize("form", ["half a surrogate", "NaN", "utf-8-sig", "flat_map"])
def test_envelope_one_bad_record_stops_all(case, form):
    """A record in an envelope that cannot be read is set aside, and the others are loaded."""
    text = case.source.body()
    if form == "NaN":
        text = text.replace(b'"\\ud800"', b"NaN")
    elif form == "utf-8-sig":
        text = text.decode().encode(form)
    elif form == "flat_map":
        text = b'{"1_note":"ok","2_note":"\\ud800"}'
        contract = (
            (case.folder / "contract.yml").read_text().replace("name: id, type: integer", "name: id, type: string")
        )
        case.write_contract(contract.replace("shape: envelope, data_path: data", "shape: flat_map, key_column: id"))
    case.source.answer = lambda _: (200, {}, text)

    case.load()

    one, two = ("1", '"2"') if form == "flat_map" else (1, 2)
    assert case.rows() == [{"id": one, "note": "ok", "_extra": None}]
    note = "NaN" if form == "NaN" else '"\\ud800"'
    assert [row.raw for row in case.aside()] == [f'{{"id":{two},"note":{note}}}']


def test_nesting_1000(case):
    """A record that is nested too deeply is set aside as it came."""
    case.load()

    assert case.rows() == [{"id": 2, "j": "1", "_extra": None}]
    (aside,) = case.aside()
    assert aside.raw == case.source.body().decode().removeprefix("[").rpartition(',{"id":2')[0]
    assert "nested too deeply" in aside.reason


def test_nullable_key(case):
    """A row without its primary key is set aside, although the contract does not forbid nulls."""
    case.load()

    assert case.rows() == [{"id": 1, "v": "a", "_extra": None}]
    assert [(row.row, row.raw) for row in case.aside()] == [(1, '{"id":null,"v":"b"}'), (2, '{"v":"c"}')]


def test_mistyped_policy_ignored(case):
    """A decimal with too many digits follows the policy for values of another type."""
    entry = case.load()

    assert case.rows() == [{"id": 1, "a": Decimal("1.00"), "b": None, "_extra": '{"b":1.101}'}]
    assert [(note.kind, note.field, note.action, note.rows) for note in entry.drift] == [("mistyped", "b", "evolve", 1)]


def test_timestamp_rounds_up(case):
    """A moment is cut to microseconds and does not become one of the next day."""
    case.load()

    assert [row["t"] for row in case.rows()] == [dt.datetime(2024, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC)]
    assert case.aside() == []
