"""Working hours on the calendar: how much work lies between two times, and when so much work will be done.

A time is a number of hours since the midnight that begins `origin`, in the plan's time zone, as arrays or single numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from .plan import MACHINE, WEEKDAYS, Plan, Working, days_of

if TYPE_CHECKING:
    import numpy as np

    Numbers = float | np.ndarray
    Rows = int | np.ndarray

AROUND_THE_CLOCK = Working(days=list(WEEKDAYS), start="00:00", hours=24)


@dataclass(frozen=True)
class WorkingTime:
    """The working days of several who work, one row each."""

    origin: date
    begins: np.ndarray
    """Hours after midnight, (workers,)."""
    length: np.ndarray
    """Hours that a working day lasts, (workers,)."""
    rate: np.ndarray
    """Work done in an hour of it: the share that they give, (workers,)."""
    works: np.ndarray
    """Whether a day is a working day, (workers, days)."""
    before: np.ndarray
    """Work of all days before a day, (workers, days + 1)."""
    next_day: np.ndarray
    """The first working day from a day on, (workers, days + 1)."""

    def worked(self, worker: Rows, at: Numbers) -> np.ndarray:
        """The work of a worker from the origin to a time."""
        import numpy as np

        day = self._day(at)
        into = np.clip(np.asarray(at) - 24.0 * day - self.begins[worker], 0.0, self.length[worker])
        worked: np.ndarray = self.before[worker, day] + into * self.rate[worker] * self.works[worker, day]
        return worked

    def next_moment(self, worker: Rows, at: Numbers) -> np.ndarray:
        """The first time from `at` on at which a worker works."""
        import numpy as np

        day = self._day(at)
        opens = 24.0 * day + self.begins[worker]
        today = self.works[worker, day] & (np.asarray(at) < opens + self.length[worker])
        later = 24.0 * self.next_day[worker, day + 1] + self.begins[worker]
        return np.maximum(at, np.where(today, opens, later))

    def done(self, worker: int, work: np.ndarray) -> np.ndarray:
        """The earliest time by which one worker has done so much work since the origin."""
        import numpy as np

        day = np.searchsorted(self.before[worker, 1:], work, side="left").clip(max=self.works.shape[1] - 1)
        done: np.ndarray = 24.0 * day + self.begins[worker] + (work - self.before[worker, day]) / self.rate[worker]
        return done

    def hours(self, moment: datetime) -> float:
        """A time of day as hours since the origin."""
        return (moment - datetime.combine(self.origin, time())) / timedelta(hours=1)

    def moment(self, hours: float) -> datetime:
        """The inverse of `hours`, to the minute."""
        return datetime.combine(self.origin, time()) + timedelta(minutes=round(60 * hours))

    def _day(self, at: Numbers) -> np.ndarray:
        import numpy as np

        return np.floor_divide(np.asarray(at), 24.0).astype(np.int64).clip(0, self.works.shape[1] - 1)


def working_time(plan: Plan, names: Sequence[str], origin: date, days: int) -> WorkingTime:
    """The working days of these people (the machine works around the clock), for so many days from `origin` on."""
    import numpy as np

    people = {person.name: person for person in plan.people}
    rows, working, shares = [], [], []
    weekday = (origin.weekday() + np.arange(days)) % 7
    for name in names:
        hours = AROUND_THE_CLOCK if name == MACHINE else plan.working
        works = np.isin(weekday, [WEEKDAYS.index(day) for day in hours.days])
        off = set() if name == MACHINE else days_of([*plan.working.off, *people[name].off])
        inside = [number for day in off if 0 <= (number := (day - origin).days) < days]
        works[inside] = False
        works[-1] = True  # what does not fit before ends there, and an index always finds a day
        rows.append(works)
        working.append(hours)
        shares.append(1.0 if name == MACHINE else people[name].share)
    works = np.array(rows)
    begins, length, rate = (
        np.array(values, dtype=np.float64) for values in ([w.begins for w in working], [w.hours for w in working], shares)
    )
    before = np.zeros((len(names), days + 1))
    before[:, 1:] = np.cumsum(works * (length * rate)[:, None], axis=1)
    numbered = np.where(works, np.arange(days), days - 1)
    next_day = np.minimum.accumulate(numbered[:, ::-1], axis=1)[:, ::-1]
    next_day = np.concatenate([next_day, np.full((len(names), 1), days - 1)], axis=1)
    return WorkingTime(origin, begins, length, rate, works, before, next_day)
