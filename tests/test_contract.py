"""The contract: its generated code is current, and every element of it is explained."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from google.protobuf import descriptor_pb2

PROTO = "lenet/v1/digits.proto"
GENERATED = ("digits_pb2.py", "digits_pb2.pyi", "digits_pb2_grpc.py", "digits_pb2_grpc.pyi")


def protoc(*arguments: str) -> None:
    """Runs the compiler as `make proto` does."""
    bin_dir = Path(sys.executable).parent
    plugins = [f"--plugin=protoc-gen-{name}={bin_dir}/protoc-gen-{name}" for name in ("mypy", "mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "proto"), *plugins, *arguments, PROTO]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("name", GENERATED)
def test_committed_code_is_what_the_compiler_makes_of_the_contract(name: str, tmp_path: Path) -> None:
    """Who changes digits.proto runs `make proto` as well."""
    protoc(*(f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")))
    assert (ROOT / "proto/lenet/v1" / name).read_text() == (tmp_path / "lenet/v1" / name).read_text()


# The fields of descriptor messages that hold commented elements, and what those hold in turn, by field number.
NESTED = {
    "FileDescriptorProto": {4: "message_type", 5: "enum_type", 6: "service"},
    "DescriptorProto": {2: "field", 3: "nested_type", 4: "enum_type", 8: "oneof_decl"},
    "EnumDescriptorProto": {2: "value"},
    "ServiceDescriptorProto": {2: "method"},
}


def elements(node: object, path: tuple[int, ...] = (), name: str = "") -> list[tuple[tuple[int, ...], str]]:
    """The path and the full name of every element below a descriptor."""
    found = []
    for number, field in NESTED.get(type(node).__name__, {}).items():
        for index, child in enumerate(getattr(node, field)):
            child_path, child_name = (*path, number, index), f"{name}.{child.name}".lstrip(".")
            found += [(child_path, child_name), *elements(child, child_path, child_name)]
    return found


def test_every_element_of_the_contract_has_a_comment(tmp_path: Path) -> None:
    """A service, method, message, field, oneof, enum or value without a comment is named here."""
    protoc("--include_source_info", f"--descriptor_set_out={tmp_path / 'set'}")
    (file,) = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file
    commented = {tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()}
    all_elements = elements(file)
    assert len(all_elements) > 50
    assert [name for path, name in all_elements if path not in commented] == []


def test_methods_that_change_nothing_say_so() -> None:
    """A proxy or client may then repeat them."""
    from lenet.v1 import digits_pb2

    methods = digits_pb2.DESCRIPTOR.services_by_name["DigitClassifier"].methods
    levels = {method.name: method.GetOptions().idempotency_level for method in methods}
    no_side_effects = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    assert levels == dict.fromkeys(("Classify", "ClassifyStream", "DescribeModel"), no_side_effects)
