"""What the command line reports in a line or two: the user's mistakes, and failed notebooks."""


class InputError(ValueError):
    """A mistake in a file, a parameter or a folder that the user can put right.

    The message is one line that says where (file, row, column) and what to do. The command line
    prints it without a traceback and exits with status 2; so does a notebook.
    """

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: show the message alone."""
        return [f"InputError: {self}"]


class NotebookError(RuntimeError):
    """A cell has failed; the message names notebook, cell and exception."""
