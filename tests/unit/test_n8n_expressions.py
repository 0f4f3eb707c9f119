"""The expressions of n8n, run in a JavaScript engine: what they make of requests and of the answers of Airflow."""

import datetime as dt
import json
import shutil

import pytest
from py_mini_racer import MiniRacer

import n8n_expressions
from scripts.config import PROJECT_DIR

ENGINE = MiniRacer()
FOLDER = PROJECT_DIR / "n8n" / "expressions"
JSON = {"content-type": "application/json"}
MONTH = {"start_date": "2024-01-01", "end_date": "2024-01-31"}
TODAY = dt.datetime.now(dt.UTC).date()
DAY_AFTER_TOMORROW = str(TODAY + dt.timedelta(days=2))


def evaluate(name, current=None, **nodes):
    """Return what an expression gives, with the output of the nodes that have run and of the one before.

    As n8n does it, a node that ended with an error has no success output (0), and its error output is not readable.
    """
    values = {node.replace("__", " "): value for node, value in nodes.items()}
    context = (
        f"const $json = {json.dumps(current)}, outputs = {json.dumps(values)};"
        "const unreadable = () => { throw new Error('illegal access') };"
        "const first = (json, output) => 'error' in json ? (output === 0 ? undefined : unreadable()) : { json };"
        "const $ = (name) => ({ isExecuted: name in outputs, first: (output) => first(outputs[name], output) });"
    )
    code = f"(() => {{ {context} return JSON.stringify({(FOLDER / name).read_text()}); }})()"
    return json.loads(ENGINE.eval(code))


def read(body=None, *, method="POST", query=None, headers=JSON, max_days=366):
    """Return what the workflow understands of a request."""
    call = {"body": body, "query": query or {}, "headers": headers}
    nodes = {"Settings": {"max_days": max_days}, f"{method} /webhook/backfill": call}
    return evaluate("backfill_trigger/read_request.js", **nodes)


def problems(*arguments, **options):
    return [(problem["field"], problem["message"]) for problem in read(*arguments, **options)["problems"]]


def test_a_request_goes_to_the_pipeline_with_every_field():
    found = read({**MONTH, "source": "coin_prices", "resources": ["prices"], "wait": True})
    assert found == {
        "problems": [],
        "method": "POST",
        "path": "/pipeline/backfills",
        "body": {
            **MONTH,
            "source": "coin_prices",
            "resources": ["prices"],
            "reprocess": "none",
            "dry_run": False,
            "wait": True,
            "callback_url": None,
        },
        "again": "/pipeline/backfills?start_date=2024-01-01&end_date=2024-01-31&reprocess=none"
        "&source=coin_prices&resources=prices",
        "starts": True,
    }
    assert not read({**MONTH, "dry_run": True})["starts"]


IMPOSSIBLE = "is not a date that exists, of the form YYYY-MM-DD"
KNOWN = "start_date, end_date, source, resources, reprocess, dry_run, wait, callback_url"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, [("start_date", "is required, as YYYY-MM-DD"), ("end_date", "is required, as YYYY-MM-DD")]),
        ({**MONTH, "start_date": "2024-02-30"}, [("start_date", IMPOSSIBLE)]),
        ({**MONTH, "start_date": "2023-02-29"}, [("start_date", IMPOSSIBLE)]),
        ({**MONTH, "start_date": "2024-1-5"}, [("start_date", IMPOSSIBLE)]),
        ({**MONTH, "start_date": "0000-01-01"}, [("start_date", "is before 1970-01-01"), ("end_date", ...)]),
        ({"start_date": "0999-01-01", "end_date": "0999-01-01"}, [("start_date", ...), ("end_date", ...)]),
        ({**MONTH, "start_date": 20240101}, [("start_date", IMPOSSIBLE)]),
        ({**MONTH, "start_date": "={{1+1}}"}, [("start_date", IMPOSSIBLE)]),
        ({**MONTH, "start_date": None}, [("start_date", "is required, as YYYY-MM-DD")]),
        ({"start_date": "2024-02-01", "end_date": "2024-01-01"}, [("end_date", "is before start_date")]),
        (
            {"start_date": "2023-01-01", "end_date": "2024-01-02"},
            [("end_date", "makes a range of 367 days; at most 366 are allowed")],
        ),
        (
            {"start_date": DAY_AFTER_TOMORROW, "end_date": DAY_AFTER_TOMORROW},
            [(field, f"is in the future: today is {TODAY} (UTC)") for field in MONTH],
        ),
        ({**MONTH, "dry_run": "yes"}, [("dry_run", "is neither true nor false")]),
        ({**MONTH, "wait": 1}, [("wait", "is neither true nor false")]),
        ({**MONTH, "reprocess": "all"}, [("reprocess", "is not one of none, failed, completed")]),
        ({**MONTH, "source": "a b"}, [("source", "is not the name of a source")]),
        ({**MONTH, "resources": "posts"}, [("resources", "is not a list of names of resources")]),
        ({**MONTH, "resources": ["posts"]}, [("source", "is required where resources are named")]),
        ({**MONTH, "callback_url": "ftp://x"}, [("callback_url", ...)]),
        ({**MONTH, "callback_url": "https://user:pw@x"}, [("callback_url", ...)]),
        ({**MONTH, "x": 1}, [("x", f"is not a known field; known are {KNOWN}")]),
        ([1], [("body", "must be a JSON object with start_date and end_date")]),
        ("text", [("body", "must be a JSON object with start_date and end_date")]),
        (None, [("body", "must be a JSON object with start_date and end_date")]),
    ],
    ids=str,
)
def test_every_problem_of_a_request_is_named(body, found):
    shown = problems(body)
    assert [field for field, _ in shown] == [field for field, _ in found]
    assert all(words in (..., message) for (_, message), (_, words) in zip(shown, found, strict=True)), shown


def test_several_problems_are_named_at_once():
    assert [field for field, _ in problems({"start_date": "no", "end_date": "", "dry_run": 1, "reprocess": []})] == [
        "start_date",
        "end_date",
        "dry_run",
        "reprocess",
    ]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"])
def test_another_content_type_is_refused_with_the_right_one(kind):
    assert problems({"start_date": "2024-01-01"}, headers={"content-type": kind}) == [
        ("body", f"has the content type {kind.split(';')[0]}; send JSON as Content-Type: application/json")
    ]


def test_what_stands_in_the_address_of_a_post_is_refused():
    assert problems(MONTH, query={"dry_run": "true"}) == [("dry_run", "stands in the address; put it into the body")]


@pytest.mark.parametrize("query", [{}, {"id": ""}, {"id": "x"}, {"id": "0"}, {"id": "1/../x"}, {"id": ["1", "2"]}])
def test_progress_needs_a_number(query):
    assert problems(method="GET", query=query) == [("id", "is missing or not a whole number")]


def test_progress_takes_nothing_else():
    assert read(method="GET", query={"id": "7"})["path"] == "/pipeline/backfills/7"
    assert problems(method="GET", query={"id": "7", "x": "1"}) == [
        ("x", "is not a known field; the address takes only id")
    ]


@pytest.mark.parametrize(
    ("status", "text", "answered"),
    [
        (202, '{"dag_id": "pipeline_bronze", "backfill_id": 1}', True),
        (200, '{"dag_id": "pipeline_bronze"}', True),
        (409, '{"error": {"code": "backfill_running"}}', True),
        (200, "<html>", False),
        (200, "null", False),
        (404, '{"detail": "Not Found"}', False),
        (503, '{"error": {"code": "x"}}', False),
        (None, None, False),
    ],
)
def test_only_an_answer_of_the_pipeline_is_handed_on(status, text, answered):
    found = evaluate("backfill_trigger/did_the_pipeline_answer.js", {"statusCode": status, "data": text})
    assert found is answered


def test_an_answer_with_an_id_says_where_to_ask_for_progress():
    settings = {"webhook_url": "http://localhost:5678/webhook/backfill"}
    answer = {"statusCode": 202, "data": json.dumps({"backfill_id": 3, "status": "accepted"})}
    found = evaluate("backfill_trigger/answer.js", answer, Settings=settings)
    assert found == {
        "backfill_id": 3,
        "status": "accepted",
        "status_url": "http://localhost:5678/webhook/backfill?id=3",
    }
    answer = {"statusCode": 202, "data": json.dumps({"backfill_id": None, "status": "loaded"})}
    assert "status_url" not in evaluate("backfill_trigger/answer.js", answer, Settings=settings)


START, DRY, GET = {"method": "POST", "starts": True}, {"method": "POST", "starts": False}, {"method": "GET"}
DOWN = {"error": {"code": "ECONNREFUSED"}}


@pytest.mark.parametrize(
    ("request_", "token", "asked", "again", "code", "words"),
    [
        (START, DOWN, None, None, "airflow_unreachable", "nothing was started"),
        (DRY, DOWN, None, None, "airflow_unreachable", "a dry run starts nothing"),
        (GET, DOWN, None, None, "airflow_unreachable", "the progress is unknown"),
        (START, {"statusCode": 401}, None, None, "airflow_login_failed", "nothing was started"),
        (START, {"statusCode": 500}, None, None, "airflow_error", "nothing was started"),
        (START, {}, DOWN, DOWN, "airflow_unreachable", "is unknown, and asking again is safe"),
        (START, {}, {"statusCode": 500}, DOWN, "airflow_error", "is unknown, and asking again is safe"),
        (
            START,
            {},
            DOWN,
            {"statusCode": 404, "data": '{"error":{"code":"not_found"}}'},
            "airflow_unreachable",
            "is unknown",
        ),
        (
            START,
            {},
            {"statusCode": 503},
            {"statusCode": 404, "data": '{"error":{"code":"not_found"}}'},
            "airflow_error",
            "nothing was started",
        ),
        (
            START,
            {},
            {"statusCode": 404, "data": '{"detail":"Not Found"}'},
            None,
            "airflow_error",
            "plugin did not load",
        ),
        (DRY, {}, {"statusCode": 422, "data": '{"detail":[]}'}, None, "airflow_error", "a dry run starts nothing"),
    ],
)
def test_no_answer_is_told_with_what_is_known(request_, token, asked, again, code, words):
    nodes = {"Read request": request_, "Get Airflow token": token}
    nodes |= {"Ask the pipeline": asked} if asked is not None else {}
    nodes |= {"Look again": again} if again is not None else {}
    last = list(nodes.values())[-1]
    error = evaluate("backfill_trigger/502_no_answer.js", last, **nodes)["error"]
    assert error["code"] == code
    assert words in error["message"]
    assert error["details"][0]["field"] == "airflow"


def test_an_alert_tells_what_failed_and_nothing_of_the_request():
    failure = {
        "workflow": {"name": "backfill_trigger"},
        "execution": {"lastNodeExecuted": "Stop", "error": {"message": "x" * 900}, "data": "secret"},
    }
    found = evaluate("error_alert/send_the_alert.js", **{"When a workflow fails": failure})
    assert found == {"workflow": "backfill_trigger", "node": "Stop", "message": "x" * 500}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the workflows and expressions that a test may change."""
    shutil.copytree(PROJECT_DIR / "n8n", tmp_path / "n8n")
    monkeypatch.setattr(n8n_expressions, "FOLDER", tmp_path / "n8n")
    return tmp_path / "n8n"


def test_a_changed_expression_makes_the_workflow_stale_until_it_is_rendered(copy, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["n8n_expressions.py", "--check"])
    n8n_expressions.main()
    file = copy / "expressions" / "backfill_trigger" / "answer.js"
    file.write_text(file.read_text().replace("?? null", "?? 0"))
    with pytest.raises(SystemExit, match=r"backfill_trigger.json is out of date"):
        n8n_expressions.main()
    monkeypatch.setattr("sys.argv", ["n8n_expressions.py"])
    n8n_expressions.main()
    monkeypatch.setattr("sys.argv", ["n8n_expressions.py", "--check"])
    n8n_expressions.main()
    workflow = json.loads((copy / "workflows" / "backfill_trigger.json").read_text())
    assert n8n_expressions.take_out(workflow, copy / "expressions") == [], "what n8n holds is what the files hold"


def test_a_file_that_belongs_to_no_node_and_one_that_n8n_would_cut_are_refused(copy, monkeypatch):
    monkeypatch.setattr("sys.argv", ["n8n_expressions.py", "--check"])
    (copy / "expressions" / "backfill_trigger" / "old.js").write_text("(() => {\n})()\n")
    with pytest.raises(SystemExit, match=r"old\.js belongs to no node"):
        n8n_expressions.main()
    (copy / "expressions" / "backfill_trigger" / "answer.js").write_text("(() => {\n  return { a: { b: 1 }};\n})()\n")
    with pytest.raises(SystemExit, match="two closing braces"):
        n8n_expressions.main()
    (copy / "expressions" / "backfill_trigger" / "answer.js").write_text("(() => {\n  try { f(); } catch { }\n})()\n")
    with pytest.raises(SystemExit, match="needs a name after `catch`"):
        n8n_expressions.main()
