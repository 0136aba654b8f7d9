"""The command `lenet`: asks a server from the terminal.

Answers go to stdout and failures to stderr, one line each, never a traceback. A command asks, hands what it got to
report.py for the wording, and returns its exit status.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from clients import report
from clients.calls import DEFAULT_TARGET, DEFAULT_TIMEOUT_S
from clients.client import Client
from clients.messages import Classification
from clients.outcome import INTERRUPTED, NO_SERVER, OK, PIPE_CLOSED, REFUSED, USAGE, Failures, complain, reason

# A file, the answer for it or None, whether it is probably no digit, and why there is no answer.
Answer: TypeAlias = tuple[str, Classification | None, bool, str | None]

app = cyclopts.App(
    name="lenet",
    help="Ask a LeNet server which digits are in pictures, and what its layers made of them.",
    help_epilogue=(
        "Exit status: 0 all was answered; 1 some input was refused, a file could not be read or written, or the demo "
        "failed; 2 wrong usage; 3 the server could not be reached, did not answer in time or failed."
    ),
    suppress_keyboard_interrupt=False,
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What every command takes."""

    server: Annotated[str, Parameter(env_var="LENET_SERVER")] = DEFAULT_TARGET
    """The server's address, host:port."""

    timeout_s: Annotated[float, Parameter(validator=Number(gt=0))] = DEFAULT_TIMEOUT_S
    """How long each call may take, in seconds."""

    json: Annotated[bool, Parameter(negative="")] = False
    """Print one JSON document instead of text."""

    def client(self) -> Client:
        """Makes a client that asks this server."""
        return Client(self.server, timeout_s=self.timeout_s)


def _no_options(_: object, files: str | list[str]) -> None:
    for file in [files] if isinstance(files, str) else files:
        if file.startswith("-") and file != "-":
            raise ValueError(f"There is no option {file}; a file of this name is ./{file}")


# What begins with a hyphen must be allowed for the sake of the hyphen that is alone.
_PICTURES = Parameter(allow_leading_hyphen=True, validator=_no_options)


@app.command
def classify(files: Annotated[list[str], _PICTURES], /, *, options: Options = Options()) -> int:
    """Tells which digit is in each picture, and whether it is one at all.

    Parameters
    ----------
    files
        PNG or JPEG files of one digit each; - is standard input.
    """
    failures = Failures()
    with options.client() as client:
        answers = _answers(client, files, failures)
        if options.json:
            _print_json({"results": [report.classification_json(*each) for each in answers]})
        else:
            _print_rows(answers, max(map(len, files)))
    return failures.status


@app.command
def features(
    file: Annotated[str, _PICTURES],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")] = Path("maps.png"),
    options: Options = Options(),
) -> int:
    """Makes a picture of what each layer of the model made of one digit.

    Parameters
    ----------
    file
        PNG or JPEG file of one digit; - is standard input.
    output
        The picture to write; its ending decides the format: png, pdf or svg.
    """
    failures = Failures()
    answer, doubted = None, False
    with failures.reported(file), options.client() as client:
        model = client.describe()
        layers = [layer.name for layer in model.layers if layer.has_feature_map]
        answer = client.classify(_picture(file), feature_maps=layers)
        doubted = bool(model.doubts(answer).any())
    if answer:
        from clients import picture  # matplotlib takes long to import

        with failures.reported(str(output)):
            picture.save(answer, output, title=f"{file}: {answer.digits[0]}")
    written = str(output) if answer and not failures.last else None
    if options.json:
        shapes = {name: maps.shape for name, maps in answer.feature_maps.items()} if answer else None
        result = report.classification_json(file, answer, doubted, failures.last)
        _print_json({**result, "feature_maps": shapes, "picture": written})
    elif answer and written:
        verdict = f" {report.NOT_A_DIGIT}" if doubted else ""
        print(f"{file}: {answer.digits[0]} ({answer.probabilities[0].max():.1%}){verdict}, maps in {written}")
    return failures.status


@app.command
def describe(*, options: Options = Options()) -> int:
    """Describes the model that is being served: layers, accuracy, limits, and what it runs on."""
    failures = Failures()
    model = None
    with failures.reported(), options.client() as client:
        model = client.describe()
    if options.json:
        _print_json(report.model_json(model, failures.last))
    elif model:
        print(report.model_text(model))
    return failures.status


@app.command
def health(*, options: Options = Options()) -> int:
    """Tells whether the server is ready; the exit status is 0 only if it says SERVING, else 3."""
    from clients.health import check  # needs a package that nothing else here needs

    failures = Failures()
    status = None
    with failures.reported():
        status = check(options.server, timeout_s=options.timeout_s)
    if options.json:
        _print_json({"status": status, "error": failures.last})
    elif status:
        print(status)
    return OK if status == "SERVING" else NO_SERVER


app.command("clients.demo:demo", name="demo", help="Shows it all at work on drawn digits, with a server of its own.")
app.command("clients.playground.command:playground", name="playground", help="Serves a page on which to draw a digit.")


def main(tokens: list[str] | None = None) -> int:
    """Runs a command line, this process's own by default, and returns the exit status."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    try:
        status = app(tokens, exit_on_error=False, print_error=False, result_action="return_value") or OK
        if sys.stdout:
            sys.stdout.flush()  # here a closed pipe can still be caught; when Python exits it no longer can
    except cyclopts.CycloptsError as error:
        return complain(f"{error} (lenet --help tells more)", USAGE)
    except ImportError as error:  # of a command that is imported only when it is wanted
        return complain(f"{error.__cause__ or error}; install lenet-lens[cli,playground]", REFUSED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if sys.stdout:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes when it exits
        if isinstance(error, BrokenPipeError):
            return PIPE_CLOSED
        return complain(f"{error.filename or 'standard output'}: {reason(error)}", REFUSED)
    return int(status)


def _answers(client: Client, files: list[str], failures: Failures) -> Iterator[Answer]:
    model = None
    with failures.reported():
        model = client.describe()
    for file in files:
        answer = None
        if failures.status != NO_SERVER:  # else this file would only wait for the server again
            with failures.reported(file):
                answer = client.classify(_picture(file))
        doubted = bool(model and answer and model.doubts(answer).any())
        yield file, answer, doubted, failures.last


def _print_rows(answers: Iterator[Answer], file_width: int) -> None:
    header: str | None = report.classification_header(file_width)
    for file, answer, doubted, _ in answers:
        if answer:
            if header:
                print(header)
                header = None
            print(report.classification_row(file_width, file, answer, doubted), flush=True)


def _picture(file: str) -> str | bytes:
    return sys.stdin.buffer.read() if file == "-" else file


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document))


if __name__ == "__main__":
    sys.exit(main())
