"""Shows it all at work: draws digits, starts a server, has it classify them, pictures the maps, stops the server.

It checks what it shows: a digit is drawn, so its label is known, and a wrong reading counts against the demo.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from clients import handwriting
from clients.client import Client
from clients.errors import LenetError
from clients.messages import Classification
from clients.own_server import ServerFailure, own_server

_DRAWINGS = 15  # each digit once, and half of them again by another hand
_PASS = 0.9
_BAR_CELLS = 20


def demo(*, model_dir: Path = Path("models/lenet5"), output: Path = Path("out/demo")) -> int:
    """Shows it all at work: draws digits, starts a server, classifies them through the client, stops it.

    Exits with 0 only if nine tenths of the digits are recognised and the server stops as it should.

    Parameters
    ----------
    model_dir
        The model to serve.
    output
        The folder for the drawings, the picture of feature maps, and the server's log.
    """
    output.mkdir(parents=True, exist_ok=True)
    drawings = [_draw(number, output) for number in range(_DRAWINGS)]
    log = output / "server.log"
    try:
        with own_server(model_dir, log) as target, Client(target) as client:
            print(f"server ready at {target} with {model_dir}\n")
            right = sum(_classify(client, each) for each in drawings)
            print(f"\n{right} of {len(drawings)} right")
            _picture_maps(client, drawings[-1], output / "maps.png")
    except (ServerFailure, LenetError) as failure:
        print(f"lenet: {failure}; the server's log:\n{log.read_text()}", file=sys.stderr)
        return 1
    print("server stopped, exit status 0")
    return 0 if right >= _PASS * len(drawings) else 1


@dataclass(frozen=True)
class _Drawing:
    digit: int
    file: Path


def _draw(number: int, folder: Path) -> _Drawing:
    drawing = _Drawing(number % 10, folder / f"{number + 1:02}-drawn-{number % 10}.png")
    drawing.file.write_bytes(handwriting.png(drawing.digit, handwriting.Hand.of(number)))
    return drawing


def _classify(client: Client, drawing: _Drawing) -> bool:
    """Has one drawing classified, prints the row for it, and tells whether the answer is right."""
    answer = client.classify(drawing.file)
    digit = int(answer.digits[0])
    verdict = "right" if digit == drawing.digit else "WRONG"
    print(f"{drawing.file}  drawn {drawing.digit}  read {digit}  {_bar(answer)}  {verdict}", flush=True)
    return digit == drawing.digit


def _bar(answer: Classification) -> str:
    probability = float(answer.probabilities[0].max())
    filled = round(probability * _BAR_CELLS)
    return f"{'█' * filled:·<{_BAR_CELLS}} {probability:6.1%}"


def _picture_maps(client: Client, drawing: _Drawing, file: Path) -> None:
    from clients import picture  # matplotlib takes long to import

    layers = [layer.name for layer in client.describe().layers if layer.has_feature_map]
    answer = client.classify(drawing.file, feature_maps=layers)
    picture.save(answer, file, title=f"{drawing.file.name}: {answer.digits[0]}")
    print(f"feature maps of {drawing.file.name}: {file}")


if __name__ == "__main__":
    from clients.cli import main  # which catches what ends a program early

    sys.exit(main(["demo", *sys.argv[1:]]))
