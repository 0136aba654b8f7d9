"""MNIST is read whole from wherever it lies, or refused with the name of the file and what is wrong with it."""

import gzip
import http.server
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import md5
from pathlib import Path
from time import monotonic

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mnist_files import images_idx, labels_idx, write_mnist
from torchvision.datasets import MNIST

from training.data import Mnist, load_mnist, offline_sample, read_directory
from training.download import download
from training.errors import DataError
from training.idx import read_images, read_labels

IMAGES = torch.arange(3 * 784).remainder(256).byte().view(3, 28, 28)
LABELS = torch.tensor([7, 0, 9])
TINY = Mnist(IMAGES, LABELS, IMAGES[:2] + 1, LABELS[:2], "three images", "two images")


@pytest.fixture
def mnist_dir() -> Path:
    """The real MNIST of whoever runs the tests."""
    if "MNIST_DIR" not in os.environ:
        pytest.skip("needs all of MNIST: set MNIST_DIR to a directory with its four IDX files")
    return Path(os.environ["MNIST_DIR"])


@pytest.fixture(scope="module")
def sample() -> Mnist:
    """The 5,000 images that need no network."""
    return offline_sample()


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("layout", ["", "MNIST/raw"])
def test_every_way_of_storing_the_files_gives_the_same_tensors(tmp_path: Path, layout: str, gzipped: bool) -> None:
    """Flat or in torchvision's layout, gzipped or not: same pixels, labels and digest."""
    write_mnist(tmp_path / layout, TINY, gzipped)
    found = load_mnist(tmp_path)
    assert torch.equal(found.train_images, IMAGES)
    assert torch.equal(found.train_labels, LABELS)
    assert torch.equal(found.test_images, IMAGES[:2] + 1)
    assert found.sha256 == TINY.sha256
    assert str(tmp_path) not in found.source


def test_the_digest_depends_on_every_pixel_and_label() -> None:
    """One changed value anywhere is other data."""
    images, labels = IMAGES.clone(), LABELS.clone()
    images[2, 27, 27] += 1
    labels[0] = 8
    others = [
        Mnist(images, LABELS, TINY.test_images, TINY.test_labels, "", ""),
        Mnist(IMAGES, labels, TINY.test_images, TINY.test_labels, "", ""),
    ]
    assert len({TINY.sha256, *(other.sha256 for other in others)}) == 3


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("file", "damage", "complaint"),
    [
        ("train-images-idx3-ubyte", lambda raw: raw[:-1], "found 2,351 bytes of items; expected 2,352 for 3 items"),
        ("train-images-idx3-ubyte", lambda raw: raw + b"x", "found 2,353 bytes of items; expected 2,352"),
        ("train-images-idx3-ubyte", lambda raw: raw[:9], "found 9 bytes; expected a header of 16 bytes"),
        ("t10k-labels-idx1-ubyte", lambda raw: b"", "found 0 bytes; expected a header of 8 bytes"),
        ("t10k-images-idx3-ubyte", lambda raw: labels_idx(LABELS) * 9, "found magic number 2049; expected 2051"),
        ("train-labels-idx1-ubyte", lambda raw: images_idx(IMAGES), "found magic number 2051; expected 2049"),
        ("train-images-idx3-ubyte", lambda raw: images_idx(IMAGES.view(3, 49, 16)), "[49, 16] pixels; expected [28"),
        ("train-labels-idx1-ubyte", lambda raw: labels_idx(LABELS[:2]), "found 2 labels; expected 3, one for each"),
        ("train-labels-idx1-ubyte", lambda raw: labels_idx(LABELS + 1), "found label 10 for image 2; expected labels"),
        ("t10k-labels-idx1-ubyte", lambda raw: labels_idx(LABELS[:0]), "found no items; expected at least one"),
        ("t10k-labels-idx1-ubyte", lambda raw: gzip.compress(raw)[:-9], "found damaged gzip data"),
        ("t10k-labels-idx1-ubyte", lambda raw: gzip.compress(raw)[:10] + b"\xff" * 9, "found damaged gzip data"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path: Path, file: str, damage: Damage, complaint: str) -> None:
    """The error gives the file, what was found, what was expected and what to do."""
    write_mnist(tmp_path, TINY)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as error:
        load_mnist(tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("missing", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
def test_an_incomplete_directory_is_an_error_and_no_reason_to_look_elsewhere(tmp_path: Path, missing: str) -> None:
    """What was asked for is used or refused; so is the cache once something lies in it."""
    write_mnist(tmp_path, TINY)
    (tmp_path / missing).unlink()
    for place in ({"directory": tmp_path}, {"cache": tmp_path}):
        with pytest.raises(DataError, match=f"found no {missing.removesuffix('-ubyte')} file"):
            load_mnist(**place)


def test_a_directory_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    """A typing error must not end in a download."""
    with pytest.raises(DataError, match="nowhere"):
        load_mnist(tmp_path / "nowhere")


@given(content=st.one_of(st.binary(), st.binary().map(gzip.compress)))
def test_any_bytes_are_labels_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Nothing but DataError leaves the reader, whatever the file holds."""
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(content)
    for read in (read_images, read_labels):
        with pytest.raises(DataError, match="any: found"):
            read(file)


@given(
    header=st.tuples(st.sampled_from([2049, 2051]), st.integers(0, 3)),
    body=st.binary(max_size=4),
)
def test_labels_are_read_exactly_when_header_and_body_agree(
    tmp_path_factory: pytest.TempPathFactory, header: tuple[int, int], body: bytes
) -> None:
    """Right magic number, the announced number of labels, all of them digits."""
    file = tmp_path_factory.getbasetemp() / "labels"
    file.write_bytes(struct.pack(">2I", *header) + body)
    sound = header[0] == 2049 and header[1] == len(body) > 0 and max(body) <= 9
    if sound:
        assert read_labels(file).tolist() == list(body)
    else:
        with pytest.raises(DataError):
            read_labels(file)


def test_the_cache_is_used_before_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With MNIST in data/, no mirror is asked."""
    monkeypatch.setattr(MNIST, "mirrors", ["http://mirror.invalid/"])
    write_mnist(tmp_path / "MNIST" / "raw", TINY)
    assert load_mnist(cache=tmp_path).sha256 == TINY.sha256


def test_a_mirror_that_never_answers_costs_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that swallows packets is given up after the patience, and nothing is left behind."""
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{deaf.getsockname()[1]}/"])
        started = monotonic()
        assert download(tmp_path, patience_s=0.3) == "none of torchvision's 1 mirrors answers"
        assert monotonic() - started < 5
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_sample_stands_in_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning, the source and the test set's name all say that this isn't MNIST as a whole."""
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setenv("no_proxy", "*")
    found = load_mnist(cache=tmp_path / "data")
    assert (len(found.train_labels), len(found.test_labels)) == (4500, 500)
    assert "5,000 of MNIST's 60,000 training images" in caplog.text
    assert "offline sample" in found.source
    assert "not the MNIST test set" in found.test_set


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a real HTTP server shows in place of torchvision's mirrors."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setenv("no_proxy", "*")
        yield folder
        server.shutdown()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing."""


def test_a_download_lands_whole_and_quietly(
    tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """All four files arrive in torchvision's layout, without a bar or a print."""
    write_mnist(mirror, TINY, gzipped=True)
    digests = [(file.name, md5(file.read_bytes(), usedforsecurity=False).hexdigest()) for file in mirror.iterdir()]
    monkeypatch.setattr(MNIST, "resources", digests)
    assert load_mnist(cache=tmp_path / "data").sha256 == TINY.sha256
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["MNIST"]
    assert capfd.readouterr() == ("", "")


def test_a_download_that_fails_half_way_leaves_nothing(tmp_path: Path, mirror: Path) -> None:
    """A mirror with a wrong file is no mirror, and no half of a data set stays to confuse the next run."""
    write_mnist(mirror, TINY, gzipped=True)
    assert "Error downloading train-images-idx3-ubyte.gz" in download(tmp_path / "data")
    assert [file for file in (tmp_path / "data").rglob("*") if file.is_file()] == []


def test_the_sample_is_the_same_everywhere(sample: Mnist) -> None:
    """Its split is part of what a card's figures mean."""
    assert sample.sha256.startswith("5996fd4259405be0")
    assert sample.train_images.dtype == torch.uint8
    assert sample.train_images.max() == 255
    assert sample.train_labels.bincount().min() > 400


def test_mnist_is_recognised_by_its_digest(mnist_dir: Path, tmp_path: Path) -> None:
    """Only on the real test images may a figure be called MNIST's."""
    real = load_mnist(mnist_dir)
    assert (len(real.train_labels), len(real.test_labels)) == (60_000, 10_000)
    assert real.test_set == "the MNIST test set"
    assert load_mnist(write_mnist(tmp_path, TINY)).test_set.startswith("another t10k set than MNIST's")


def test_no_image_of_the_sample_is_in_the_real_test_set(sample: Mnist, mnist_dir: Path) -> None:
    """So the real test set may judge a network that was trained on the sample."""
    real = {image.numpy().tobytes() for image in read_directory(mnist_dir, "").test_images}
    ours = {image.numpy().tobytes() for image in (*sample.train_images, *sample.test_images)}
    assert len(real) == 10_000
    assert not real & ours
