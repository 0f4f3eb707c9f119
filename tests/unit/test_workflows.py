"""The workflow files of n8n: parsed and checked without n8n, and the check itself checked on broken copies."""

import copy
import json

import pytest

from n8n_workflows import left_out, normalised, secrets_in
from scripts.config import PROJECT_DIR
from tests.support.workflows import problems

FILES = sorted((PROJECT_DIR / "n8n/workflows").glob("*.json"))
TRIGGER = json.loads((PROJECT_DIR / "n8n/workflows/backfill_trigger.json").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_is_in_order(path):
    assert problems(json.loads(path.read_text())) == []


def test_an_export_differs_only_in_what_somebody_changed():
    exported = copy.deepcopy(TRIGGER)
    exported |= {"active": True, "updatedAt": "2026-01-01", "versionId": "x", "triggerCount": 2, "shared": []}
    node(exported, "Settings")["parameters"]["assignments"]["assignments"][0]["value"] = "http://127.0.0.1:8080"
    assert normalised(exported, TRIGGER) == TRIGGER
    node(exported, "400 Bad request")["parameters"]["respondWith"] = "text"
    assert normalised(exported, TRIGGER) != TRIGGER


def test_an_export_keeps_a_setting_that_somebody_has_added():
    exported = copy.deepcopy(TRIGGER)
    added = {"id": "a-team", "name": "team", "value": "data", "type": "string"}
    node(exported, "Settings")["parameters"]["assignments"]["assignments"].append(added)
    assert added in node(normalised(exported, TRIGGER), "Settings")["parameters"]["assignments"]["assignments"]


def test_an_export_tells_what_it_leaves_out():
    exported = copy.deepcopy(TRIGGER)
    settings = {one["name"]: one for one in node(exported, "Settings")["parameters"]["assignments"]["assignments"]}
    environ = {"AIRFLOW_URL": "http://127.0.0.1:8081"}
    settings["airflow_url"]["value"] = environ["AIRFLOW_URL"]
    assert left_out(exported, TRIGGER, environ) == [], "the import has set it"
    settings["max_days"]["value"] = 40
    exported |= {"tags": [{"id": "1", "name": "ours"}], "pinData": {"Settings": []}}
    assert left_out(exported, TRIGGER, environ) == [
        "its pinned data, since it may be personal data",
        "its tags: ours",
        "the value 40 of max_days in Settings; set BACKFILL_MAX_DAYS instead",
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        {"url": "https://hooks.slack.com/services/T0/B0/x"},
        {"url": "https://user:password@example.com"},
        {"headerParameters": {"parameters": [{"name": "X-Api-Key", "value": "0123456789abcdef"}]}},
        {"assignments": {"assignments": [{"name": "token", "value": "0123456789abcdef"}]}},
        {"apiKey": "0123456789abcdef"},
        {"jsCode": "const key = 'sk-0123456789abcdef0123';"},
        {"headerParameters": {"parameters": [{"name": "Authorization", "value": "=Bearer 0123456789abcdef"}]}},
    ],
    ids=str,
)
def test_what_looks_like_a_secret_is_found(parameters):
    assert secrets_in(parameters)


def test_the_workflows_themselves_hold_no_secret():
    found = [secrets_in(n["parameters"]) for path in FILES for n in json.loads(path.read_text())["nodes"]]
    assert [places for places in found if places] == []


def node(workflow, name):
    return next(node for node in workflow["nodes"] if node["name"] == name)


BREAKS = {
    "is not loaded": lambda w: node(w, "Settings").update(type="n8n-nodes-base.code"),
    "two nodes are called": lambda w: node(w, "Answer").update(name="400 Bad request"),
    "two nodes have the id": lambda w: node(w, "Answer").update(id=node(w, "Settings")["id"]),
    "is connected to": lambda w: w["connections"]["Settings"]["main"][0][0].update(node="Gone"),
    "a connection comes from": lambda w: w["connections"].update(Gone={"main": [[]]}),
    "leads nowhere": lambda w: w["connections"]["Is there a token?"]["main"].pop(),
    "nothing leads to": lambda w: w["connections"]["Ask the pipeline"]["main"].__setitem__(0, []),
    "names the node": lambda w: node(w, "Ask the pipeline")["parameters"].update(url="={{ $('Gone').item.json.x }}"),
    "does not parse": lambda w: node(w, "Ask the pipeline")["parameters"].update(url="={{ $json.( }}"),
    "does not end": lambda w: node(w, "Ask the pipeline")["parameters"].update(url="={{ $json.x "),
    "without a leading =": lambda w: node(w, "Ask the pipeline")["parameters"].update(url="{{ $json.x }}"),
    "looks like a secret": lambda w: node(w, "Settings")["parameters"].update(x="Bearer abcdefghijklmnop"),
    "$env": lambda w: node(w, "Ask the pipeline")["parameters"].update(url="={{ $env.HOME }}"),
    "an id and a name": lambda w: node(w, "Get Airflow token")["credentials"]["httpCustomAuth"].update(data={}),
    "basicAuth": lambda w: node(w, "GET /webhook/backfill")["parameters"].update(authentication="none"),
    "time-out": lambda w: node(w, "Look again")["parameters"]["options"].pop("timeout"),
    "neither active": lambda w: w.update(active=True),
    "no fixed id": lambda w: w.update(id="short"),
    "cross": lambda w: node(w, "Answer").update(position=[1980, 900]),
    "no sticky note": lambda w: w.update(nodes=[n for n in w["nodes"] if not n["type"].endswith(".stickyNote")]),
    "would keep": lambda w: w["settings"].update(saveDataErrorExecution="all"),
}


def test_a_failed_alert_has_to_be_kept():
    workflow = json.loads((PROJECT_DIR / "n8n/workflows/error_alert.json").read_text())
    workflow["settings"]["saveDataErrorExecution"] = "none"
    assert problems(workflow) == ["nobody would find an alert that could not be sent"]


@pytest.mark.parametrize("message", BREAKS)
def test_the_check_finds_what_is_wrong(message):
    workflow = copy.deepcopy(TRIGGER)
    BREAKS[message](workflow)
    assert any(message in problem for problem in problems(workflow)), problems(workflow)
