import { concat, utf8 } from "#protocol";

/** ONNX element types used here (TensorProto.DataType). */
const ELEMENT_TYPES = { float: 1, int64: 7, bool: 9 } as const;
/** AttributeProto.AttributeType. */
const ATTRIBUTE_TYPES = { float: 1, int: 2, graph: 5, ints: 7 } as const;
/** The operator set and IR version every graph of ours declares; onnxruntime 1.27 loads both. */
const OPSET_VERSION = 17;
const IR_VERSION = 8;

export type OnnxAttribute =
  | { readonly name: string; readonly kind: "int"; readonly value: number }
  | { readonly name: string; readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly name: string; readonly kind: "float"; readonly value: number }
  | { readonly name: string; readonly kind: "graph"; readonly value: OnnxGraph };

/** One operator of the default domain. */
export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: readonly OnnxAttribute[];
}

/** A constant; `Uint8Array` data is boolean, one byte an element. */
export interface OnnxInitializer {
  readonly name: string;
  readonly dims: readonly number[];
  readonly data: Float32Array | BigInt64Array | Uint8Array;
}

/** A graph input or output; a text dimension is symbolic. */
export interface OnnxValue {
  readonly name: string;
  readonly type: keyof typeof ELEMENT_TYPES;
  readonly dims: readonly (number | string)[];
}

/** A graph in execution order. */
export interface OnnxGraph {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxInitializer[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

/**
 * The ModelProto bytes of `graph`: IR version 8, operator set 17 of the default domain.
 *
 * Equal graphs give equal bytes, fields in ascending order of their numbers, so a digest names a graph.
 * Only the subset of ONNX written here exists: no external data, no functions, no training information.
 *
 * @param metadata - Key and value pairs, kept in the order given (ModelProto.metadata_props).
 * @see onnx/onnx.proto of ONNX 1.12 for the field numbers
 */
export function encodeModel(
  graph: OnnxGraph,
  metadata: readonly (readonly [key: string, value: string])[] = [],
): Uint8Array {
  return concat(
    integerField(1, IR_VERSION),
    textField(2, "symphony"),
    bytesField(7, encodeGraph(graph)),
    bytesField(8, integerField(2, OPSET_VERSION)),
    ...metadata.map(([key, value]) =>
      bytesField(14, concat(textField(1, key), textField(2, value))),
    ),
  );
}

function encodeGraph(graph: OnnxGraph): Uint8Array {
  return concat(
    ...graph.nodes.map((node) => bytesField(1, encodeNode(node))),
    textField(2, graph.name),
    ...graph.initializers.map((tensor) => bytesField(5, encodeTensor(tensor))),
    ...graph.inputs.map((value) => bytesField(11, encodeValue(value))),
    ...graph.outputs.map((value) => bytesField(12, encodeValue(value))),
  );
}

function encodeNode({ op, inputs, outputs, attributes = [] }: OnnxNode): Uint8Array {
  return concat(
    ...inputs.map((name) => textField(1, name)),
    ...outputs.map((name) => textField(2, name)),
    textField(4, op),
    ...attributes.map((attribute) => bytesField(5, encodeAttribute(attribute))),
  );
}

function encodeAttribute(attribute: OnnxAttribute): Uint8Array {
  return concat(
    textField(1, attribute.name),
    encodeAttributeValue(attribute),
    integerField(20, ATTRIBUTE_TYPES[attribute.kind]),
  );
}

function encodeAttributeValue(attribute: OnnxAttribute): Uint8Array {
  switch (attribute.kind) {
    case "float":
      return floatField(2, attribute.value);
    case "int":
      return integerField(3, attribute.value);
    case "graph":
      return bytesField(6, encodeGraph(attribute.value));
    case "ints":
      return concat(...attribute.value.map((value) => integerField(8, value)));
  }
}

function encodeTensor({ name, dims, data }: OnnxInitializer): Uint8Array {
  const [type, raw] = rawTensor(data);
  return concat(
    ...dims.map((dim) => integerField(1, dim)),
    integerField(2, type),
    textField(8, name),
    bytesField(9, raw),
  );
}

/** Little-endian element bytes, whatever the machine (TensorProto.raw_data). */
function rawTensor(data: OnnxInitializer["data"]): readonly [type: number, raw: Uint8Array] {
  if (data instanceof Uint8Array) return [ELEMENT_TYPES.bool, data];
  const raw = new Uint8Array(data.byteLength);
  const view = new DataView(raw.buffer);
  if (data instanceof Float32Array) {
    data.forEach((value, i) => view.setFloat32(4 * i, value, true));
    return [ELEMENT_TYPES.float, raw];
  }
  data.forEach((value, i) => view.setBigInt64(8 * i, value, true));
  return [ELEMENT_TYPES.int64, raw];
}

function encodeValue({ name, type, dims }: OnnxValue): Uint8Array {
  const shape = concat(
    ...dims.map((dim) =>
      bytesField(1, typeof dim === "string" ? textField(2, dim) : integerField(1, dim)),
    ),
  );
  const tensor = concat(integerField(1, ELEMENT_TYPES[type]), bytesField(2, shape));
  return concat(textField(1, name), bytesField(2, bytesField(1, tensor)));
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  // Negative integers travel as 64-bit two's complement.
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

function tag(field: number, wireType: number): Uint8Array {
  return varint(BigInt(field * 8 + wireType));
}

function integerField(field: number, value: number): Uint8Array {
  return concat(tag(field, 0), varint(BigInt(value)));
}

function bytesField(field: number, value: Uint8Array): Uint8Array {
  return concat(tag(field, 2), varint(BigInt(value.length)), value);
}

function textField(field: number, value: string): Uint8Array {
  return bytesField(field, utf8(value));
}

function floatField(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return concat(tag(field, 5), bytes);
}
