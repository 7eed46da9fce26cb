"""Redis through each of the two doors."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authsvc.core.cluster import async_door, sync_door
from authsvc.core.redis import Reply


class BothDoors:
    """One call for a test that is the same for both."""

    def __init__(self, kind: Callable[[str], Any], url: str) -> None:
        self._runner = asyncio.Runner()
        self.door: Any = self._runner.run(_made(kind, url))

    def execute(self, *commands: tuple[Any, ...]) -> Reply:
        return self._runner.run(self._execute(commands))

    async def _execute(self, commands: tuple[Any, ...]) -> Reply:
        for _ in range(2):
            await asyncio.sleep(0)  # a loop that runs all the time has noticed what the server has closed
        answer = self.door.execute(*commands)
        return answer if isinstance(answer, Reply) else await answer

    def close(self) -> None:
        self._runner.run(_closed(self.door))
        self._runner.close()


async def _made(kind: Callable[[str], Any], url: str) -> Any:
    return kind(url)


async def _closed(door: Any) -> None:
    closing = door.close()
    if closing:
        await closing


@pytest.fixture(params=[sync_door, async_door], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[str], BothDoors]]:
    made: list[BothDoors] = []

    def connect(url: str) -> BothDoors:
        made.append(BothDoors(request.param, url))
        return made[-1]

    yield connect
    for each in made:
        each.close()


Connect = Callable[[str], BothDoors]
