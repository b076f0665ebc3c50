"""Commands are carried out as the service's own tests do it."""

from tests.sweeper.conftest import here

__all__ = ["here"]
