"""Bronze files: the same rows give the same bytes, and groups of rows are limited by rows and by bytes."""

import hypothesis
import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.bronze import parquet
from scripts.bronze.parquet import PartitionWriter, read_batches

SCHEMA = pa.schema(
    [("n", pa.int64()), ("ok", pa.bool_()), ("text", pa.string()), ("_extra", pa.string()), ("_row", pa.int64())]
)


def table(lengths):
    rows = [
        {"n": n, "ok": None, "text": None if size is None else "x" * size, "_extra": None, "_row": n}
        for n, size in enumerate(lengths)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def write(path, rows, cuts):
    seen = []
    with PartitionWriter(path, SCHEMA, seen.append) as writer:
        start = 0
        for cut in [*sorted(cuts), rows.num_rows]:
            for batch in rows.slice(start, cut - start).to_batches():
                writer.append(batch)
            start = max(start, cut)
    assert (writer.rows, pa.Table.from_batches(seen, SCHEMA)) == (rows.num_rows, rows)
    return path.read_bytes()


@hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(st.lists(st.none() | st.integers(0, 400), max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_the_same_rows_give_the_same_bytes_however_they_are_cut(tmp_path, mocker, lengths, cuts):
    mocker.patch.object(parquet, "_GROUP_BYTES", 500)
    mocker.patch.object(parquet, "_ROW_GROUP", 7)
    rows = table(lengths)

    whole = write(tmp_path / "a", rows, [])

    assert write(tmp_path / "b", rows, [cut for cut in cuts if cut <= len(lengths)]) == whole
    assert pa.Table.from_batches(read_batches(tmp_path / "a"), SCHEMA) == rows


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [([1] * 20, [7, 7, 6]), ([1000] * 3, [1, 1, 1]), ([300] * 4, [2, 2]), ([None] * 3 + [600, 1], [4, 1]), ([], [])],
)
def test_a_group_ends_by_rows_or_by_bytes(lengths, groups, tmp_path, mocker):
    mocker.patch.object(parquet, "_GROUP_BYTES", 500)
    mocker.patch.object(parquet, "_ROW_GROUP", 7)

    write(tmp_path / "a", table(lengths), [])

    about = pq.read_metadata(tmp_path / "a")
    assert [about.row_group(number).num_rows for number in range(about.num_row_groups)] == groups


def test_large_rows_of_an_old_file_are_read_in_small_batches(tmp_path, mocker):
    pq.write_table(table([3000] * 50), tmp_path / "a", use_dictionary=False)
    mocker.patch.object(parquet, "_GROUP_BYTES", 10_000)

    assert max(batch.num_rows for batch in read_batches(tmp_path / "a")) <= 4
