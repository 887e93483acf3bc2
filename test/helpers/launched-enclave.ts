import type { EnclaveHandle } from "../../host/index.ts";
import {
  FrameReader,
  decodeCbor,
  encodeCbor,
  encodeFrame,
  enclaveResponseSchema,
  type EnclaveResponse,
} from "../../protocol/index.ts";
import type { EnclaveEnd } from "./enclave-rig.ts";

/** An enclave that a launcher is starting, as something that answers; its requests wait for it. */
export function launchedEnd(starting: Promise<EnclaveHandle>): EnclaveEnd {
  const answering = starting.then(answeringEnd);
  // Told to whoever calls it.
  answering.catch(() => undefined);
  return { call: async (request) => (await answering).call(request) };
}

function answeringEnd({ channel, exited }: EnclaveHandle): EnclaveEnd {
  const reader = new FrameReader();
  const waiting: ((response: EnclaveResponse) => void)[] = [];
  channel.on("data", (chunk: Uint8Array) => {
    for (const frame of reader.push(chunk))
      waiting.shift()?.(enclaveResponseSchema.parse(decodeCbor(frame)));
  });
  return {
    call: (request) =>
      new Promise((resolve, reject) => {
        waiting.push(resolve);
        void exited.then(() => reject(new Error("enclave: expected an answer, got its end")));
        channel.write(encodeFrame(encodeCbor(request)));
      }),
  };
}
