import { parseNitroDocument, verifyNitroDocument } from "../../../attestation/index.ts";
import { concat } from "../../../protocol/index.ts";
import { ANCHOR, NOW } from "../../attestation/forge.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";
import { CBOR_GROWN, changedCbor } from "./cbor.ts";
import { envelope, signedDocuments } from "./nitro-seeds.ts";
import { PATH_CODES, PATH_STAGES, alternating } from "./path.ts";

const BYTES_MAX = 0x3000;
const PARSE_STAGES = [
  { name: "size", functions: ["parseNitroDocument"] },
  { name: "envelope", functions: ["parseEnvelope", "payloadLength"] },
  { name: "cbor", functions: ["decodeHardwareCbor"] },
  { name: "fields", functions: ["parsePayload"] },
] as const;

/** `attestation/nitro/document.ts`: shape only. */
export const nitroDocument: Target = {
  name: "nitro-document",
  bytesMax: BYTES_MAX,
  codes: ["TEE_DOCUMENT_MALFORMED", "TEE_DOCUMENT_TOO_LARGE"],
  stages: PARSE_STAGES,
  steps: { perByte: 14, fixed: 4000 },
  allocation: { perByte: 320, fixed: 64 * 1024 },
  shortInputs: 10_000,
  open: () => {
    const seeds = signedDocuments();
    const payloads = seeds.map((document) => parseNitroDocument(document).payload);
    return {
      generate: (random) => documentOf(random, { seeds, payloads, deep: 2 }),
      run: accepting(parseNitroDocument),
      grown: IN_ENVELOPES,
    };
  },
};

/** The whole of `verifyNitroDocument` on documents that the simulator signed and something changed. */
export const nitroVerify: Target = {
  name: "nitro-verify",
  bytesMax: BYTES_MAX,
  codes: [
    "TEE_DOCUMENT_MALFORMED",
    "TEE_DOCUMENT_TOO_LARGE",
    ...PATH_CODES,
    "TEE_SIGNATURE_INVALID",
  ],
  stages: [
    ...PARSE_STAGES,
    ...PATH_STAGES,
    { name: "signature", functions: ["verifyNitroDocument"] },
  ],
  steps: { perByte: 14, fixed: 12_000 },
  allocation: { perByte: 320, fixed: 256 * 1024 },
  shortInputs: 2000,
  open: () => {
    const seeds = signedDocuments();
    const payloads = seeds.map((document) => parseNitroDocument(document).payload);
    const at = alternating(NOW);
    return {
      generate: (random) => documentOf(random, { seeds, payloads, deep: 60 }),
      run: accepting((input) => verifyNitroDocument(input, [ANCHOR], at(input))),
      grown: IN_ENVELOPES,
    };
  },
};

/** Worst shapes as payloads, with the head that makes them one. */
const IN_ENVELOPES = Object.fromEntries(
  Object.entries(CBOR_GROWN).map(([shape, make]) => [
    shape,
    (bytes: number) => envelope(make(Math.min(bytes, 65_000))),
  ]),
);

interface Seeds {
  readonly seeds: readonly Uint8Array[];
  readonly payloads: readonly Uint8Array[];
  /** One input in so many is changed as little as it takes to get through the certificates. */
  readonly deep: number;
}

function documentOf(random: Random, { seeds, payloads, deep }: Seeds): Uint8Array {
  if (random.once(deep)) return slightlyChanged(random, random.pick(seeds));
  switch (random.below(8)) {
    case 0:
      return random.bytes(random.length(BYTES_MAX + 64));
    case 1:
      return concat(random.pick(seeds), random.bytes(random.length(BYTES_MAX)));
    case 2:
      return frontChanged(random, random.pick(seeds));
    default:
      return envelope(changedCbor(random, payloads, deep > 8 ? 3 : 1));
  }
}

/** Nothing, one bit anywhere, or the signature: mostly gets as far as a signature. */
function slightlyChanged(random: Random, document: Uint8Array): Uint8Array {
  if (random.once(8)) return document;
  const from = random.once(2) ? document.length - 96 : 0;
  const at = from + random.below(document.length - from);
  return document.with(at, (document[at] ?? 0) ^ (1 << random.below(8)));
}

function frontChanged(random: Random, document: Uint8Array): Uint8Array {
  return concat(mutate(random, document.subarray(0, 12)), document.subarray(12));
}
