"""What a load asks for: the whole collection, the rows of a day, or what has changed since the load before."""

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
    """`now`: the source only knows its present state, so that a day before yesterday is refused."""


class Window(ContractModel):
    """How much time one request asks for, where that is not the day."""

    hours: Annotated[int, Field(ge=1, le=_HOURS_A_DAY)] | None = None
    """The day is asked for in parts of so many hours."""
    days: Annotated[int, Field(ge=2, le=366)] | None = None
    """The days that end with the day; Silver keeps the latest version of each row."""
    calendar: Literal["week", "month"] | None = None
    """The week (from Monday) or the month that holds the day."""
    halve_at: Annotated[int, Field(ge=1)] | None = None
    """The most rows that the source gives for one request: a window that reaches it is halved."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        sizes = [name for name in ("hours", "days", "calendar") if getattr(self, name) is not None]
        if len(sizes) > 1 or not (sizes or self.halve_at):
            message = (
                f"give one of hours, days, calendar, and `halve_at` where the source caps; found {sizes or 'none'}"
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
    """Query parameter of the first moment; without it, templates such as `{start}` or `{day}` say the day."""
    end_param: str | None = None
    end: Literal["inclusive", "exclusive"] = "exclusive"
    """Whether the source includes the value of `end_param`: with `exclusive` it is the first moment after the window,
    with `inclusive` the last one that `format` can say."""
    format: Format = "%Y-%m-%d"
    """`epoch`, `epoch_ms`, or a `strftime` format, of both values."""
    window: Window | None = None


class WatermarkLoad(ContractModel):
    """A load asks for what has changed since the load of the latest day before; the first load asks for everything."""

    mode: Literal["watermark"]
    start_param: Annotated[str, Field(min_length=1)]
    format: Format = "%Y-%m-%dT%H:%M:%SZ"
    lookback_hours: Annotated[float, Field(ge=0, le=24 * 366)] = 1
    """How long before the start of that load to begin: for clocks that differ and rows that appear late."""


Load = Annotated[SnapshotLoad | IncrementalLoad | WatermarkLoad, Field(discriminator="mode")]
