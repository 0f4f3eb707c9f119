"""Keys of a contract for the connection to a source: authentication and rate limit."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, Field, field_validator, model_validator

from scripts.contracts.contract_model import ContractModel

EnvName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
FUNCTION = r"^[\w./-]+\.py:[A-Za-z_]\w*$"
"""Pattern of a reference to a function: a file of the repository and the name of the function."""


class NoAuth(ContractModel):
    """The source needs no authentication."""

    type: Literal["none"] = "none"


class BearerAuth(ContractModel):
    """`Authorization: Bearer …`."""

    type: Literal["bearer"]
    token_env: EnvName
    """Environment variable that holds the token."""


class BasicAuth(ContractModel):
    """HTTP basic authentication."""

    type: Literal["basic"]
    username_env: EnvName
    password_env: EnvName


class ApiKeyAuth(ContractModel):
    """A key in a header or in a query parameter."""

    type: Literal["api_key"]
    value_env: EnvName
    """Environment variable that holds the key."""
    header: str | None = None
    query: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.query is None):
            message = "give `header` or `query`, and not both"
            raise ValueError(message)
        return self


class HeadersAuth(ContractModel):
    """Any headers whose values are secrets."""

    type: Literal["headers"]
    headers: Annotated[dict[str, EnvName], Field(min_length=1)]
    """Names of headers, each with the environment variable that holds its value."""


class OAuth2Auth(ContractModel):
    """A token from `token_url`, which is fetched again when it expires or is refused."""

    type: Literal["oauth2"]
    grant: Literal["client_credentials", "refresh_token"] = "client_credentials"
    token_url: AnyHttpUrl
    client_id_env: EnvName
    client_secret_env: EnvName | None = None
    refresh_token_env: EnvName | None = None
    scope: str | None = None
    extra: dict[str, str] = Field(default_factory=dict)
    """Further fields of the token request, such as `audience` or `resource`; no secrets."""
    send_client_in: Literal["header", "body"] = "header"

    @field_validator("token_url")
    @classmethod
    def _encrypted(cls, value: AnyHttpUrl) -> AnyHttpUrl:
        if value.scheme != "https" and value.host not in {"127.0.0.1", "localhost", "[::1]"}:
            message = "sends the client's secret without encryption: give an https address"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _grant(self) -> Self:
        if (self.grant == "refresh_token") != (self.refresh_token_env is not None):
            message = "`refresh_token_env` goes with `grant: refresh_token`"
            raise ValueError(message)
        if self.grant == "client_credentials" and self.client_secret_env is None:
            message = "`grant: client_credentials` needs `client_secret_env`"
            raise ValueError(message)
        return self


class HookAuth(ContractModel):
    """A custom function that signs each request, for example with HMAC."""

    type: Literal["hook"]
    function: Annotated[str, Field(pattern=FUNCTION)]
    """File and function: `scripts/sources/shop.py:sign`; it gets the prepared request and the secrets by name."""
    secrets: tuple[EnvName, ...] = ()


Auth = Annotated[
    NoAuth | BearerAuth | BasicAuth | ApiKeyAuth | HeadersAuth | OAuth2Auth | HookAuth, Field(discriminator="type")
]


class RateLimit(ContractModel):
    """The highest rate of requests that a source accepts."""

    requests_per_second: Annotated[float, Field(gt=0, le=10_000)]
