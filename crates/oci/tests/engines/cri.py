"""One call of the interface in cri.proto, of which protoc has made the module cri_pb2.

cri.py FOLDER-OF-THE-MODULE SOCKET METHOD REQUEST-AS-JSON: the response as JSON, or what the engine says against it.
"""

import sys

import grpc
from google.protobuf import json_format, symbol_database

folder, socket, method, text = sys.argv[1:]
sys.path.insert(0, folder)
import cri_pb2  # noqa: E402

services = cri_pb2.DESCRIPTOR.services_by_name.values()
what = next(m for s in services for m in s.methods if m.name == method)
known = symbol_database.Default()
ask, answer = (known.GetSymbol(m.full_name) for m in (what.input_type, what.output_type))
request = json_format.Parse(text, ask())
with grpc.insecure_channel(f"unix://{socket}") as channel:
    call = channel.unary_unary(
        f"/{what.containing_service.full_name}/{method}", ask.SerializeToString, answer.FromString
    )
    try:
        response = call(request, timeout=60)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
print(json_format.MessageToJson(response, including_default_value_fields=True, preserving_proto_field_name=True))
