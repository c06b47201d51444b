"""The one exception for what a user can put right."""


class StudyError(Exception):
    """Something a user can mend; the message says what is wrong, where, and what to do.

    Commands print it as one line and exit with status 1; a notebook shows that line in place of
    a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints for this exception."""
        return [f"{type(self).__name__}: {self}"]
