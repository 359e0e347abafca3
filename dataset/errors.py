"""The errors of this folder."""


class DatasetError(ValueError):
    """A set cannot be read or written as asked. The message names the place, what is wrong and what to do."""


class LockedError(DatasetError):
    """Another process, which the message names, is writing the set."""
