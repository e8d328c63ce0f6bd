"""The two errors that the command line reports in one or two lines, and how values are shown."""

KEPT = "what is finished is kept, and the same command goes on from there"


class InputError(ValueError):
    """A mistake in a file, a parameter or a folder that the user can correct.

    The message is one line that says where the mistake is (file, row, column) and what to do.
    The command line prints it without a traceback and exits with status 2. A notebook, too, shows
    only the message.

    >>> toxlib.get_recipe("quik")
    Traceback (most recent call last):
    toxlib.errors.InputError: unknown recipe 'quik': did you mean quick?
    """

    def _render_traceback_(self) -> list[str]:
        """IPython calls this to render the error; we return the message without a traceback."""
        return [f"InputError: {self}"]


class NotebookError(RuntimeError):
    """A notebook cell failed. The message names the notebook, the cell and the exception."""


def show(value: object) -> str:
    """Shorten and escape a value from the data, which may be hostile, for a one-line message."""
    text = str(value)
    return ascii(text if len(text) <= 40 else text[:39] + "…")


def show_all(values: list) -> str:
    """Show the first ten values, as `show` does, separated by commas."""
    return ", ".join(map(show, values[:10])) + (", …" if len(values) > 10 else "")
