"""What SQL reaches in a database that is confined."""

import duckdb
import pytest

from scripts.warehouse.file_access import confine


@pytest.fixture
def database(tmp_path):
    """A confined database that may reach one folder, and spill to another."""
    inside = tmp_path / "it's inside"
    inside.mkdir()
    (inside / "rows.csv").write_text("id\n1\n")
    (inside / "link.csv").symlink_to(tmp_path / "rows.csv")
    (tmp_path / "rows.csv").write_text("id\n2\n")
    config = {"memory_limit": "30MB", "threads": 1, "temp_directory": str(tmp_path / "spill")}
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), config=config) as connection:
        confine(connection, [str(inside)])
        yield connection.cursor()


def test_files_of_the_folders_are_read_and_written(database, tmp_path):
    folder = str(tmp_path / "it's inside").replace("'", "''")
    assert database.execute(f"select id from '{folder}/rows.csv'").fetchall() == [(1,)]
    database.execute(f"copy (select 3 as id) to '{folder}/out.parquet'")
    assert database.execute(f"select id from '{folder}/out.parquet'").fetchall() == [(3,)]


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_text('/etc/passwd')",
        "select * from glob('/etc/*')",
        "select * from '{folder}/rows.csv'",
        "select * from '{folder}/it''s inside/../rows.csv'",
        "select * from '{folder}/it''s inside/link.csv'",
        "select * from 'https://example.com/rows.csv'",
        "copy (select 1 as id) to '{folder}/out.csv'",
        "attach '{folder}/other.duckdb'",
        "install httpfs",
        "load httpfs",
        "select * from st_read('rows.shp')",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "set lock_configuration = false",
        "reset lock_configuration",
        "set temp_directory = '/etc'",
        "set profile_output = '{folder}/profile'",
    ],
)
def test_anything_else_is_refused(database, tmp_path, statement):
    with pytest.raises(duckdb.Error, match=r"disabled|locked|extension"):
        database.execute(statement.format(folder=tmp_path))


def test_a_query_that_needs_more_memory_spills(database, tmp_path):
    database.execute("set threads = 1")
    database.execute("create table sorted as select md5(range::varchar) as code from range(1000000) order by code")
    assert list((tmp_path / "spill").iterdir())
