"""The one error of this folder, and how it quotes what a file says."""


class CheckpointError(ValueError):
    """A file cannot be used as a checkpoint. The message names the file, what is wrong with it and what to do."""


def quote(value: object, limit: int = 80) -> str:
    """A value from a file, short and printable enough for a message."""
    if isinstance(value, str):
        value = value[: limit + 1]
    text = ascii(value) if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
