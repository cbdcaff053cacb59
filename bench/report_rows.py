"""How values read, and the row of a promise: what must be, what is aimed at, what was measured."""

import statistics


def median(values):
    return statistics.median(values) if values else None


def ms(seconds):
    if seconds is None:
        return "–"
    value = seconds * 1e3
    return f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms" if value < 10_000 else f"{seconds:.1f} s"


def times(value):
    return "–" if value is None else f"{value:.1f}×" if value < 10 else f"{value:.0f}×"


def ratio(a, b):
    return a / b if a and b else None


class Row:
    """One promise. `value` is held against `must` and `aim`; the greater the better unless `small`."""

    def __init__(self, figure, shown, value, must=None, aim=None, small=False, unit=times):
        self.figure, self.shown, self.value, self.small, self.unit = figure, shown, value, small, unit
        self.must, self.aim = must, aim

    def holds(self, limit):
        return self.value <= limit if self.small else self.value >= limit

    def verdict(self):
        if self.value is None:
            return "not measured"
        if self.must is None:
            return ""
        if not self.holds(self.must):
            return "**miss**"
        if self.aim is None:
            return "must met"
        return "aim met" if self.holds(self.aim) else "must met, aim missed"

    def cells(self):
        limit = lambda value: "" if value is None else ("≤ " if self.small else "≥ ") + self.unit(value)
        value = "–" if self.value is None else self.unit(self.value)
        return [self.figure, *self.shown, value, limit(self.must), limit(self.aim), self.verdict()]
