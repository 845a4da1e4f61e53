"""The errors a user can cause. Each is one line that names the file and the way out."""


class MelascopeError(Exception):
    """Something the user can mend. The command prints it as one line and exits with code 2."""


class ImageError(MelascopeError):
    """A file that cannot be turned into pixels.

    Attributes:
        name: the file, as the user named it.
        reason: why, without the name; what `excluded` and `reason` columns keep.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        return type(self), (self.name, self.reason)  # so that it comes whole out of another process


class DataError(MelascopeError):
    """A folder, an archive, a table or a data set that is not what it should be."""


class ModelError(MelascopeError):
    """A model file or its card that is missing, broken, or not what it claims to be."""


def one_line(error: Exception) -> str:
    """What another library's error says, on one line of 160 characters at most."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def printable(text: str) -> str:
    r"""Text from outside, safe to print: each control character becomes a question mark.

    >>> printable("lesion\x1b[2J.jpg")
    'lesion?[2J.jpg'
    """
    return "".join(c if c.isprintable() else "?" for c in text)
