"""What all sections of the configuration have in common, and the units they read."""

from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from hubsync.model.errors import UsageError
from hubsync.model.units import parse_duration, parse_rate, parse_size


def _lenient(parse):  # type: ignore[no-untyped-def]
    """Pydantic reports ValueError; our parsers raise UsageError."""

    def read(value: Any) -> object:
        try:
            return parse(value)
        except UsageError as error:
            said = f"{error}. {error.hint}" if error.hint else str(error)
            raise ValueError(said) from error

    return read


Size = Annotated[int, BeforeValidator(_lenient(parse_size)), Field(ge=0)]
Rate = Annotated[int, BeforeValidator(_lenient(parse_rate)), Field(gt=0)]
# Our own defaults are in seconds; what is configured has to say its unit.
Duration = Annotated[
    float,
    BeforeValidator(_lenient(parse_duration)),
    Field(gt=0, validate_default=False),
]
MaybeDuration = Annotated[
    float | None,
    BeforeValidator(lambda one: None if one is None else _lenient(parse_duration)(one)),
]
Delay = Annotated[
    float,
    BeforeValidator(_lenient(parse_duration)),
    Field(ge=0, validate_default=False),
]


class Section(BaseModel):
    """Unknown keys are refused: a misspelt key must not pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Python counts with it: ``port = true`` would be port 1."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and bool not in (kind, *get_args(kind)):
            raise ValueError("true and false are no value for this key")
        return value
