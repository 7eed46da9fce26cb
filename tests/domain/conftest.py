import pytest

from authsvc.services import Services
from tests.domain.world import World


@pytest.fixture
def world(services: Services) -> World:
    return World(services)
