"""What the supervisor has said, read as input: any member may be missing, or be of another kind. Pure."""

import contextlib
from collections.abc import Mapping
from datetime import datetime

Content = Mapping[str, object]


def status_of(overview: Content | None) -> Content:
    """Return the status in an overview (`supervisor.overview`); nothing if there is none."""
    status = (overview or {}).get("status")
    return status if isinstance(status, dict) else {}


def workers_of(overview: Content | None) -> list[dict[str, object]]:
    """Return the workers in the status of an overview."""
    return objects(status_of(overview).get("workers"))


def objects(value: object) -> list[dict[str, object]]:
    """Return those elements of a list that are objects; none if it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def whole(value: object) -> int:
    """Return a whole number, or 0 if it is none."""
    return value if isinstance(value, int) else 0


def number(value: object) -> float:
    """Return a number, or 0 if it is none."""
    return float(value) if isinstance(value, int | float) else 0.0


def numbers(value: object) -> list[float]:
    """Return those elements of a list that are numbers; none if it is no list."""
    return [float(one) for one in value if isinstance(one, int | float)] if isinstance(value, list) else []


def seconds(value: object) -> float | None:
    """Return the seconds since the epoch of a time as in RFC 3339; None for anything else."""
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    return None
