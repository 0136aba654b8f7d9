"""aiohttp, a usual HTTP client for asyncio, with one session for all callers."""

import asyncio

import aiohttp
import numpy as np

from benchmarks.callers.driver import Answer, Arguments, Image, arguments, drive

HEADERS = {"content-type": "application/octet-stream"}


async def main(given: Arguments) -> None:
    """Asks over one session, which opens a connection for each caller."""
    async with aiohttp.ClientSession(
        f"http://{given.target}", headers=HEADERS, connector=aiohttp.TCPConnector(limit=0)
    ) as session:

        async def ask(image: Image) -> Answer:
            async with session.post("/inference", data=image.tobytes()) as reply:
                reply.raise_for_status()
                return np.frombuffer(await reply.read(), np.float32)

        await drive(ask, given)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
