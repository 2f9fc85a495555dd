"""The one exception a user is meant to read."""


class UserError(Exception):
    """Something the user gave is wrong; the message says what, and what to do.

    A message names the file, key or field, what was found, what was expected and the remedy. Entry points print it
    without a traceback and exit with code 2 (`adatad_jax.cli`).
    """


def one_line(error: Exception, limit: int = 200) -> str:
    """What another library says of a failure, on one line and cut, to stand inside a message of ours."""
    return " ".join(str(error).split())[:limit]
