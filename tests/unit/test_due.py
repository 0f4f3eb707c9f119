"""What is due: one function of contracts, ledger, attempts, published version and clock."""

import datetime as dt

import pytest

from scripts.bronze.ledger import Partition
from scripts.errors import ContractError
from scripts.planning.calendar import in_words, is_future
from scripts.planning.published import Published
from tests.support.shop import entry, failed, find, shop

NOW = "2024-01-10T00:30"


def work(found):
    return {str(item.partition.day): (item.state, item.step, item.waits_for) for item in found.work}


def test_nothing_is_due_where_every_day_is_loaded_and_published():
    source = shop()
    found = find(source, entry(source, "2024-01-08"), entry(source, "2024-01-09"))

    assert found.work == []
    assert not found.is_ready
    assert found.build.reasons == []


def test_the_day_that_has_ended_is_due_also_where_nothing_was_ever_loaded():
    assert work(find(shop())) == {"2024-01-09": ("missing", "load", "")}


def test_days_off_are_loaded_where_the_contract_says_so_and_named_where_not():
    source, caught_up = shop(), shop(catchup=True)

    found = find(source, entry(source, "2024-01-06"))
    assert list(work(found)) == ["2024-01-07", "2024-01-08", "2024-01-09"]
    assert [str(item.partition.day) for item in found.ready] == ["2024-01-09"]
    assert all("pipeline backfill --source shop --start-date" in item.waits_for for item in found.problems)
    assert len(find(caught_up, entry(caught_up, "2024-01-06")).ready) == 3


def test_expected_days_begin_with_the_start_date_of_the_contract():
    source = shop(start_date="2024-01-07", catchup=True)

    assert list(work(find(source))) == ["2024-01-07", "2024-01-08", "2024-01-09"]
    assert list(work(find(source, entry(source, "2024-01-01")))) == ["2024-01-07", "2024-01-08", "2024-01-09"]


def test_a_source_on_request_expects_no_day():
    source = shop(daily=False)

    assert work(find(source)) == {}
    assert work(find(source, entry(source, "2024-01-01"))) == {}


@pytest.mark.parametrize(
    ("keys", "started", "now", "expected"),
    [
        ({}, "2024-01-09T12:00", "2024-01-09T13:00", "the end of its day, 2024-01-10 00:00"),
        ({}, "2024-01-09T23:59", "2024-01-10T00:00", ""),
        ({"settle_hours": 3}, "2024-01-10T02:59", "2024-01-10T02:59", "2024-01-10 03:00"),
        ({"settle_hours": 3}, "2024-01-10T02:59", "2024-01-10T03:00", ""),
        ({"time_zone": "America/New_York"}, "2024-01-10T04:59", "2024-01-10T04:59", "2024-01-10 05:00"),
        ({"time_zone": "America/New_York"}, "2024-01-10T04:59", "2024-01-10T05:00", ""),
        ({"time_zone": "Asia/Tokyo"}, "2024-01-09T14:59", "2024-01-09T15:00", ""),
    ],
)
def test_a_day_that_was_loaded_before_it_was_over_is_provisional_and_due_again(keys, started, now, expected):
    source = shop(**keys)
    found = find(source, entry(source, "2024-01-08"), entry(source, "2024-01-09", started=started), now=now)

    state, step, waits_for = work(found)["2024-01-09"]
    assert (state, step) == ("provisional", "load")
    assert expected in waits_for
    assert bool(expected) == bool(waits_for)
    assert found.problems == [], "that a day is not over is no problem"


def test_a_day_that_was_loaded_with_a_clock_that_was_ahead_is_loaded_again():
    source = shop()

    found = find(source, entry(source, "2024-01-08"), entry(source, "2024-01-09", started="2024-02-09T00:00"))
    assert work(found) == {"2024-01-09": ("provisional", "load", "")}
    # before the end of its day, too: later nobody could tell it from a good load
    found = find(source, entry(source, "2024-01-10", started="2024-01-11T00:30"), now="2024-01-10T00:30")
    assert work(found) == {"2024-01-10": ("provisional", "load", "")}
    # clocks of two machines differ by a little
    assert work(find(source, entry(source, "2024-01-09", started="2024-01-10T00:31"))) == {}


def test_a_day_that_was_loaded_again_and_breaks_a_rule_is_taken_out_of_the_tables():
    source = shop()
    good, bad = entry(source, "2024-01-08"), entry(source, "2024-01-09", status="failed", content="b")
    held = {item.partition: "a" for item in (good, bad)}

    found = find(source, good, bad, attempts=failed(source, "2024-01-09", final=True), published=Published("1", held))

    assert found.build.partitions == [bad.partition]
    assert found.build.is_ready


def test_a_failed_load_that_a_clock_dated_in_the_future_is_tried_again_now():
    source = shop()
    found = find(source, attempts=failed(source, "2024-01-09", final=False, at_time="2024-02-09T00:00"))

    assert work(found)["2024-01-09"][2] == ""


def test_a_day_that_was_loaded_after_its_end_and_settling_is_loaded():
    source = shop(settle_hours=3, time_zone="Europe/Berlin")

    assert work(find(source, entry(source, "2024-01-09", started="2024-01-10T02:00"), now="2024-01-10T05:00")) == {}


def test_what_is_loaded_and_not_validated_is_validated_and_a_provisional_one_loaded():
    source = shop()
    found = find(
        source,
        entry(source, "2024-01-08", status="ingested"),
        entry(source, "2024-01-09", status="ingested", started="2024-01-09T12:00"),
    )

    assert work(found) == {
        "2024-01-08": ("not validated", "validate", ""),
        "2024-01-09": ("not validated", "load", ""),
    }


def test_an_error_that_may_pass_is_tried_again_later_and_later_also_when_the_day_is_not_the_last():
    source = shop()
    first = find(source, entry(source, "2024-01-07"), attempts=failed(source, "2024-01-08", final=False))
    later = find(source, attempts=failed(source, "2024-01-09", final=False, at_time="2024-01-10T00:27"))
    often = find(source, attempts=failed(source, "2024-01-09", final=False, count=5, at_time="2024-01-10T00:00"))

    assert "the next try at 00:32" in work(first)["2024-01-08"][2]
    assert work(later)["2024-01-09"][2] == ""
    assert "the next try at 00:32 (UTC), 5 failed: what went wrong" in work(often)["2024-01-09"][2]


def test_a_final_error_waits_for_a_person_until_the_contract_changes():
    source = shop()
    waiting = find(source, attempts=failed(source, "2024-01-09", final=True))
    changed = find(source, attempts=failed(source, "2024-01-09", final=True, version="another"))

    assert work(waiting)["2024-01-09"][2] == "a person: what went wrong"
    assert not waiting.is_ready
    assert work(changed)["2024-01-09"][2] == ""


def test_a_day_of_another_contract_is_named_and_not_loaded_by_itself():
    source = shop()
    found = find(source, entry(source, "2024-01-09", version="former"))

    assert work(found)["2024-01-09"][0] == "outdated"
    assert not found.ready
    assert found.problems == []


def test_a_build_is_due_for_what_is_validated_and_not_published_and_for_what_was_removed():
    source = shop()
    loaded = entry(source, "2024-01-09", content="new")
    gone = Partition("shop", "orders", dt.date(2024, 1, 1))
    found = find(source, loaded, published=Published("000001", {loaded.partition: "old", gone: "x"}))

    assert found.build.partitions == [gone, loaded.partition]
    assert found.build.is_ready
    assert find(source, loaded).build.reasons == []
    assert find(source, loaded, published=Published(None, {})).build.is_ready


def test_a_build_that_failed_for_good_waits_until_data_or_project_change():
    source = shop()
    loaded = entry(source, "2024-01-09")
    (attempt,) = failed(source, "2024-01-09", final=True, version="f").values()
    same = find(source, loaded, published=Published(None, {}, attempt=attempt, fingerprint="f"))
    other = find(source, loaded, published=Published(None, {}, attempt=attempt, fingerprint="g"))

    assert "what went wrong" in same.build.waits_for
    assert not same.build.is_ready
    assert other.build.is_ready


def test_a_contract_that_is_broken_is_named_and_stops_no_other():
    found = find(shop(), broken={"bank": ContractError("missing key", where="bank.yml")})

    assert found.broken == {"bank": "bank.yml: missing key"}
    assert len(found.ready) == 1


def test_a_source_that_only_knows_its_present_state_is_asked_for_no_day_of_the_past():
    orders = shop().model_dump(mode="json", exclude_defaults=True)["resources"]["orders"]
    source = shop(catchup=True, resources={"orders": orders | {"load": {"mode": "snapshot", "of": "now"}}})
    early = entry(source, "2024-01-07", started="2024-01-07T12:00")

    assert work(find(source, entry(source, "2024-01-05"), early)) == {"2024-01-09": ("missing", "load", "")}


def test_days_are_told_as_ranges():
    days = [dt.date(2024, 1, n) for n in (1, 2, 3, 7, 9, 10)]
    assert in_words(days) == "2024-01-01 to 2024-01-03, 2024-01-07, 2024-01-09 to 2024-01-10"


def test_a_day_of_the_future_does_not_hide_the_days_that_are_due():
    source = shop()
    future = entry(source, "2030-01-01", started="2024-01-08T00:00")

    assert [str(item.partition.day) for item in find(source, future).ready] == ["2024-01-09"]


@pytest.mark.parametrize(
    ("zone", "day", "now", "expected"),
    [
        ("UTC", "2024-01-10", "2024-01-10T00:30", False),
        ("UTC", "2024-01-11", "2024-01-10T23:59", True),
        ("Asia/Tokyo", "2024-01-11", "2024-01-10T15:00", False),
        ("Asia/Tokyo", "2024-01-11", "2024-01-10T14:59", True),
        ("America/Los_Angeles", "2024-01-10", "2024-01-10T00:30", False),
    ],
)
def test_a_day_is_of_the_future_until_it_begins_here_or_there(zone, day, now, expected):
    moment = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)

    assert is_future(shop(time_zone=zone), dt.date.fromisoformat(day), moment) is expected
