"""What the tests share: waiting, ports, real servers, small media."""

from tests.support.ports import free_port
from tests.support.waiting import eventually, eventually_sync

__all__ = ["eventually", "eventually_sync", "free_port"]
