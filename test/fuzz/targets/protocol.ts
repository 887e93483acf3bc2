import {
  EVIDENCE_SECTIONS,
  FrameReader,
  concat,
  cosignCheckpoint,
  decodeCbor,
  encodeCbor,
  encodeEvidence,
  encodeFrame,
  parseEvidence,
  signCheckpoint,
  signCose,
  signingKeyFromSeed,
  utf8,
  verifyCheckpoint,
  verifyCose,
} from "../../../protocol/index.ts";
import { anyCbor, canonical, changeCbor, readCbor, writeCbor } from "../cbor-tree.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { ACCEPTED, accepting, type Target } from "../target.ts";
import { CBOR_GROWN } from "./cbor.ts";

const zeros = (bytes: number): Uint8Array => new Uint8Array(bytes);
const KEY = signingKeyFromSeed(zeros(32));
const WITNESS = signingKeyFromSeed(zeros(32).fill(1));
const BYTES_MAX = 256 * 1024;
const FRAME_BYTES_MAX = 64 * 1024;

/** `FrameReader`. The first octet says in how large pieces the bytes come. */
const frames: Target = {
  name: "frames",
  bytesMax: FRAME_BYTES_MAX,
  codes: ["SCHEMA_TOO_LARGE"],
  stages: [
    { name: "length", functions: ["push"] },
    { name: "part of a frame", functions: [] },
  ],
  steps: { perByte: 10, fixed: 500 },
  allocation: { perByte: 900, fixed: 64 * 1024 },
  shortInputs: 10_000,
  open: () => ({
    generate: (random) => {
      const count = random.below(random.once(16) ? 40 : 4);
      const payloads = Array.from({ length: count }, () => random.bytes(random.length(500)));
      const stream = concat(...payloads.map(encodeFrame));
      const piece = Uint8Array.of(random.once(8) ? 1 : random.below(256));
      return concat(piece, random.once(2) ? mutate(random, stream) : stream);
    },
    run: (input) => {
      const reader = new FrameReader(FRAME_BYTES_MAX);
      const step = input[0] === 0 ? input.length : (input[0] ?? 1);
      let count = 0;
      for (let at = 1; at < input.length; at += step) {
        count += reader.push(input.subarray(at, at + step)).length;
      }
      return count > 0 ? ACCEPTED : "part of a frame";
    },
    grown: {
      "one frame, octet by octet": (bytes) => concat(Uint8Array.of(1), encodeFrame(zeros(bytes))),
      "empty frames": (bytes) => zeros(bytes),
      "empty frames, octet by octet": (bytes) => zeros(bytes).with(0, 1),
    },
  }),
};

/** `decodeCbor`: canonical CBOR. */
const canonicalCbor: Target = {
  name: "canonical-cbor",
  bytesMax: BYTES_MAX,
  codes: ["SCHEMA_TOO_LARGE", "SCHEMA_CBOR_MALFORMED"],
  stages: [
    { name: "item", functions: ["decodeCbor"] },
    { name: "value", functions: ["refuseUncommittable"] },
  ],
  steps: { perByte: 28, fixed: 3000 },
  allocation: { perByte: 400, fixed: 64 * 1024 },
  shortInputs: 10_000,
  open: () => ({
    generate: (random) => {
      const tree = anyCbor(random, random.pick([2, 4, 9]));
      if (random.once(8)) return random.bytes(random.length(4096));
      const bytes = writeCbor(random.once(4) ? tree : canonical(tree), random);
      return random.once(8) ? mutate(random, bytes) : bytes;
    },
    run: accepting((input) => decodeCbor(input, BYTES_MAX)),
    grown: CBOR_GROWN,
  }),
};

/** `verifyCose`: a signed object of the protocol. */
const cose: Target = {
  name: "cose",
  bytesMax: BYTES_MAX,
  codes: ["SCHEMA_TOO_LARGE", "SCHEMA_CBOR_MALFORMED", "PROOF_SIGNATURE_INVALID"],
  stages: [
    { name: "item", functions: ["decodeCbor"] },
    { name: "envelope", functions: ["parseCose"] },
    { name: "header", functions: ["decodeCborHeader", "parseProtected"] },
    { name: "signature", functions: ["verifyCose"] },
  ],
  steps: { perByte: 28, fixed: 3000 },
  allocation: { perByte: 400, fixed: 64 * 1024 },
  shortInputs: 5000,
  open: () => {
    const seeds = ["fuzz", "other"].map((contentType) =>
      signCose({ contentType, payload: utf8("a payload"), key: KEY }),
    );
    return {
      generate: (random) => {
        if (random.once(16)) return random.bytes(random.length(4096));
        return changedCanonical(random, seeds);
      },
      run: accepting((input) =>
        verifyCose(input, { contentType: "fuzz", publicKey: KEY.publicKey, maxBytes: BYTES_MAX }),
      ),
      grown: CBOR_GROWN,
    };
  },
};

function changedCanonical(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  const seed = random.pick(seeds);
  if (random.once(3)) return mutate(random, seed, seeds);
  const tree = changeCbor(random, readCbor(seed));
  return writeCbor(random.once(8) ? tree : canonical(tree), random);
}

const ORIGIN = "symphony.log/fuzz/actor";
const LOG = { name: ORIGIN, publicKey: KEY.publicKey };
const WITNESSES = [{ name: "witness", publicKey: WITNESS.publicKey }];

/** `verifyCheckpoint`: a C2SP note. */
const checkpoint: Target = {
  name: "checkpoint",
  bytesMax: 64 * 1024,
  codes: ["SCHEMA_TOO_LARGE", "PROOF_CHECKPOINT_INVALID"],
  stages: [
    { name: "text", functions: ["requireText"] },
    { name: "note", functions: ["parseNote", "parseSize", "parseRoot"] },
    { name: "signature lines", functions: ["parseSignatureLine"] },
    { name: "signatures", functions: ["verifyCheckpoint", "isSignedBy"] },
  ],
  steps: { perByte: 2, fixed: 500 },
  allocation: { perByte: 128, fixed: 64 * 1024 },
  shortInputs: 5000,
  open: () => {
    const note = signCheckpoint({
      origin: ORIGIN,
      size: 5,
      root: zeros(32),
      signerName: ORIGIN,
      key: KEY,
    });
    const cosigned = cosignCheckpoint(note, {
      signerName: "witness",
      key: WITNESS,
      timeSeconds: 1,
    });
    const seeds = [note, cosigned].map(utf8);
    return {
      generate: (random) => {
        if (random.once(8)) return random.bytes(random.length(4096));
        return random.once(8) ? random.pick(seeds) : mutate(random, random.pick(seeds), seeds);
      },
      run: accepting((input) =>
        verifyCheckpoint(Buffer.from(input).toString("utf8"), {
          origin: ORIGIN,
          log: LOG,
          witnesses: WITNESSES,
          quorum: 1,
        }),
      ),
      grown: {
        "signature lines": (bytes) => {
          const [, line = ""] = note.split("\n\n");
          return utf8(note + line.repeat(bytes / line.length));
        },
        lines: (bytes) => zeros(bytes).fill(10),
        "spaces in a line": (bytes) => utf8(`${note}\u2014 ${" ".repeat(bytes)}\n`),
      },
    };
  },
};

/** `parseEvidence`: the file that an auditor is given. */
const evidenceFile: Target = {
  name: "evidence-file",
  bytesMax: BYTES_MAX,
  codes: [
    "SCHEMA_TOO_LARGE",
    "SCHEMA_CBOR_MALFORMED",
    "SCHEMA_MALFORMED",
    "PROOF_BUNDLE_MALFORMED",
  ],
  stages: [
    { name: "item", functions: ["decodeCbor"] },
    { name: "fields", functions: ["parseWith"] },
  ],
  steps: { perByte: 28, fixed: 10_000 },
  allocation: { perByte: 400, fixed: 256 * 1024 },
  shortInputs: 2000,
  open: () => {
    const list = [utf8("signed")];
    const log = {
      actor_id: "actor",
      checkpoint: "text",
      events: [],
      cosigned: null,
      heads: [{ size: 1, proof: [zeros(32)] }],
    };
    const evidence = {
      governance: utf8("governance"),
      envelope: utf8("envelope"),
      decisions: list,
      messages: [],
      consumption: list,
      challenges: [],
      settlement: utf8("settlement"),
      delivery: list,
      logs: [log],
    };
    const file = encodeEvidence({ evidence, taskId: "task", coordinatorKey: KEY });
    const { parts, seal } = parseEvidence(file);
    return {
      generate: (random) => {
        if (random.once(16)) return random.bytes(random.length(4096));
        if (random.once(6)) return changedCanonical(random, [file]);
        const section = random.pick(EVIDENCE_SECTIONS);
        const changed = { ...parts, [section]: changedCanonical(random, [parts[section]]) };
        const body = encodeCbor(changed);
        return encodeCbor({ format: "symphony-evidence", version: 1, body, seal });
      },
      run: accepting(parseEvidence),
      grown: CBOR_GROWN,
    };
  },
};

/** What hosts and enclaves read beside attestation. */
export const protocolTargets: readonly Target[] = [
  frames,
  canonicalCbor,
  cose,
  checkpoint,
  evidenceFile,
];
