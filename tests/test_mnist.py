"""The released model through the server on the 10,000 MNIST test images, by both ways in; and on what is no digit."""

import io
from pathlib import Path

import grpc
import numpy as np
import pytest
from conftest import ServerProcess, read_idx
from numpy.typing import NDArray
from PIL import Image

from clients import Client
from lenet.v1 import digits_pb2_grpc
from lenet.v1.digits_pb2 import ClassifyRequest, DescribeModelRequest
from serving.artifact import open_artifact
from serving.runtime import Runtime

FASHION_DIR = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
TestSet = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def expected(mnist_test_set: TestSet, released_model: Path) -> NDArray[np.float32]:
    """The probabilities [10000, 10] by ONNX Runtime in this process."""
    runtime = Runtime(open_artifact(released_model))
    return runtime.run(mnist_test_set[0]).probabilities


@pytest.mark.parametrize("batch", [1, 32, 500])
def test_served_answers_are_right_and_equal_to_onnx_runtime(
    target: str, mnist_test_set: TestSet, expected: NDArray[np.float32], batch: int
) -> None:
    """All 10,000 images, one by one, in small and in large calls: as right as the card says, equal within 1e-5."""
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
        described = stub.DescribeModel(DescribeModelRequest(), timeout=60)
    digits = np.concatenate([reply.digits for reply in replies])
    probabilities = np.concatenate([reply.probabilities for reply in replies]).reshape(-1, 10)
    unfamiliarity = np.concatenate([reply.unfamiliarity for reply in replies])
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert (digits == labels).mean() == pytest.approx(described.evaluation.accuracy, abs=1e-9)
    right = probabilities[np.arange(len(labels)), labels]
    assert -np.log(right).mean() == pytest.approx(described.evaluation.nll, abs=1e-5)
    assert (unfamiliarity <= described.unfamiliarity_threshold).mean() >= 0.95


def test_fashion_is_told_from_digits(server: ServerProcess, mnist_test_set: TestSet) -> None:
    """With a limit at which 95 % of the test digits pass, at most 5 % of FashionMNIST's 10,000 test images do."""
    if not FASHION_DIR.exists():
        pytest.skip("needs FashionMNIST: Debian's package dataset-fashion-mnist")
    with Client(server.target) as client:
        digits, fashion = (
            np.concatenate([client.classify(each).unfamiliarity for each in np.split(images, 20)])
            for images in (mnist_test_set[0], read_idx(FASHION_DIR, "t10k-images-idx3-ubyte"))
        )
    assert (fashion <= np.quantile(digits, 0.95)).mean() <= 0.05


def test_pictures_of_the_test_images_lose_less_than_two_tenths_of_a_point(
    server: ServerProcess, mnist_test_set: TestSet, expected: NDArray[np.float32]
) -> None:
    """Every image at 280 x 280 pixels as a PNG, black ink on white paper."""
    images, labels = mnist_test_set
    digits = []
    with grpc.insecure_channel(server.target) as channel:
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
