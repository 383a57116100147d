"""Errors that a user can act on. The command line prints them as one line and exits with 2."""


class LongvidError(Exception):
    """Something that the user can fix; the message says what and how."""


class DataError(LongvidError):
    """A data file is missing, damaged or not what the benchmark defines."""


class NoFilesError(DataError):
    """A benchmark's files are not on this machine."""


class ModelError(LongvidError):
    """A model is unknown, mis-configured or lacks what a task needs."""


class RunError(ModelError):
    """A fault that affects every item: the run stops at the first, and earlier answers are kept."""


class ReplyTypeError(RunError):
    """A model's method returned a wrong type: its code is at fault, not one item."""


class RecordError(LongvidError):
    """A run directory is unreadable, foreign or belongs to another run."""
