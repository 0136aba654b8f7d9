"""The generated stub on a grpc.aio channel, shared by all callers."""

import asyncio

import grpc.aio
import numpy as np

from benchmarks.callers.driver import Answer, Arguments, Image, arguments, drive
from lenet.v1.digits_pb2 import ClassifyRequest
from lenet.v1.digits_pb2_grpc import DigitClassifierStub


async def main(given: Arguments) -> None:
    """Asks over one channel."""
    async with grpc.aio.insecure_channel(given.target) as channel:
        stub = DigitClassifierStub(channel)

        async def ask(image: Image) -> Answer:
            reply = await stub.Classify(ClassifyRequest(pixels=image.tobytes()))
            return np.array([*reply.probabilities, *reply.unfamiliarity], np.float32)

        await drive(ask, given)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
