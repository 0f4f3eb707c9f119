"""What health calls wrong: days that are missing, failed, not loaded in time or not published."""

import datetime as dt

import msgspec

from scripts.contracts.catalog import Catalog
from scripts.errors import ContractError
from scripts.monitoring.overdue import problems
from scripts.planning.due import UnderWay
from scripts.planning.published import Published
from tests.support.shop import entry, failed, find, shop


def told(source, *entries, now="2024-01-10T00:10", **options):
    return [problem.text for problem in found(source, *entries, now=now, **options)]


def found(source, *entries, now="2024-01-10T00:10", **options):
    return problems(Catalog({source.source: source}, {}), find(source, *entries, now=now, **options))


def test_all_is_well_where_nothing_is_due():
    source = shop()
    assert told(source, entry(source, "2024-01-08"), entry(source, "2024-01-09")) == []


def test_missing_days_are_told_as_ranges_with_the_command_that_loads_them():
    source = shop()
    days = [entry(source, day) for day in ("2024-01-02", "2024-01-06", "2024-01-08", "2024-01-09")]
    (problem,) = told(source, *days)

    assert problem.startswith("shop/orders: 2024-01-03 to 2024-01-05, 2024-01-07 missing, 4 days")
    assert "`pipeline backfill --source shop --start-date 2024-01-03 --end-date 2024-01-07`" in problem


def test_the_day_that_has_ended_is_overdue_after_a_while_and_not_before():
    source = shop()
    loaded = entry(source, "2024-01-08")

    assert told(source, loaded, now="2024-01-10T00:14") == []
    (problem,) = told(source, loaded, now="2024-01-10T00:16")
    assert "shop/orders: 2024-01-09 missing, and no run has corrected it" in problem


def test_a_load_that_failed_is_told_at_once_with_the_reason():
    source = shop()
    (problem,) = told(source, entry(source, "2024-01-08"), attempts=failed(source, "2024-01-09", final=True))

    assert problem == "shop/orders/2024-01-09: missing, waits for a person: what went wrong"


def test_what_a_process_is_doing_is_not_late():
    source = shop()
    late = find(source, entry(source, "2024-01-08"), now="2024-01-10T06:00")
    busy = late._replace(under_way=UnderWay(frozenset({"shop"}), build=False))

    assert len(problems(Catalog({"shop": source}, {}), late)) == 1
    assert problems(Catalog({"shop": source}, {}), busy) == []


def test_the_run_that_failed_tells_it_unless_it_was_a_reconciling_run():
    source = shop()

    def told_by(final, **changes):
        attempts = failed(source, "2024-01-09", final=final, at_time="2024-01-10T00:09")
        attempts = {at: msgspec.structs.replace(one, **changes) for at, one in attempts.items()}
        (problem,) = found(source, entry(source, "2024-01-08"), attempts=attempts)
        return problem.told

    assert told_by(final=True, triggered_by="airflow") == "by its run"
    assert told_by(final=True, triggered_by="reconcile") == "never"
    assert told_by(final=False, triggered_by="reconcile", count=1) == "later"
    assert told_by(final=False, triggered_by="reconcile", count=9) == "never"


def test_a_failed_load_of_the_present_day_is_no_late_day():
    source = shop()
    attempts = failed(source, "2024-01-10", final=False, at_time="2024-01-10T10:00")
    days = [entry(source, "2024-01-08"), entry(source, "2024-01-09")]

    (problem,) = told(source, *days, attempts=attempts, now="2024-01-10T10:00")
    assert "no run has corrected it" not in problem
    assert told(source, *days, attempts=attempts, now="2024-01-10T10:10") == []


def test_what_is_loaded_and_not_published_is_told_after_a_while_and_a_red_build_at_once():
    source = shop()
    loaded = [entry(source, "2024-01-08"), entry(source, "2024-01-09")]
    (attempt,) = failed(source, "2024-01-09", final=True, version="f").values()
    nothing = Published("000001", {loaded[0].partition: "a"})

    assert told(source, *loaded, published=nothing) == []
    (problem,) = told(source, *loaded, published=nothing, now="2024-01-10T00:40")
    assert problem.startswith("Gold is not up to date: 2024-01-09 loaded since 2024-01-10 00:01")
    (problem,) = told(source, *loaded, published=nothing._replace(attempt=attempt, fingerprint="f"))
    assert "the last build failed, and the next waits for a person: what went wrong" in problem


def test_what_a_clock_that_was_ahead_loaded_and_nobody_published_is_told():
    source = shop()
    loaded = [entry(source, "2024-01-08", started="2024-02-09T00:00"), entry(source, "2024-01-09")]

    found = told(source, *loaded, published=Published("000001", {loaded[1].partition: "a"}))

    assert any(text.startswith("Gold is not up to date: 2024-01-08 loaded since 2024-02-09") for text in found)


def test_quarantine_that_grows_is_told():
    source = shop()
    days = [entry(source, f"2024-01-0{day}", quarantined=3) for day in range(1, 9)]

    assert told(source, *days, entry(source, "2024-01-09", quarantined=8)) == []
    (problem,) = told(source, *days, entry(source, "2024-01-09", quarantined=40))
    assert problem.startswith("shop/orders: 40 rows of 2024-01-09 in quarantine, 3 a day before")


def test_a_broken_contract_is_told():
    (problem,) = told(shop(start_date=dt.date(2024, 1, 10)), broken={"bank": ContractError("missing key")})
    assert problem == "contract `bank` is broken, its source is not loaded: missing key"


def test_a_day_of_the_future_is_told_with_what_takes_it_away():
    source = shop()
    days = [entry(source, day) for day in ("2024-01-08", "2024-01-09")]

    (problem,) = told(source, *days, entry(source, "2030-01-01", started="2024-01-09T00:00"))

    assert problem.startswith("shop/orders: 2030-01-01 in the future")
    assert "`shop/orders/dt=2030-01-01` and `_ledger/shop/orders/2030-01-01.json`" in problem
