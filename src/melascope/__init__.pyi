"""What type checkers and editors know of `import melascope as ms`; at run time it is loaded when first used."""

from melascope.api import *  # noqa: F403  # its __all__ says what

__version__: str
