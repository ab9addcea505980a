"""The log: lines for people, or JSON for what collects them."""

from __future__ import annotations

import datetime
import json
import logging
import os


def configure_logs(style: str) -> None:
    """style: text or json. VAJRA_LOG_LEVEL sets the level, INFO by default."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Json() if style == "json" else logging.Formatter("%(asctime)s %(levelname)s operator: %(message)s")
    )
    logging.basicConfig(level=os.environ.get("VAJRA_LOG_LEVEL", "INFO").upper(), handlers=[handler])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One object a line."""
        line = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
