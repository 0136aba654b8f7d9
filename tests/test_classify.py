"""What a caller gets from a running server for good and bad input, by both ways in."""

import io
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from conftest import running_server
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lenet.v1 import digits_pb2_grpc
from lenet.v1.digits_pb2 import ClassifyRequest, DescribeModelRequest

IMAGE = 784
MAPS = {
    "conv1": (6, 28, 28),
    "pool1": (6, 14, 14),
    "conv2": (16, 10, 10),
    "pool2": (16, 5, 5),
    "conv3": (120, 1, 1),
}
TIMEOUT_S = 20
CODE = grpc.StatusCode
repeated_use_of_fixtures = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def channel(target: str) -> Iterator[grpc.Channel]:
    """A channel with gRPC's own defaults."""
    with grpc.insecure_channel(target) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.Channel) -> digits_pb2_grpc.DigitClassifierStub:
    """The generated stub."""
    return digits_pb2_grpc.DigitClassifierStub(channel)


def png(image: Image.Image, **options: object) -> bytes:
    """Encodes a picture as PNG."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def drawn_one(size: int = 280) -> Image.Image:
    """A vertical black bar on white: a plain 1."""
    image = Image.new("L", (size, size), 255)
    image.paste(0, (size * 45 // 100, size // 5, size * 55 // 100, size * 4 // 5))
    return image


def random_images(n: int) -> bytes:
    """The pixels of n images of noise."""
    return np.random.default_rng(0).integers(0, 256, n * IMAGE, np.uint8).tobytes()


BAD_REQUESTS = {
    "no input": (ClassifyRequest(), "no input came: set pixels"),
    "no whole image": (ClassifyRequest(pixels=bytes(783)), "pixels has 783 bytes; expected a multiple of 784"),
    "zero images": (ClassifyRequest(pixels=b""), "zero images; expected 784 bytes"),
    "too many images": (ClassifyRequest(pixels=bytes(1025 * IMAGE)), "1025 images; expected at most 1024"),
    "unknown layer": (
        ClassifyRequest(pixels=bytes(IMAGE), feature_maps=["conv9"]),
        "'conv9'; expected one of conv1, pool1, conv2, pool2, conv3",
    ),
    "layer without a map": (ClassifyRequest(pixels=bytes(IMAGE), feature_maps=["fc1"]), "'fc1'; expected one of conv1"),
    "repeated layer": (
        ClassifyRequest(pixels=bytes(IMAGE), feature_maps=["conv1", "conv2", "conv1"]),
        "names a layer twice: conv1, conv2, conv1",
    ),
    "too many maps": (
        ClassifyRequest(pixels=bytes(1000 * IMAGE), feature_maps=["conv1"]),
        "conv1 of 1000 images do not fit in a reply of 4194304 bytes; at most 222 do",
    ),
    "empty picture": (ClassifyRequest(encoded_image=b""), "encoded_image is empty; expected one PNG or JPEG"),
    "no picture": (ClassifyRequest(encoded_image=b"GIF89a, more or less"), "PNG or JPEG"),
    "truncated picture": (ClassifyRequest(encoded_image=png(drawn_one())[:-200]), "truncated"),
    "blank picture": (ClassifyRequest(encoded_image=png(Image.new("L", (280, 280), 255))), "blank"),
    "animated picture": (
        ClassifyRequest(encoded_image=png(drawn_one(), save_all=True, append_images=[Image.new("L", (280, 280))])),
        "animated",
    ),
    "huge picture": (
        ClassifyRequest(encoded_image=png(Image.new("1", (4001, 4000)))),
        "is 4001 x 4000 pixels; expected at most 16000000",
    ),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_input_is_refused_with_what_came_and_what_was_expected(
    stub: digits_pb2_grpc.DigitClassifierStub, case: str
) -> None:
    """Each kind of bad input has its message, and the server answers the next call."""
    request, message = BAD_REQUESTS[case]
    with pytest.raises(grpc.RpcError) as caught:
        stub.Classify(request, timeout=TIMEOUT_S)
    assert caught.value.code() is CODE.INVALID_ARGUMENT
    assert message in str(caught.value.details())
    assert len(stub.Classify(ClassifyRequest(pixels=bytes(IMAGE)), timeout=TIMEOUT_S).digits) == 1


def test_a_message_over_the_size_limit_is_refused_with_both_sizes(stub: digits_pb2_grpc.DigitClassifierStub) -> None:
    """C core refuses it before it is read."""
    with pytest.raises(grpc.RpcError, match=r"larger than max \(\d+ vs. 4194304\)") as caught:
        stub.Classify(ClassifyRequest(encoded_image=bytes(4 * 2**20)), timeout=TIMEOUT_S)
    assert caught.value.code() is CODE.RESOURCE_EXHAUSTED
    assert len(stub.Classify(ClassifyRequest(pixels=bytes(IMAGE)), timeout=TIMEOUT_S).digits) == 1


@repeated_use_of_fixtures
@given(message=st.binary(max_size=300))
@example(message=ClassifyRequest(pixels=bytes(IMAGE), feature_maps=["\0" * 100]).SerializeToString())
@example(message=ClassifyRequest(encoded_image=b"\x89PNG\r\n\x1a\n").SerializeToString())
def test_any_bytes_at_all_get_a_reply_or_invalid_argument(channel: grpc.Channel, message: bytes) -> None:
    """Never UNKNOWN or INTERNAL."""
    classify: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/lenet.v1.DigitClassifier/Classify")
    call = classify.future(message, timeout=TIMEOUT_S)
    assert call.code() in (CODE.OK, CODE.INVALID_ARGUMENT), call.details()


@pytest.mark.parametrize("n", [1, 2, 32, 33, 1024])
def test_a_batch_equals_its_images_one_by_one(stub: digits_pb2_grpc.DigitClassifierStub, n: int) -> None:
    """Whatever the server does with the size of a call."""
    pixels = random_images(n)
    together = stub.Classify(ClassifyRequest(pixels=pixels), timeout=TIMEOUT_S)
    assert len(together.digits) == len(together.unfamiliarity) == n
    for index in range(0, n, max(1, n // 20)):
        one = pixels[index * IMAGE : (index + 1) * IMAGE]
        alone = stub.Classify(ClassifyRequest(pixels=one), timeout=TIMEOUT_S)
        assert alone.digits[0] == together.digits[index]
        assert alone.unfamiliarity == pytest.approx(together.unfamiliarity[index : index + 1], abs=1e-4)
        np.testing.assert_allclose(alone.probabilities, together.probabilities[index * 10 : index * 10 + 10], atol=1e-5)
    assert np.reshape(together.probabilities, (n, 10)).sum(axis=1) == pytest.approx(np.ones(n), abs=1e-5)


@repeated_use_of_fixtures
@given(layers=st.lists(st.sampled_from(list(MAPS)), unique=True, min_size=1), n=st.integers(1, 40))
def test_the_maps_that_were_asked_for_come_in_that_order(
    stub: digits_pb2_grpc.DigitClassifierStub, layers: list[str], n: int
) -> None:
    """Any selection, any order, with their shapes and all their values."""
    reply = stub.Classify(ClassifyRequest(pixels=random_images(n), feature_maps=layers), timeout=TIMEOUT_S)
    assert [(one.layer, tuple(one.shape)) for one in reply.feature_maps] == [
        (name, (n, *MAPS[name])) for name in layers
    ]
    for one in reply.feature_maps:
        values = np.frombuffer(one.values, "<f4").reshape(one.shape)
        assert np.isfinite(values).all()
        assert values.std() > 0


def test_a_conv1_map_is_the_sum_of_25_products_and_a_bias(stub: digits_pb2_grpc.DigitClassifierStub) -> None:
    """Anyone can check a returned map by hand with the kernels that DescribeModel returns."""
    conv1 = stub.DescribeModel(DescribeModelRequest(), timeout=TIMEOUT_S).layers[0]
    kernels = np.frombuffer(conv1.kernel.values, "<f4").reshape(conv1.kernel.shape)  # [6, 1, 5, 5]
    biases = np.frombuffer(conv1.bias.values, "<f4")  # [6]
    pixels = random_images(3)
    reply = stub.Classify(ClassifyRequest(pixels=pixels, feature_maps=["conv1"]), timeout=TIMEOUT_S)
    served = np.frombuffer(reply.feature_maps[0].values, "<f4").reshape(3, 6, 28, 28)

    images = np.frombuffer(pixels, np.uint8).reshape(3, 28, 28) / 255
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    by_hand = np.empty((3, 6, 28, 28))
    for row in range(28):
        for column in range(28):
            patch = padded[:, None, row : row + 5, column : column + 5]  # [3, 1, 5, 5]
            by_hand[:, :, row, column] = biases + (patch * kernels[:, 0]).sum(axis=(2, 3))
    np.testing.assert_allclose(served, by_hand, atol=1e-4)


def test_maps_up_to_the_limit_fit_in_a_default_client(stub: digits_pb2_grpc.DigitClassifierStub) -> None:
    """The number of images that the refusal names does work, and its reply is within gRPC's own limit."""
    full = ClassifyRequest(pixels=random_images(222), feature_maps=["conv1"])
    reply = stub.Classify(full, timeout=TIMEOUT_S)
    assert 4_000_000 < reply.ByteSize() <= 4 * 2**20


def test_a_reply_without_maps_has_the_same_limit(released_model: Path) -> None:
    """What does not fit is refused before the model runs, and the text says how many images would."""
    with (
        running_server("--model-dir", str(released_model), "--max-reply-bytes", "8192") as started,
        grpc.insecure_channel(started.target) as opened,
    ):
        small = digits_pb2_grpc.DigitClassifierStub(opened)
        with pytest.raises(grpc.RpcError, match=r"the answers of 1000 images do not fit .* at most 159 do"):
            small.Classify(ClassifyRequest(pixels=random_images(1000)), timeout=TIMEOUT_S)
        fitting = small.Classify(ClassifyRequest(pixels=random_images(159)), timeout=TIMEOUT_S)
        assert fitting.ByteSize() <= 8192


def test_a_picture_comes_back_as_the_pixels_that_the_model_saw(stub: digits_pb2_grpc.DigitClassifierStub) -> None:
    """The same pixels, sent as pixels, give the same answer and the same maps."""
    request = ClassifyRequest(encoded_image=png(drawn_one()), feature_maps=["conv2"])
    picture = stub.Classify(request, timeout=TIMEOUT_S)
    assert len(picture.pixels) == IMAGE
    again = stub.Classify(ClassifyRequest(pixels=picture.pixels, feature_maps=["conv2"]), timeout=TIMEOUT_S)
    assert picture.digits == again.digits == [1]
    assert picture.feature_maps[0].values == again.feature_maps[0].values
    assert again.pixels == b""


def test_a_stream_answers_each_request_in_order(stub: digits_pb2_grpc.DigitClassifierStub) -> None:
    """One reply per request, whatever its kind."""
    kinds = [
        ClassifyRequest(pixels=random_images(3)),
        ClassifyRequest(encoded_image=png(drawn_one())),
        ClassifyRequest(pixels=random_images(1), feature_maps=["pool1"]),
    ]
    replies = list(stub.ClassifyStream(iter(kinds * 5), timeout=TIMEOUT_S))
    assert [len(reply.digits) for reply in replies] == [3, 1, 1] * 5
    assert [len(reply.feature_maps) for reply in replies] == [0, 0, 1] * 5


def test_a_stream_ends_at_a_bad_request_and_says_which_it_was(stub: digits_pb2_grpc.DigitClassifierStub) -> None:
    """The replies before it arrive."""
    good, bad = ClassifyRequest(pixels=random_images(1)), ClassifyRequest(pixels=b"12")
    replies = stub.ClassifyStream(iter([good, good, bad, good]), timeout=TIMEOUT_S)
    assert len(next(replies).digits) == len(next(replies).digits) == 1
    with pytest.raises(grpc.RpcError, match="request 3 of this stream: pixels has 2 bytes") as caught:
        next(replies)
    assert caught.value.code() is CODE.INVALID_ARGUMENT


def test_the_model_is_described_as_its_card_and_kernels_say(
    stub: digits_pb2_grpc.DigitClassifierStub, request: pytest.FixtureRequest
) -> None:
    """LeNet5 has 61,706 parameters, and each layer's add up to its kernel and bias."""
    model = stub.DescribeModel(DescribeModelRequest(), timeout=TIMEOUT_S)
    assert (model.name, model.version, model.provider) == ("lenet5", "1", "CPUExecutionProvider")
    assert list(model.input_shape) == [-1, 28, 28]
    assert list(model.classes) == list("0123456789")
    assert [layer.name for layer in model.layers] == [*MAPS, "fc1", "fc2"]
    assert sum(layer.parameters for layer in model.layers) == 61_706
    for layer in model.layers:
        assert layer.parameters * 4 == len(layer.kernel.values) + len(layer.bias.values)
        assert layer.has_feature_map == (layer.name in MAPS)
        assert tuple(layer.output_shape) == MAPS.get(layer.name, tuple(layer.output_shape))
    assert 0.99 < model.evaluation.accuracy < 1
    assert model.limits.max_images == 1024
    assert model.fast_lane == ("[lane" in request.node.name)
