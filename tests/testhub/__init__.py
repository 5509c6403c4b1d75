"""A Hugging Face hub on loopback, for tests: real git, LFS, a CDN, and faults."""

from tests.testhub.content import Virtual
from tests.testhub.faults import Fault
from tests.testhub.hub import TestHub
from tests.testhub.lfs import Lfs
from tests.testhub.log import Seen
from tests.testhub.world import HubRepo

__all__ = ["Fault", "HubRepo", "Lfs", "Seen", "TestHub", "Virtual"]
