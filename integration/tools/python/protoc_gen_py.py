"""A plugin of protoc that generates messages and gRPC stubs for Python with the compiler inside of grpcio-tools.

The generators of Google and gRPC are part of protoc and of a C++ binary; from PyPI they come only behind grpc_tools' own
protoc. So the request is handed on to that, as a descriptor set, and its files are handed back. They bring the marker of
PEP 561 along: the stubs beside them have types.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def main() -> None:
    """Answer the one request on standard input."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(generate(request).SerializeToString())


def generate(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """Run the compiler on what the request holds."""
    response = plugin_pb2.CodeGeneratorResponse()
    response.supported_features = plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        descriptors, out = folder / "descriptors.binpb", folder / "out"
        out.mkdir()
        descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        code = protoc.main([
            "protoc", f"--descriptor_set_in={descriptors}", f"--python_out={out}", f"--grpc_python_out={out}",
            *request.file_to_generate,
        ])
        if code != 0:
            response.error = f"the protoc of grpcio-tools ended with code {code}"
            return response
        for path in sorted(p for p in out.rglob("*.py")):
            response.file.add(name=str(path.relative_to(out)), content=path.read_text(encoding="utf-8"))
    for package in sorted({name.split("/")[0] for name in request.file_to_generate}):
        response.file.add(name=f"{package}/py.typed", content="")
    return response


main()
