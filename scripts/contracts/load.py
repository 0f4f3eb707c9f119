"""Load modes of a resource: the whole collection, the rows of a day, or the changes since the previous load."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scripts.contracts.contract_model import ContractModel
from scripts.contracts.templates import Format

_HOURS_A_DAY = 24


class SnapshotLoad(ContractModel):
    """Every load fetches the whole collection as it is."""

    mode: Literal["snapshot"] = "snapshot"
    of: Literal["day", "now"] = "day"
    """`now`: the source only knows its current state, so days before yesterday are refused."""


class Window(ContractModel):
    """The time span of one request, if it is not one day."""

    hours: Annotated[int, Field(ge=1, le=_HOURS_A_DAY)] | None = None
    """Each request covers this many hours of the day."""
    days: Annotated[int, Field(ge=2, le=366)] | None = None
    """Each request covers this many days and ends with the loaded day; Silver keeps the latest version of each row."""
    calendar: Literal["week", "month"] | None = None
    """Each request covers the week (from Monday) or the month that contains the loaded day."""
    halve_at: Annotated[int, Field(ge=1)] | None = None
    """The most rows that the source returns for one request. A window with so many rows is halved and loaded again."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        sizes = [name for name in ("hours", "days", "calendar") if getattr(self, name) is not None]
        if len(sizes) > 1 or not (sizes or self.halve_at):
            message = (
                f"give one of hours, days, calendar, and/or `halve_at` if the source caps rows; found {sizes or 'none'}"
            )
            raise ValueError(message)
        if self.hours is not None and _HOURS_A_DAY % self.hours:
            message = f"`hours: {self.hours}` does not divide a day"
            raise ValueError(message)
        return self


class IncrementalLoad(ContractModel):
    """A load asks for the rows of its day."""

    mode: Literal["incremental"]
    start_param: str | None = None
    """Query parameter for the start of the window; without it, use templates such as `{start}` or `{day}`."""
    end_param: str | None = None
    end: Literal["inclusive", "exclusive"] = "exclusive"
    """Whether the source includes the value of `end_param`. With `exclusive`, the value is the first moment after the
    window; with `inclusive`, it is the last moment of the window that `format` can express."""
    format: Format = "%Y-%m-%d"
    """Format of both values: `epoch`, `epoch_ms`, or a `strftime` format."""
    window: Window | None = None


class WatermarkLoad(ContractModel):
    """A load asks for the changes since the load of the latest earlier day; the first load asks for everything."""

    mode: Literal["watermark"]
    start_param: Annotated[str, Field(min_length=1)] | None = None
    """Query parameter of the moment, which the first load leaves out; without it, the template `{since}` says it,
    1970-01-01 in the first load."""
    format: Format = "%Y-%m-%dT%H:%M:%SZ"
    """Of `start_param`."""
    lookback_hours: Annotated[float, Field(ge=0, le=24 * 366)] = 1
    """Hours before the start of that load from which to ask, because clocks differ and rows appear late."""


Load = Annotated[SnapshotLoad | IncrementalLoad | WatermarkLoad, Field(discriminator="mode")]
