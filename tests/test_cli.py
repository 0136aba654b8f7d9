"""The command `lenet` as a shell runs it: processes, their output, and their exit statuses."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import grpc
import pytest
from conftest import ROOT, ServerProcess
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from PIL import Image

from clients.handwriting import Hand, png

LENET = [sys.executable, "-m", "clients.cli"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawings 0.png to 9.png, and some files that are no pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for digit in range(10):
        (folder / f"{digit}.png").write_bytes(png(digit, Hand(seed=digit)))
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    (folder / "folder.png").mkdir()
    return folder


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A socket that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def lenet(*arguments: str | Path, server: str = "", stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*LENET, *map(str, arguments)], env=environment(server), cwd=ROOT, input=stdin, capture_output=True, timeout=60
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def environment(server: str) -> dict[str, str]:
    """This process's, without settings, and with the buffering of output that users have."""
    inherited = {name: os.environ[name] for name in os.environ if not name.startswith(("LENET_", "PYTHONUNBUFFERED"))}
    return inherited | ({"LENET_SERVER": server} if server else {})


def address(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def test_classify_prints_an_aligned_row_for_each_picture(server: ServerProcess, pictures: Path) -> None:
    """The digit, its probability and the second choice, below a line that names the columns."""
    files = [pictures / f"{digit}.png" for digit in range(10)]
    done = lenet("classify", *files, server=server.target)
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["file", "digit", "probability", "second", "choice"]
    for digit, (file, row) in enumerate(zip(files, rows, strict=True)):
        name, read, probability, second, its_probability = row.split()
        assert (name, read) == (str(file), str(digit))
        assert float(probability.rstrip("%")) > float(its_probability.strip("(%)"))
        assert second != read
        assert row.index("%") == header.index("probability") + len("probability") - 1


def test_classify_as_json_has_the_same_keys_whatever_happened(server: ServerProcess, pictures: Path) -> None:
    """One document with one result per file, in order; what is not known is null."""
    done = lenet("classify", "--json", pictures / "4.png", pictures / "text.png", server=server.target)
    good, bad = json.loads(done.stdout)["results"]
    assert list(good) == list(bad)
    assert " ".join(good) == ("file digit probability probabilities unfamiliarity not_a_digit model_version error")
    assert good["not_a_digit"] is False
    assert good["unfamiliarity"] < 5
    assert (good["file"], good["digit"], good["error"]) == (str(pictures / "4.png"), 4, None)
    assert good["probability"] == max(good["probabilities"])
    assert abs(sum(good["probabilities"]) - 1) < 1e-4
    assert (bad["digit"], bad["probabilities"]) == (None, None)
    assert bad["error"]
    assert done.returncode == 1


def test_what_is_no_digit_is_doubted(server: ServerProcess, pictures: Path, tmp_path: Path) -> None:
    """A chequered board gets a digit, as every image does, with a question mark behind it; a digit gets none."""
    board = Image.new("L", (279, 279), 255)
    for row, column in product(range(3), range(3)):
        if (row + column) % 2:
            board.paste(0, (93 * column, 93 * row, 93 * column + 93, 93 * row + 93))
    board.save(tmp_path / "board.png")
    done = lenet("classify", pictures / "7.png", tmp_path / "board.png", server=server.target)
    assert (done.returncode, done.stderr) == (0, "")
    _, digit, no_digit = done.stdout.splitlines()
    assert not digit.endswith("not a digit?")
    assert no_digit.endswith("not a digit?")
    maps = tmp_path / "maps.png"
    assert "not a digit?" in lenet("features", tmp_path / "board.png", "-o", maps, server=server.target).stdout
    document = json.loads(lenet("classify", "--json", tmp_path / "board.png", server=server.target).stdout)
    assert document["results"][0]["not_a_digit"] is True


def test_a_hyphen_is_standard_input(server: ServerProcess, pictures: Path) -> None:
    """Pictures can be piped in, beside files."""
    done = lenet("classify", "-", pictures / "2.png", server=server.target, stdin=(pictures / "6.png").read_bytes())
    assert done.returncode == 0
    assert [row.split()[:2] for row in done.stdout.splitlines()[1:]] == [["-", "6"], [str(pictures / "2.png"), "2"]]


def test_a_file_that_is_refused_does_not_stop_the_others(server: ServerProcess, pictures: Path) -> None:
    """Each that fails has one line on stderr, which begins with its name; the exit status is 1."""
    bad = [pictures / name for name in ("empty.png", "text.png", "folder.png", "none.png")]
    done = lenet("classify", pictures / "1.png", *bad, pictures / "9.png", server=server.target)
    assert done.returncode == 1
    assert [row.split()[1] for row in done.stdout.splitlines()[1:]] == ["1", "9"]
    complaints = done.stderr.splitlines()
    assert len(complaints) == len(bad)
    assert all(line.startswith(f"lenet: {file}: ") for line, file in zip(complaints, bad, strict=True))


def test_the_server_is_named_by_flag_or_environment(server: ServerProcess, nobody: str, pictures: Path) -> None:
    """The flag wins."""
    assert lenet("classify", pictures / "1.png", server=server.target).returncode == 0
    assert lenet("classify", pictures / "1.png", "--server", server.target, server=nobody).returncode == 0
    assert lenet("classify", pictures / "1.png", "--server", nobody, server=server.target).returncode == 3


@pytest.mark.parametrize("command", ["classify FILE", "features FILE", "describe", "health"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_server_that_is_away_is_status_3(
    command: str, form: str, nobody: str, pictures: Path, tmp_path: Path
) -> None:
    """Whatever was asked: one line on stderr says so and what to do; as JSON, there is a document as well."""
    arguments = command.replace("FILE", str(pictures / "1.png")).split()
    if command.startswith("features"):
        arguments += ["-o", str(tmp_path / "maps.png")]
    done = lenet(*arguments, *(["--json"] if form == "json" else []), server=nobody)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert f"no server answers at {nobody}; start it with `make serve`" in done.stderr
    if form == "text":
        assert done.stdout == ""
    else:
        document = json.loads(done.stdout)
        assert nobody in (document["results"][0] if "results" in document else document)["error"]


def test_a_server_that_does_not_answer_is_waited_for_once(silent: socket.socket, pictures: Path) -> None:
    """The timeout is the user's, and the other files do not wait for it again."""
    files = [pictures / f"{digit}.png" for digit in range(10)]
    done = lenet("classify", *files, "--timeout-s", "0.5", "--json", server=address(silent))
    assert done.returncode == 3
    assert done.stderr.count("gave no answer in time") == 1
    results = json.loads(done.stdout)["results"]
    assert [result["file"] for result in results] == list(map(str, files))
    assert all("gave no answer in time" in result["error"] for result in results)


@pytest.mark.parametrize(
    "arguments",
    [
        "classify",
        "no-such-command",
        "classify --no-such-option 1.png",
        "describe --timeout-s 0",
        "describe --timeout-s x",
    ],
)
def test_wrong_usage_is_status_2(arguments: str) -> None:
    """One line says what is wrong, and where to find what is right."""
    done = lenet(*arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "lenet --help" in done.stderr


def test_help_tells_commands_and_exit_statuses() -> None:
    """What a script must know is in `--help`."""
    text = " ".join(lenet("--help").stdout.split())
    assert all(name in text for name in ("classify", "features", "describe", "health", "demo"))
    assert "0 all was answered; 1 some input was refused" in text
    assert "2 wrong usage; 3 the server could not be reached" in text
    options = lenet("classify", "--help").stdout
    assert all(name in options for name in ("--server", "LENET_SERVER", "--timeout-s", "--json"))


def test_features_writes_a_picture(server: ServerProcess, pictures: Path, tmp_path: Path) -> None:
    """It holds all layers, so it is higher than it is wide; what was written is said."""
    maps = tmp_path / "maps.png"
    done = lenet("features", pictures / "8.png", "-o", maps, server=server.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(maps) in done.stdout
    with Image.open(maps) as picture:
        assert (picture.format, picture.width) == ("PNG", 1200)
        assert picture.height > picture.width


def test_features_as_json_names_the_picture_and_the_shapes(
    server: ServerProcess, pictures: Path, tmp_path: Path
) -> None:
    """Beside what `classify` tells."""
    done = lenet("features", pictures / "8.png", "-o", tmp_path / "8.svg", "--json", server=server.target)
    document = json.loads(done.stdout)
    assert (document["digit"], document["picture"], document["error"]) == (8, str(tmp_path / "8.svg"), None)
    assert document["feature_maps"]["conv2"] == [1, 16, 10, 10]
    assert (tmp_path / "8.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("output", ["none/maps.png", ".", "maps.xyz"])
def test_a_picture_that_cannot_be_written_is_status_1(
    server: ServerProcess, pictures: Path, tmp_path: Path, output: str
) -> None:
    """No such folder, a folder in its place, an unknown format: one line each."""
    done = lenet("features", pictures / "8.png", "-o", tmp_path / output, server=server.target)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / output) in done.stderr


def test_describe_tells_layers_accuracy_and_provider(server: ServerProcess) -> None:
    """As text with the sum of the parameters, and as JSON without the weights."""
    text = lenet("describe", server=server.target).stdout
    assert "lenet5 version" in text
    assert "61,706" in text
    assert "accuracy 9" in text

    document = json.loads(lenet("describe", "--json", server=server.target).stdout)
    assert document["provider"] in text
    assert document["error"] is None
    assert [layer["name"] for layer in document["layers"]][:2] == ["conv1", "pool1"]
    assert document["layers"][0]["output_shape"] == [6, 28, 28]
    assert "kernel" not in document["layers"][0]


def test_health_is_0_only_while_the_server_says_serving(server: ServerProcess) -> None:
    """A container platform restarts by this status, so a server that drains is not healthy."""
    done = lenet("health", server=server.target)
    assert (done.returncode, done.stdout) == (0, "SERVING\n")

    with ThreadPoolExecutor(2) as threads:
        draining = grpc.server(threads)
        servicer = health.HealthServicer()
        servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, draining)
        port = draining.add_insecure_port("127.0.0.1:0")
        draining.start()
        done = lenet("health", server=f"127.0.0.1:{port}")
        draining.stop(0).wait()
    assert (done.returncode, done.stdout) == (3, "NOT_SERVING\n")


@pytest.mark.parametrize("command", ["classify 1.png", "describe", "describe --json"])
def test_a_reader_that_has_left_ends_the_command_quietly(server: ServerProcess, pictures: Path, command: str) -> None:
    """As in `lenet describe | head -1`: no complaint, and the status that shells give to a closed pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    arguments = command.replace("1.png", str(pictures / "1.png")).split()
    with os.fdopen(writer, "wb") as stdout:
        done = subprocess.run(
            [*LENET, *arguments], env=environment(server.target), cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_interrupt_ends_the_command_quietly(silent: socket.socket, pictures: Path) -> None:
    """Ctrl-C while it waits for a server that never answers: status 130, no traceback."""
    command = [*LENET, "classify", str(pictures / "1.png"), "--timeout-s", "60"]
    with subprocess.Popen(command, env=environment(address(silent)), cwd=ROOT, stderr=subprocess.PIPE) as process:
        connection, _ = silent.accept()  # now it has asked
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=20)
        connection.close()
    assert (process.returncode, complaint) == (130, b"")


def test_a_name_that_is_no_text_is_printed_all_the_same(server: ServerProcess, pictures: Path, tmp_path: Path) -> None:
    """Files may be named by bytes that are no UTF-8."""
    file = tmp_path / os.fsdecode(b"\xff.png")
    file.write_bytes((pictures / "5.png").read_bytes())
    done = lenet("classify", file, server=server.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[1] == "5"
