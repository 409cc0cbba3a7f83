"""The one exception that users meet."""


class InstaFaceError(Exception):
    """An input cannot be used as asked.

    The message is one line: what is wrong, with the value, and what to do. The command line prints it on
    standard error and exits with status 1.
    """
