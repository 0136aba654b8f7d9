"""Our own client, `clients.AsyncClient`, shared by all callers."""

import asyncio

import numpy as np

from benchmarks.callers.driver import Answer, Arguments, Image, arguments, drive
from clients import AsyncClient


async def main(given: Arguments) -> None:
    """Asks over one client."""
    options = {} if given.batching else {"batching": False}
    async with AsyncClient(given.target, **options) as client:

        async def ask(image: Image) -> Answer:
            found = await client.classify(image)
            return np.append(found.probabilities[0], found.unfamiliarity[0])

        await drive(ask, given)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
