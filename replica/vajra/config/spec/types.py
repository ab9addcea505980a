"""Types that several sections use."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import PlainValidator

from vajra.config.errors import ConfigError

INT32_MIN: Final = -(2**31)
INT32_MAX: Final = 2**31 - 1
QUANTITY_PATTERN: Final = r"^[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+|m|k|[KMGTPE]i|[MGTPE])?$"


def _quantity(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not whole and not (isinstance(value, str) and re.fullmatch(QUANTITY_PATTERN, value)):
        raise ConfigError("", value, "a Kubernetes quantity, such as 4, 500m or 16Gi")
    return value


Quantity = Annotated[int | str, PlainValidator(_quantity)]
