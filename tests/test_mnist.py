"""The released model through the server on the 10,000 MNIST test images, by both ways in."""

import io
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lenet.v1 import digits_pb2_grpc
from lenet.v1.digits_pb2 import ClassifyRequest
from serving.artifact import open_artifact
from serving.runtime import Runtime

TestSet = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def expected(mnist_test_set: TestSet, released_model: Path) -> NDArray[np.float32]:
    """The probabilities [10000, 10] by ONNX Runtime in this process."""
    runtime = Runtime(open_artifact(released_model).graph)
    return runtime.run(mnist_test_set[0]).probabilities


@pytest.mark.parametrize("batch", [1, 32, 500])
def test_served_answers_are_right_and_equal_to_onnx_runtime(
    target: str, mnist_test_set: TestSet, expected: NDArray[np.float32], batch: int
) -> None:
    """All 10,000 images, one by one, in small and in large calls: at least 99.2 % right, equal within 1e-5."""
    images, labels = mnist_test_set
    with grpc.insecure_channel(target) as channel:
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        calls = []
        replies = []
        for start in range(0, len(images), batch):
            request = ClassifyRequest(pixels=images[start : start + batch].tobytes())
            calls.append(stub.Classify.future(request, timeout=60))
            if len(calls) == 32:
                replies += [call.result() for call in calls]
                calls.clear()
        replies += [call.result() for call in calls]
    digits = np.concatenate([reply.digits for reply in replies])
    probabilities = np.concatenate([reply.probabilities for reply in replies]).reshape(-1, 10)
    assert (digits == labels).mean() >= 0.992
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_pictures_of_the_test_images_lose_less_than_two_tenths_of_a_point(
    server: "object", mnist_test_set: TestSet, expected: NDArray[np.float32]
) -> None:
    """Every image at 280 x 280 pixels as a PNG, black ink on white paper."""
    images, labels = mnist_test_set
    digits = []
    with grpc.insecure_channel(server.target) as channel:  # type: ignore[attr-defined]
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        for start in range(0, len(images), 32):
            calls = [
                stub.Classify.future(ClassifyRequest(encoded_image=png_of(image)), timeout=60)
                for image in images[start : start + 32]
            ]
            digits += [call.result().digits[0] for call in calls]
    raw_accuracy = (expected.argmax(axis=1) == labels).mean()
    assert raw_accuracy - (np.array(digits) == labels).mean() < 0.002


def png_of(image: NDArray[np.uint8]) -> bytes:
    """A picture of an image of MNIST as a person would save it."""
    file = io.BytesIO()
    Image.fromarray(255 - image).resize((280, 280), Image.Resampling.BICUBIC).save(file, "PNG", compress_level=1)
    return file.getvalue()
