import { Duplex } from "node:stream";

import { decodeHardwareCbor } from "../../../attestation/index.ts";
import { createNsmClient, type NsmClient } from "../../../enclave/adapters/nsm.ts";
import { SymphonyError, concat, encodeCbor, encodeFrame, utf8 } from "../../../protocol/index.ts";
import { InsecureSimNsm } from "../../../sim/nsm.ts";
import { InsecureSimPlatform } from "../../../sim/platform.ts";
import { MODULE_ID, NOW, forgeChain, forgePcrs, keyAt } from "../../attestation/forge.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { ACCEPTED, type Target } from "../target.ts";
import { CBOR_GROWN, changedCbor } from "./cbor.ts";

const REQUEST_BYTES_MAX = 0x1000;
const RESPONSE_BYTES_MAX = 0x3000;

/** Requests to the simulator's NSM, which answers everything and throws nothing. */
export const nsmRequest: Target = {
  name: "nsm-request",
  bytesMax: REQUEST_BYTES_MAX,
  codes: [],
  stages: [
    { name: "size", functions: [] },
    { name: "cbor", functions: [] },
    { name: "call", functions: [] },
    { name: "fields", functions: [] },
  ],
  steps: { perByte: 28, fixed: 10_000 },
  allocation: { perByte: 640, fixed: 256 * 1024 },
  shortInputs: 5000,
  open: () => {
    const requests = REQUESTS.map(encodeCbor);
    let [nsm, calls] = [createNsm(), 0];
    return {
      generate: (random) => requestOf(random, requests),
      run: (input) => {
        // Calls change registers and locks: now and then everything is new again.
        calls += 1;
        if (calls % 256 === 0) nsm = createNsm();
        return requestStage(input, nsm.handle(input));
      },
      grown: CBOR_GROWN,
    };
  },
};

const REQUESTS = [
  "DescribeNSM",
  "GetRandom",
  { DescribePCR: { index: 4 } },
  { ExtendPCR: { index: 16, data: utf8("data") } },
  { LockPCR: { index: 17 } },
  { LockPCRs: { range: 20 } },
  { Attestation: { nonce: utf8("nonce"), user_data: null, public_key: new Uint8Array(294) } },
] as const;

const PLATFORM = new InsecureSimPlatform("/nonexistent", {
  key: keyAt(0),
  certificate: forgeChain()[0] ?? utf8(""),
});
const LEAF = PLATFORM.issueLeaf({ moduleId: MODULE_ID, nowMs: NOW });
PLATFORM.issueLeaf = () => LEAF;

function createNsm(): InsecureSimNsm {
  return new InsecureSimNsm({
    platform: PLATFORM,
    pcrs: new Map([...forgePcrs()].filter(([index]) => index < 16)),
    moduleId: MODULE_ID,
    nowMs: () => NOW,
    random: (bytes) => new Uint8Array(bytes),
  });
}

function requestOf(random: Random, requests: readonly Uint8Array[]): Uint8Array {
  switch (random.below(8)) {
    case 0:
      return random.bytes(random.length(REQUEST_BYTES_MAX + 64));
    case 1:
      return concat(random.pick(requests), random.bytes(random.length(REQUEST_BYTES_MAX)));
    case 2:
      return random.pick(requests);
    case 3:
      return mutate(random, random.pick(requests), requests);
    default:
      return changedCbor(random, requests);
  }
}

const FIELD_ERRORS: readonly unknown[] = ["InvalidIndex", "ReadOnlyIndex"];

/** From the answer, and for what is no call from whether it was CBOR. */
function requestStage(request: Uint8Array, answer: Uint8Array): string {
  const decoded = decodeHardwareCbor(answer, RESPONSE_BYTES_MAX);
  const error = decoded instanceof Map ? decoded.get("Error") : undefined;
  if (error === undefined) return ACCEPTED;
  if (error === "InputTooLarge" && request.length > REQUEST_BYTES_MAX) return "size";
  if (error === "InputTooLarge" || FIELD_ERRORS.includes(error)) return "fields";
  if (error !== "InvalidOperation") return "an unknown error";
  try {
    decodeHardwareCbor(request, REQUEST_BYTES_MAX);
    return "call";
  } catch (fault) {
    if (fault instanceof SymphonyError) return "cbor";
    throw fault;
  }
}

/** Answers of an NSM to the enclave's client. The first octet names the call, the second how the stream behaves. */
export const nsmResponse: Target = {
  name: "nsm-response",
  bytesMax: RESPONSE_BYTES_MAX,
  codes: ["TEE_NSM_FAILED", "TEE_NSM_REFUSED"],
  stages: [
    { name: "frame", functions: ["createNsmClient", "push", "breakOff"] },
    { name: "cbor", functions: ["decodeResponse", "decodeHardwareCbor"] },
    { name: "answer", functions: ["parseResponse", "fieldsOf", "expectName"] },
    { name: "fields", functions: ["bytesOf", "parsePcr", "parseDescription"] },
  ],
  steps: { perByte: 14, fixed: 5000 },
  allocation: { perByte: 256, fixed: 128 * 1024 },
  shortInputs: 3000,
  open: () => {
    const answers = ANSWERS.map(encodeCbor);
    return {
      generate: (random) => {
        const at = random.below(CALLS.length);
        const own = answers[at] ?? utf8("");
        const first = Uint8Array.of(at, random.once(8) ? random.below(256) : 0);
        if (random.once(8))
          return concat(first, random.bytes(random.length(RESPONSE_BYTES_MAX + 64)));
        if (random.once(8)) return concat(first, own);
        return concat(first, changedCbor(random, random.once(4) ? answers : [own]));
      },
      run: async (input) => {
        const [at = 0, behaviour = 0] = input;
        const call = CALLS[at % CALLS.length];
        await call?.(createNsmClient(new AnswerStream(input.subarray(2), behaviour)));
        return ACCEPTED;
      },
      grown: Object.fromEntries(
        Object.entries(CBOR_GROWN).map(([shape, make]) => [
          shape,
          (bytes: number) => concat(Uint8Array.of(0, 0), make(bytes)),
        ]),
      ),
    };
  },
};

type Call = (client: NsmClient) => Promise<unknown>;

const CALLS: readonly Call[] = [
  (client) => client.describe(),
  (client) => client.random(16),
  (client) => client.describePcr(4),
  (client) => client.extendPcr(16, utf8("data")),
  (client) => client.lockPcr(17),
  (client) => client.lockPcrs(20),
  (client) => client.attest({ nonce: null, userData: null, publicKey: null }),
];

const ANSWERS = [
  {
    DescribeNSM: {
      version_major: 1,
      version_minor: 0,
      version_patch: 0,
      module_id: MODULE_ID,
      max_pcrs: 32,
      locked_pcrs: [0, 1, 2, 3, 4],
      digest: "SHA384",
    },
  },
  { GetRandom: { random: new Uint8Array(256) } },
  { DescribePCR: { lock: true, data: new Uint8Array(48) } },
  { ExtendPCR: { data: new Uint8Array(48) } },
  "LockPCR",
  "LockPCRs",
  { Attestation: { document: new Uint8Array(4000) } },
  { Error: "InvalidIndex" },
] as const;

/** A stream that answers the first request with `response` and ends. */
class AnswerStream extends Duplex {
  readonly #response: Uint8Array;
  readonly #behaviour: number;

  constructor(response: Uint8Array, behaviour: number) {
    super();
    this.#response = response;
    this.#behaviour = behaviour;
  }

  override _read(): void {}

  override _write(_request: Uint8Array, _encoding: string, done: () => void): void {
    const isFramed = this.#behaviour % 4 !== 1;
    const bytes = isFramed ? encodeFrame(this.#response) : this.#response;
    const cut = this.#behaviour % bytes.length || bytes.length;
    if (bytes.length > 0) this.push(bytes.subarray(0, cut));
    if (cut < bytes.length) this.push(bytes.subarray(cut));
    this.push(null);
    done();
  }
}
