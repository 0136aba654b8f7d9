"""The two messages of the Open Inference Protocol that this benchmark needs, without the fields that it does not.

Described here rather than compiled: the published stubs would clash with those that a peer brings.
"""

from typing import Any

from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

_SUBSET = """
name: "benchmarks/open_inference_subset.proto" package: "inference" syntax: "proto3"
message_type {
  name: "ModelInferRequest"
  field { name: "model_name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "inputs" number: 5 type: TYPE_MESSAGE label: LABEL_REPEATED
          type_name: ".inference.ModelInferRequest.Tensor" }
  field { name: "raw_input_contents" number: 7 type: TYPE_BYTES label: LABEL_REPEATED }
  nested_type {
    name: "Tensor"
    field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "datatype" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "shape" number: 3 type: TYPE_INT64 label: LABEL_REPEATED }
  }
}
message_type {
  name: "ModelInferResponse"
  field { name: "raw_output_contents" number: 6 type: TYPE_BYTES label: LABEL_REPEATED }
}
"""

_pool = descriptor_pool.DescriptorPool()
_file = _pool.AddSerializedFile(text_format.Parse(_SUBSET, FileDescriptorProto()).SerializeToString())
ModelInferRequest: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("inference.ModelInferRequest"))
ModelInferResponse: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("inference.ModelInferResponse"))
