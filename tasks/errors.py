"""Errors a user can act on. The command line prints them as one line and exits with 2."""


class LongvidError(Exception):
    """Something the user can put right; the message says what and how."""


class DataError(LongvidError):
    """A data file is missing, damaged or not what the benchmark defines."""


class ModelError(LongvidError):
    """A model is unknown, mis-configured or lacks what a task needs."""


class RunError(ModelError):
    """What is wrong with every item alike: the run stops at the first, and what was answered before is kept."""


class ReplyTypeError(RunError):
    """A model's method returned something of another type than its callers take: its code is wrong, not one item."""


class RecordError(LongvidError):
    """A run directory is unreadable, foreign or belongs to another run."""
