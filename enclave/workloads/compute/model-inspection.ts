import { LimitError, MalformedError, utf8Text } from "#protocol";

/** What a model is made of, read from its bytes without running it. */
export interface ModelInspection {
  /** Operators in the graph and in every subgraph: the work one row costs, in units. */
  readonly nodes: number;
  /** The distinct operators, sorted. */
  readonly operators: readonly string[];
  /** How many `Loop` bodies lie inside one another; 0 for a flat graph. */
  readonly depth: number;
}

/** What an admitted model may be. */
export interface ModelLimits {
  readonly bytesMax: number;
  readonly nodesMax: number;
  /** 0 for `compute`, 1 for the step graph of `train`. */
  readonly depthMax: number;
}

/**
 * Operators that admitted graphs may use. All are pure and deterministic on one thread; none draws random
 * numbers, reads files or holds sequences, and `If` is absent because its cost depends on the data.
 */
const OPERATORS: ReadonlySet<string> = new Set([
  "Abs",
  "Add",
  "ArgMax",
  "BatchNormalization",
  "Cast",
  "Clip",
  "Concat",
  "Constant",
  "Div",
  "Equal",
  "Erf",
  "Exp",
  "Expand",
  "Flatten",
  "Floor",
  "Gather",
  "Gemm",
  "Greater",
  "GreaterOrEqual",
  "Identity",
  "Less",
  "LessOrEqual",
  "Log",
  "LogSoftmax",
  "Loop",
  "MatMul",
  "Max",
  "Mean",
  "Min",
  "Mul",
  "Neg",
  "Not",
  "Or",
  "And",
  "Pow",
  "Reciprocal",
  "ReduceMax",
  "ReduceMean",
  "ReduceSum",
  "Relu",
  "Reshape",
  "Round",
  "Shape",
  "Sigmoid",
  "Sign",
  "Slice",
  "Softmax",
  "Split",
  "Sqrt",
  "Squeeze",
  "Sub",
  "Sum",
  "Tanh",
  "Transpose",
  "Unsqueeze",
  "Where",
]);

const FIELDS_MAX = 1_000_000;
const MODEL_GRAPH = 7;
const MODEL_TRAINING = 20;
const MODEL_FUNCTIONS = 25;
const GRAPH_NODE = 1;
const GRAPH_INITIALIZER = 5;
const GRAPH_SPARSE_INITIALIZER = 15;
const NODE_OPERATOR = 4;
const NODE_ATTRIBUTE = 5;
const NODE_DOMAIN = 7;
const ATTRIBUTE_TENSOR = 5;
const ATTRIBUTE_GRAPH = 6;
const ATTRIBUTE_GRAPHS = 11;
const ATTRIBUTE_SPARSE_TENSOR = 22;
const TENSOR_EXTERNAL_DATA = 13;
const TENSOR_DATA_LOCATION = 14;

interface Field {
  readonly number: number;
  /** The content of a length-delimited field, else nothing. */
  readonly bytes: Uint8Array | undefined;
}

interface Tally {
  readonly limits: ModelLimits;
  readonly operators: Set<string>;
  fields: number;
  nodes: number;
  depth: number;
}

function malformed(expected: string): MalformedError {
  return new MalformedError(
    { code: "EXECUTION_WORKLOAD_FAILED" },
    `model: expected ${expected}, got another`,
  );
}

function varintAt(bytes: Uint8Array, start: number): readonly [value: number, next: number] {
  let value = 0;
  for (let i = 0; i < 10; i += 1) {
    const byte = bytes[start + i];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return [value, start + i + 1];
  }
  throw malformed("whole varints of at most ten bytes");
}

/** The fields of one protobuf message, in order; lengths never run past the message. */
function fieldsOf(bytes: Uint8Array, tally: Tally): readonly Field[] {
  const fields: Field[] = [];
  let at = 0;
  while (at < bytes.length) {
    tally.fields += 1;
    if (tally.fields > FIELDS_MAX) throw malformed(`at most ${FIELDS_MAX} protobuf fields`);
    const [key, start] = varintAt(bytes, at);
    const [length, content] = extent(bytes, key % 8, start);
    at = content + length;
    if (at > bytes.length) throw malformed("fields that end inside their message");
    const delimited = key % 8 === 2;
    fields.push({
      number: Math.floor(key / 8),
      bytes: delimited ? bytes.subarray(content, at) : undefined,
    });
  }
  return fields;
}

/** Length and start of a field's content. Groups (wire types 3 and 4) have no place in ONNX. */
function extent(
  bytes: Uint8Array,
  wireType: number,
  start: number,
): readonly [length: number, content: number] {
  switch (wireType) {
    case 0:
      return [0, varintAt(bytes, start)[1]];
    case 1:
      return [8, start];
    case 2:
      return varintAt(bytes, start);
    case 5:
      return [4, start];
    default:
      throw malformed("protobuf wire types 0, 1, 2 and 5");
  }
}

function only(fields: readonly Field[], number: number): readonly Uint8Array[] {
  return fields.flatMap((field) => {
    return field.number === number && field.bytes !== undefined ? [field.bytes] : [];
  });
}

function text(bytes: Uint8Array | undefined): string {
  try {
    return bytes === undefined ? "" : utf8Text(bytes);
  } catch (cause) {
    throw new MalformedError(
      { code: "EXECUTION_WORKLOAD_FAILED" },
      "model: expected UTF-8 names, got other bytes",
      { cause },
    );
  }
}

function visitTensor(bytes: Uint8Array, tally: Tally): void {
  const external = fieldsOf(bytes, tally).some(
    ({ number }) => number === TENSOR_EXTERNAL_DATA || number === TENSOR_DATA_LOCATION,
  );
  if (external) throw malformed("tensors inside the model, none in external files");
}

function visitNode(bytes: Uint8Array, depth: number, tally: Tally): void {
  const fields = fieldsOf(bytes, tally);
  const operator = text(only(fields, NODE_OPERATOR).at(-1));
  const domain = text(only(fields, NODE_DOMAIN).at(-1));
  if (domain !== "" || !OPERATORS.has(operator)) {
    throw malformed("admitted operators of the default domain");
  }
  tally.nodes += 1;
  tally.operators.add(operator);
  if (tally.nodes > tally.limits.nodesMax) {
    throw new LimitError(
      { code: "EXECUTION_BOUND_EXCEEDED", nodesMax: tally.limits.nodesMax },
      `model: expected at most ${tally.limits.nodesMax} operators, got more`,
    );
  }
  for (const attribute of only(fields, NODE_ATTRIBUTE)) {
    const parts = fieldsOf(attribute, tally);
    for (const tensor of only(parts, ATTRIBUTE_TENSOR)) visitTensor(tensor, tally);
    for (const graph of only(parts, ATTRIBUTE_GRAPH)) visitGraph(graph, depth + 1, tally);
    if (
      parts.some(({ number }) => number === ATTRIBUTE_GRAPHS || number === ATTRIBUTE_SPARSE_TENSOR)
    ) {
      throw malformed("no lists of graphs and no sparse tensors");
    }
  }
}

function visitGraph(bytes: Uint8Array, depth: number, tally: Tally): void {
  if (depth > tally.limits.depthMax) {
    throw malformed(`subgraphs nested at most ${tally.limits.depthMax} deep`);
  }
  tally.depth = Math.max(tally.depth, depth);
  const fields = fieldsOf(bytes, tally);
  if (only(fields, GRAPH_SPARSE_INITIALIZER).length > 0) throw malformed("no sparse initializers");
  for (const tensor of only(fields, GRAPH_INITIALIZER)) visitTensor(tensor, tally);
  for (const node of only(fields, GRAPH_NODE)) visitNode(node, depth, tally);
}

/**
 * Admits or refuses a model by its bytes: default-domain operators from a closed list, no external data, no
 * functions, no training section, bounded size, operators and nesting.
 *
 * Reads only the structure; whether shapes fit together is the runtime's to say.
 *
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED above `bytesMax` or `nodesMax`
 * @throws {@link MalformedError} EXECUTION_WORKLOAD_FAILED for anything else that is not admitted
 * @see onnx/onnx.proto of ONNX 1.12 for the field numbers
 */
export function inspectModel(bytes: Uint8Array, limits: ModelLimits): ModelInspection {
  if (bytes.length > limits.bytesMax) {
    throw new LimitError(
      { code: "EXECUTION_BOUND_EXCEEDED", bytes: bytes.length, bytesMax: limits.bytesMax },
      `model: expected at most ${limits.bytesMax} bytes, got ${bytes.length}`,
    );
  }
  const tally: Tally = { limits, operators: new Set(), fields: 0, nodes: 0, depth: 0 };
  const fields = fieldsOf(bytes, tally);
  const [graph, ...more] = only(fields, MODEL_GRAPH);
  if (graph === undefined || more.length > 0) throw malformed("exactly one graph");
  if (fields.some(({ number }) => number === MODEL_TRAINING || number === MODEL_FUNCTIONS)) {
    throw malformed("no functions and no training section");
  }
  visitGraph(graph, 0, tally);
  if (tally.nodes === 0) throw malformed("at least one operator");
  return { nodes: tally.nodes, operators: [...tally.operators].toSorted(), depth: tally.depth };
}
