"""Kill a publish at every instruction that touches a file; print what a reader finds after each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, ".")

from scripts.warehouse.versions import Warehouse, reading, writing
from tests.support.killer import die_at, in_child

WAREHOUSE = Warehouse(Path(sys.argv[1]))
STATE = Path(sys.argv[1]).with_suffix(".json")


def publish(number: int, at: int = 0) -> int:
    def work() -> None:
        with WAREHOUSE.building(purpose="a test", timeout=100):
            path = WAREHOUSE.clone()
            with writing(path) as connection:
                connection.execute("create table if not exists numbers (number integer)")
                connection.execute("insert into numbers values (?)", [number])
            if at:
                die_at(at)
            WAREHOUSE.publish(keep=2)

    return in_child(work)


def look(number: int, before: list[int] | None) -> list[int]:
    def work() -> None:
        with reading(WAREHOUSE.path) as connection:
            found = [row[0] for row in connection.execute("select number from numbers order by all").fetchall()]
        STATE.write_text(json.dumps(found))
        if before is not None:
            print(json.dumps({"round": number, "before": before, "numbers": found}))

    if in_child(work) != 0:
        raise SystemExit(f"a reader failed after round {number}")
    found: list[int] = json.loads(STATE.read_text())
    return found


def main() -> None:
    publish(0)
    publish(1)
    before = look(1, None)
    number = 1
    while True:
        number += 1
        code = publish(number, at=number - 1)
        before = look(number, before)
        if code == 0:
            return


main()
