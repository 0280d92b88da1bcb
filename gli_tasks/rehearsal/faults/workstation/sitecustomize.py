"""Read by Python as it starts, where this folder is on PYTHONPATH: a wall clock that is REHEARSAL_CLOCK_S off.

The clocks that only go on (``time.monotonic``) are left alone, as they are on a machine whose date is wrong.
"""

from __future__ import annotations

import datetime
import os
import time
from typing import Any

_SHIFT_S = float(os.environ.get("REHEARSAL_CLOCK_S") or 0)
_real = datetime.datetime
_now, _now_ns, _utc, _local = time.time, time.time_ns, time.gmtime, time.localtime


class _Kind(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _real)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _real)


class _Shifted(_real, metaclass=_Kind):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real.now(tz) + datetime.timedelta(seconds=_SHIFT_S)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


def _shift() -> None:
    time.time = lambda: _now() + _SHIFT_S
    time.time_ns = lambda: _now_ns() + int(_SHIFT_S * 1e9)
    time.gmtime = lambda seconds=None, /: _utc(time.time() if seconds is None else seconds)
    time.localtime = lambda seconds=None, /: _local(time.time() if seconds is None else seconds)
    datetime.datetime = _Shifted  # type: ignore[misc]


if _SHIFT_S:
    _shift()
