"""The sample API: JSONPlaceholder's routes, paging and headers, data that moves on, and faults on request."""

import datetime as dt

import pytest
import requests

from scripts.sample_api import data

DAYS = [dt.date(2024, 1, day) for day in (1, 2, 3)]


def get(api, path, day="2024-01-01"):
    return requests.get(api.url + path, headers={"X-Logical-Date": str(day)}, timeout=10)


@pytest.mark.parametrize(("name", "count"), [("posts", 100), ("users", 10), ("comments", 500), ("todos", 200)])
def test_a_collection_has_jsonplaceholders_size_fields_and_headers(api, name, count):
    answer = get(api, f"/{name}?_page=2&_limit=3")

    assert answer.headers["X-Total-Count"] == str(count)
    assert [record["id"] for record in answer.json()] == [4, 5, 6]
    assert set(answer.links) == {"first", "prev", "next", "last"}
    assert len(get(api, f"/{name}").json()) == count
    assert get(api, f"/{name}/7").json() == get(api, f"/{name}").json()[6]


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/posts/99999", 404), ("/posts?_page=x", 400)])
def test_what_is_not_there_says_so(api, path, status):
    assert get(api, path).status_code == status


def test_a_day_is_the_same_whenever_it_is_asked_for(api):
    assert get(api, "/posts", DAYS[2]).content == get(api, "/posts", DAYS[2]).content
    assert get(api, "/simple/price", DAYS[2]).json() == data.prices(DAYS[2])


def test_data_moves_on_from_day_to_day():
    counts = [len(data.collection("posts", day)) for day in DAYS]
    first, last = (data.collection("users", day) for day in (DAYS[0], DAYS[2]))

    assert counts == [100, 111, 121]
    assert sum(before != after for before, after in zip(first, last, strict=True)) == 3


def test_some_rows_are_late_doubled_bad_or_have_a_new_field():
    posts = data.collection("posts", DAYS[1])
    ids = [post["id"] for post in posts]

    assert [post["id"] for post in posts if post.get("createdAt", "") < "2024-01-02" and post["id"] > 100] == [110]
    assert {number for number in ids if ids.count(number) > 1} == {1}
    assert sum(not isinstance(post["userId"], int) for post in posts) == 1
    assert sum(post["title"] == "" for post in posts) == 1
    assert all("tags" in post for post in posts if post["id"] > 100)
    assert not any("tags" in post for post in data.collection("posts", DAYS[0]))


def test_faults_are_added_listed_used_up_and_taken_away(api):
    faults = f"{api.url}/_faults"
    requests.post(faults, json={"kind": "status", "status": 429, "retry_after": 7, "path": "/users"}, timeout=10)

    assert get(api, "/posts").status_code == 200
    limited = get(api, "/users")
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert get(api, "/users").status_code == 200

    requests.post(faults, json=[{"kind": "truncated", "times": 9}], timeout=10)
    with pytest.raises(ValueError, match="Unterminated string"):
        get(api, "/users").json()
    assert requests.get(faults, timeout=10).json()[-1]["times"] == 8
    requests.delete(faults, timeout=10)
    assert get(api, "/users").status_code == 200


@pytest.mark.parametrize("body", [{"kid": "status"}, {"kind": "flood"}, {}], ids=["no_field", "no_kind", "empty"])
def test_a_fault_that_does_not_exist_is_refused(api, body):
    assert requests.post(f"{api.url}/_faults", json=body, timeout=10).status_code == 400
