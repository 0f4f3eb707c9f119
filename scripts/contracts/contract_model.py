"""Base class of all parts of a contract: it refuses unknown keys and names the valid ones."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


class ContractModel(BaseModel):
    """A mapping in the YAML file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:  # noqa: ANN401 — whatever the YAML holds
        unknown = [key for key in data if key not in cls.model_fields] if isinstance(data, dict) else []
        if unknown:
            message = f"unknown key {', '.join(f'`{key}`' for key in unknown)}; valid are {', '.join(cls.model_fields)}"
            raise ValueError(message)
        return data
