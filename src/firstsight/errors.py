"""The one error firstsight raises for bad input."""


class InputError(ValueError):
    """Something given to firstsight cannot be used.

    The message is one sentence: `<argument> must be <expected>; got <actual>[; <what to do>]`. The command
    line prints it and exits with 2.
    """
