"""The short ways of reading and packing give, byte for byte, what protobuf gives."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lenet.v1.digits_pb2 import ClassifyRequest, ClassifyResponse, Limits
from serving.replies import Replies
from serving.runtime import Outputs
from serving.service import DigitClassifier

VERSION = "12"


@given(counts=st.lists(st.one_of(st.integers(1, 3), st.integers(1, 300)), min_size=1, max_size=5), data=st.data())
def test_a_plain_reply_is_what_protobuf_writes(counts: list[int], data: st.DataObject) -> None:
    """For requests of any sizes in one batch, and any floats."""
    n = sum(counts)
    anything = st.floats(width=32, allow_nan=False)
    outputs = Outputs(
        data.draw(hnp.arrays(np.float32, (n, 10), elements=anything)),
        data.draw(hnp.arrays(np.float32, n, elements=anything)),
    )
    expected, start = [], 0
    for count in counts:
        own = slice(start, start + count)
        message = ClassifyResponse(
            digits=outputs.probabilities[own].argmax(1),
            probabilities=outputs.probabilities[own].ravel(),
            model_version=VERSION,
            unfamiliarity=outputs.unfamiliarity[own],
        )
        expected.append(message.SerializeToString())
        start += count
    assert Replies(VERSION).plain(outputs, counts) == expected


@given(pixels=st.binary(min_size=784, max_size=784), extra=st.sampled_from([b"", b"\x98\x06\x01"]))
def test_one_image_is_read_alike_in_short_and_at_length(pixels: bytes, extra: bytes) -> None:
    """A field that is not known sends the same request the long way."""
    classifier = DigitClassifier(
        NoModel(), version=VERSION, map_shapes={}, limits=Limits(max_images=1, max_reply_bytes=4096)
    )
    request = classifier.read(ClassifyRequest(pixels=pixels).SerializeToString() + extra)
    assert (request.pixels, request.n, request.is_plain) == (pixels, 1, True)


class NoModel:
    """Is never run."""

    def run(self, images: object, layers: object = ()) -> Outputs:
        """Fails."""
        raise NotImplementedError
