"""tritonclient, the usual client for the Open Inference Protocol, shared by all callers."""

import asyncio

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from benchmarks.callers.driver import Answer, Arguments, Image, arguments, drive


async def main(given: Arguments) -> None:
    """Asks over one client."""
    async with InferenceServerClient(given.target) as client:

        async def ask(image: Image) -> Answer:
            tensor = InferInput("images", [1, 28, 28], "UINT8")
            tensor.set_data_from_numpy(image[np.newaxis])
            reply = await client.infer("lenet5", [tensor])
            return np.asarray(reply.as_numpy("answers")[0], np.float32)

        await drive(ask, given)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
