import type * as Ort from "onnxruntime-node";

import { LimitError, MalformedError, RefusedError } from "#protocol";

/** A tensor as the workloads know it: flat data in row-major order and its dimensions. */
export interface OnnxTensor {
  readonly data: Float32Array | BigInt64Array | Int32Array;
  readonly dims: readonly number[];
}

/** A loaded model. One at a time may run; `close` frees native memory and is idempotent. */
export interface OnnxModel extends AsyncDisposable {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /**
   * Runs the graph once, on one thread, and copies every output.
   *
   * @throws {@link RefusedError} EXECUTION_WORKLOAD_FAILED when the runtime refuses the inputs or fails, or an
   *   output is of a type other than float, int32 or int64. The message carries nothing of the data.
   */
  run(inputs: Readonly<Record<string, OnnxTensor>>): Promise<Readonly<Record<string, OnnxTensor>>>;
  close(): Promise<void>;
}

type Runtime = typeof Ort;
type Session = Awaited<ReturnType<Runtime["InferenceSession"]["create"]>>;

const SESSION_OPTIONS = {
  executionProviders: ["cpu"],
  // One thread and one fixed optimisation level: equal inputs give equal bits on one CPU family.
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: "sequential",
  graphOptimizationLevel: "extended",
  enableCpuMemArena: false,
  logSeverityLevel: 4,
} as const;

let runtime: Promise<Runtime> | undefined;

/** The runtime is loaded on first use, so that an enclave without a model never loads the native addon. */
function loadRuntime(): Promise<Runtime> {
  // Versions after 1.27 report home unless this is set before the library loads.
  process.env["ORT_DISABLE_TELEMETRY"] = "1";
  runtime ??= import("onnxruntime-node");
  return runtime;
}

/**
 * Loads an ONNX model from its bytes; the only door to onnxruntime.
 *
 * Does not judge the graph: {@link inspectModel} does, and the digest was checked by the caller.
 * Works under `node --permission --allow-addons` with read access to the package.
 *
 * @param bytes - A ModelProto, 1 to `bytesMax` bytes; external data files are not reachable from bytes.
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED above `bytesMax`
 * @throws {@link MalformedError} EXECUTION_WORKLOAD_FAILED when the runtime cannot load it, for example because
 *   the graph uses operators of onnxruntime-training
 */
export async function loadModel(
  bytes: Uint8Array,
  { bytesMax }: { readonly bytesMax: number },
): Promise<OnnxModel> {
  if (bytes.length > bytesMax) {
    throw new LimitError(
      { code: "EXECUTION_BOUND_EXCEEDED", bytes: bytes.length, bytesMax },
      `model: expected at most ${bytesMax} bytes, got ${bytes.length}`,
    );
  }
  const ort = await loadRuntime();
  let session: Session;
  try {
    // A copy: the native side may keep its own view of what it is given.
    session = await ort.InferenceSession.create(new Uint8Array(bytes), SESSION_OPTIONS);
  } catch (cause) {
    throw new MalformedError(
      { code: "EXECUTION_WORKLOAD_FAILED", bytes: bytes.length },
      "model: expected a graph of plain ONNX operators that the runtime loads, got another",
      { cause },
    );
  }
  return wrap(ort, session);
}

function wrap(ort: Runtime, session: Session): OnnxModel {
  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    await session.release();
  };
  return {
    inputNames: [...session.inputNames],
    outputNames: [...session.outputNames],
    close,
    [Symbol.asyncDispose]: close,
    run: async (inputs) => {
      if (closed) throw failed("a model that is open");
      try {
        const feeds = Object.entries(inputs).map(([name, { data, dims }]) => {
          return [name, new ort.Tensor(data, [...dims])] as const;
        });
        const outputs = await session.run(Object.fromEntries(feeds));
        return Object.fromEntries(
          Object.entries(outputs).map(([name, { data, dims }]) => [name, copied(data, dims)]),
        );
      } catch (cause) {
        // The runtime's own message can quote values of the data, so it goes no further than `cause`.
        if (cause instanceof RefusedError) throw cause;
        throw failed("a run over inputs of the declared shapes", cause);
      }
    },
  };
}

function copied(data: unknown, dims: readonly number[]): OnnxTensor {
  if (data instanceof Float32Array) return { data: new Float32Array(data), dims: [...dims] };
  if (data instanceof BigInt64Array) return { data: new BigInt64Array(data), dims: [...dims] };
  if (data instanceof Int32Array) return { data: new Int32Array(data), dims: [...dims] };
  throw failed("outputs of type float, int32 or int64");
}

function failed(expected: string, cause?: unknown): RefusedError {
  return new RefusedError(
    { code: "EXECUTION_WORKLOAD_FAILED" },
    `model: expected ${expected}, got a failure of the runtime`,
    { cause },
  );
}
