"""Custom checks: rules in Python on a pandas data frame of the rows. Only they import pandas and pandera."""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scripts.config import PROJECT_DIR
from scripts.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.contracts.rules import Rule


def file_of(rule: Rule) -> Path:
    """Return the Python file that a rule names."""
    return PROJECT_DIR / str(rule.check).rpartition(":")[0]


def load(rule: Rule) -> Any:  # noqa: ANN401 — a pandera schema
    """Return the check that a rule names, as a pandera schema.

    Raises:
        ContractError: There is no such file or function, or the file cannot be imported.
    """
    return _load(file_of(rule), str(rule.check).rpartition(":")[2], rule.name)


def broken_rows(rule: Rule, batch: pa.RecordBatch) -> np.ndarray:
    """Return the positions in a batch of the rows that break a rule.

    Raises:
        ContractError: The check fails, or does not return a value for each row.
    """
    import pandas as pd  # noqa: PLC0415
    import pandera.pandas as pandera  # noqa: PLC0415

    schema = load(rule)
    # the nullable types of pandas, so that integers stay integers
    frame = batch.to_pandas(
        types_mapper={
            pa.int64(): pd.Int64Dtype(),
            pa.float64(): pd.Float64Dtype(),
            pa.bool_(): pd.BooleanDtype(),
            pa.string(): pd.StringDtype(),
        }.get
    )
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        places = error.failure_cases["index"]
        if places.isna().any():
            case = error.failure_cases.iloc[0]
            raise _refused(rule, f"{case['check']}: {case['failure_case']}") from None
        return np.unique(places.to_numpy(dtype=np.int64))
    except Exception as error:  # noqa: BLE001 — the check is the user's own code
        raise _refused(rule, f"{type(error).__name__}: {error}") from None
    return np.empty(0, np.int64)


@functools.lru_cache(maxsize=64)
def _load(path: Path, name: str, rule: str) -> Any:  # noqa: ANN401 — a pandera schema
    import pandera.pandas as pandera  # noqa: PLC0415

    spec = importlib.util.spec_from_file_location(f"_checks_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ContractError(f"rule `{rule}`: there is no file {path}", expected="path/to/file.py:function")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found = getattr(module, name)
    except Exception as error:  # noqa: BLE001 — the file is the user's own code
        raise ContractError(
            f"rule `{rule}`: {type(error).__name__}: {error}", where=str(path), hint="correct the file"
        ) from None
    if isinstance(found, pandera.DataFrameSchema):
        return found
    if isinstance(found, type) and issubclass(found, pandera.DataFrameModel):
        return found.to_schema()
    check = found if isinstance(found, pandera.Check) else pandera.Check(found, name=rule)
    return pandera.DataFrameSchema(checks=check)


def _refused(rule: Rule, what: str) -> ContractError:
    return ContractError(
        f"rule `{rule.name}`: the check {rule.check} failed: {what}",
        expected="a series with true or false for each row of the data frame, or a pandera schema",
        hint="correct the function, then validate the day again",
    )
