import asyncio

from services.common.tasks import cancel


async def test_a_task_that_loses_the_first_request_is_asked_again() -> None:
    """As `asyncio.wait_for` of Python 3.11 does when its result comes at the same moment."""
    asked = 0

    async def deaf() -> None:
        nonlocal asked
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked += 1
                if asked == 2:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await cancel([task])
    assert asked == 2
    assert task.cancelled()
