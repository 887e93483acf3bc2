import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { format, resolveConfig } from "prettier";
import { z } from "zod";

import { NITRO_DOCUMENT_BYTES_MAX, parseNitroDocument } from "../../../attestation/index.ts";
import { encodeCbor, fromHex, hex } from "../../../protocol/index.ts";
import { encodePcrs } from "../../../sim/cose.ts";
import {
  ANCHOR,
  IMAGE,
  NONCE,
  NOW,
  forgeDocument,
  forgePcrs,
  policyOf,
} from "../../attestation/forge.ts";
import { aEnvelope } from "./cases/a-envelope.ts";
import { bMalleable } from "./cases/b-malleable.ts";
import { cCbor } from "./cases/c-cbor.ts";
import { cIdentity } from "./cases/c-identity.ts";
import { cPayload, largeDocument, shortChain } from "./cases/c-payload.ts";
import { dCertificate, longLeaf } from "./cases/d-certificate.ts";
import { dChain } from "./cases/d-chain.ts";
import { dExtensions } from "./cases/d-extensions.ts";
import { dRoots } from "./cases/d-roots.ts";
import { eExpectations } from "./cases/e-expectations.ts";
import { DOCUMENT, P384_ORDER, SIM_BASE, withBytes, type Case } from "./cases/case.ts";
import { ePolicy } from "./cases/e-policy.ts";
import { diffEdits } from "./diff.ts";
import { partsOf } from "./evaluate.ts";
import { isPresent, loadBases, readReference } from "./load.ts";
import type { Base, VectorInput } from "./schema.ts";

/**
 * Writes categories A to E and their bases anew, with fresh keys: `node test/vectors/attestation/generate.ts`.
 *
 * Cases on genuine evidence need the folder SYMPHONY_SHARED; without it nothing is written.
 */

const plainSchema = z.record(z.string(), z.json());
const FOLDER = import.meta.dirname;
const GENUINE = "shared:nitro/evervault-prod-signed-2022-10-13.cose";
const GENUINE_INDEFINITE = "shared:nitro/base-prod-indef-2026-01-03.cose";
const UNBOUND = { unchecked: "a document without it" };
const UNBOUND_POLICY = { nonce: UNBOUND, userData: UNBOUND, publicKey: UNBOUND };
const GENUINE_DEBUG = [
  "automata-sample1-debug-2024-08-16.cose",
  "blocky-debug-maxfields-2024-09-07.cose",
  "distlab-debug-indef-pk65-2025-08-18.cose",
  "evervault-debug-2022-10-12.cose",
  "evervault-debug-nonce256-2023-09-18.cose",
];
if (!isPresent([GENUINE]))
  throw new Error("SYMPHONY_SHARED: expected the genuine vectors, got none");

mkdirSync(join(FOLDER, "bases"), { recursive: true });
writeFileSync(join(FOLDER, "bases", "sim-root.der"), ANCHOR.certificate);
await writeBases();
const bases = loadBases();
await writeCategory("A", "a-envelope", aEnvelope(readReference(GENUINE)));
await writeCategory("B", "b-malleable", bMalleable(readReference(GENUINE)));
await writeCategory("C", "c-payload", [...cPayload(), ...cIdentity(), ...cCbor()]);
await writeCategory("D", "d-chain", [
  ...dRoots(),
  ...dChain(true),
  ...dCertificate(),
  ...dExtensions(),
]);
await writeCategory("E", "e-policy", [...ePolicy(GENUINE_DEBUG), ...eExpectations()]);

async function writeCategory(letter: string, name: string, cases: readonly Case[]): Promise<void> {
  const vectors = cases.map((each, index) => vectorOf(each, `${letter}-${pad(index + 1)}`));
  await writeJson(`${name}.json`, vectors);
}

function vectorOf(
  { document, base = SIM_BASE, source, ...rest }: Case,
  number: string,
): VectorInput {
  const { title, ...fields } = rest;
  const original = partsOf(baseOf(base)).get("document");
  if (original === undefined) throw new Error(`${base}: expected a document, got none`);
  return {
    number,
    title,
    source: source ?? (base === SIM_BASE ? "synthetic" : "damaged"),
    base,
    ...(document === undefined ? {} : { edits: diffEdits(original, document) }),
    ...fields,
  };
}

function pad(number: number): string {
  return `${number}`.padStart(2, "0");
}

function baseOf(name: string): Base {
  const base = bases.get(name);
  if (base === undefined) throw new Error(`base: expected ${name}, got none`);
  return base;
}

/** Writes a file the formatter leaves alone, except that an edit stays on one line. */
async function writeJson(name: string, value: unknown): Promise<void> {
  const file = join(FOLDER, name);
  const options = { ...(await resolveConfig(file)), filepath: file };
  writeFileSync(file, await format(JSON.stringify(value), options));
}

/** Documents that must be accepted, whatever else is refused. */
async function writeBases(): Promise<void> {
  for (const [name, base] of Object.entries({ ...forms(), ...limits(), ...moments() })) {
    await writeBase(name, base);
  }
  await writeGenuine("nitro-genuine", GENUINE);
  await writeGenuine("nitro-genuine-indefinite", GENUINE_INDEFINITE);
}

/** The forms that one document may have. */
function forms(): Readonly<Record<string, Simulated>> {
  const pcrs = forgePcrs();
  for (const index of [5, 6, 7, 9, 10, 11, 12, 13, 14, 15]) pcrs.delete(index);
  const none = fromHex("f6");
  const all = (value: Uint8Array | null) =>
    forgeDocument({ fields: { nonce: value, user_data: value, public_key: value } });
  const title = "a production enclave's document, signed by the simulator";
  return {
    [SIM_BASE]: { title, document: DOCUMENT },
    "nitro-definite": {
      title: "a payload map of definite length",
      document: forgeDocument({ length: "definite" }),
    },
    "nitro-tagged": {
      title: "tag 18 before the array",
      document: Uint8Array.of(0xd2, ...DOCUMENT),
    },
    "nitro-high-s": {
      title: "s in the upper half, as ECDSA allows",
      document: highS(DOCUMENT),
    },
    "nitro-sparse": {
      title: "PCRs 0 to 4 and 8 only",
      document: forgeDocument({ fields: { pcrs: encodePcrs(pcrs) } }),
    },
    "nitro-null": {
      title: "null optional fields",
      document: all(none),
      policy: UNBOUND_POLICY,
    },
    "nitro-absent": {
      title: "no optional fields",
      document: all(null),
      policy: UNBOUND_POLICY,
    },
  };
}

/** The largest and smallest there may be, and a policy that requires all it can. */
function limits(): Readonly<Record<string, Simulated>> {
  const long = encodeCbor(new Uint8Array(1024));
  const fields = { nonce: fromHex("40"), user_data: long, public_key: long };
  const [role, signer] = ["03".repeat(48), "88".repeat(48)];
  const signed = encodePcrs(forgePcrs().set(3, fromHex(role)).set(8, fromHex(signer)));
  return {
    "nitro-edges": {
      title: "an empty nonce, other fields of 1024 bytes",
      document: forgeDocument({ fields }),
      policy: UNBOUND_POLICY,
    },
    "nitro-largest": {
      title: "12 288 bytes, nine certificates, 32 PCRs",
      document: largeDocument(NITRO_DOCUMENT_BYTES_MAX),
      policy: UNBOUND_POLICY,
    },
    "nitro-leaf-largest": { title: "a leaf of 1024 bytes", document: longLeaf(1024) },
    "nitro-short": {
      title: "a chain of three",
      document: forgeDocument({ chain: shortChain() }),
    },
    "nitro-signer": {
      title: "a role and a signer, both required",
      document: forgeDocument({ fields: { pcrs: signed } }),
      policy: {
        nonce: { anyOf: [NONCE.subarray(1), NONCE] },
        nitro: { pcr3: { equals: role }, pcr8: { anyOf: ["99".repeat(48), signer] } },
      },
    },
  };
}

/** The first and last moments at which all is still well. */
function moments(): Readonly<Record<string, Simulated>> {
  const window = (validFromMs: number, validUntilMs: number) => ({
    measurements: [{ ...IMAGE, validFromMs, validUntilMs }],
  });
  return {
    "nitro-ahead": {
      title: "a clock 30 000 ms ahead, an image's first ms",
      document: DOCUMENT,
      policy: { judgedAtMs: NOW - 30_000, ...window(NOW - 30_000, NOW) },
    },
    "nitro-old": {
      title: "a document of the greatest age, an image's last ms",
      document: DOCUMENT,
      policy: { judgedAtMs: NOW + 60_000, ...window(0, NOW + 60_001) },
    },
    "nitro-first": {
      title: "the first ms of a leaf",
      document: forgeDocument({ fields: { timestamp: encodeCbor(NOW - 3000) } }),
    },
    "nitro-last": {
      title: "the last ms of a leaf",
      document: DOCUMENT,
      policy: { maxAgeMs: { unchecked: "not what this base is about" } },
      at: { mode: "live", nowMs: NOW + 10_800_999 },
    },
  };
}

interface Simulated {
  readonly title: string;
  readonly document: Uint8Array;
  readonly policy?: Parameters<typeof policyOf>[0];
  readonly at?: Base["at"];
}

async function writeBase(name: string, base: Simulated): Promise<void> {
  const { title, document, policy = {}, at = { mode: "live", nowMs: NOW } } = base;
  writeFileSync(join(FOLDER, "bases", `${name}.bin`), document);
  await writeJson(`bases/${name}.json`, {
    title,
    source: "synthetic",
    format: "nitro",
    parts: { document: `${name}.bin` },
    anchors: [{ platform: "sim", certificate: "sim-root.der" }],
    at,
    policy: plain(policyOf(policy)),
  } satisfies Base);
}

/** The policy of a genuine document follows from what the document says. */
async function writeGenuine(name: string, document: string): Promise<void> {
  const { moduleId, timestampMs, pcrs } = parseNitroDocument(readReference(document));
  const pcr = (index: number): string => hex(pcrs.get(index) ?? new Uint8Array(0));
  const unchecked = { unchecked: "another project's format" };
  const measurement = { pcr0: pcr(0), pcr1: pcr(1), pcr2: pcr(2) };
  await writeJson(`bases/${name}.json`, {
    title: `the genuine document of ${moduleId}`,
    source: "captured",
    format: "nitro",
    parts: { document },
    anchors: [
      { platform: "aws-nitro", certificate: "tree:attestation/anchors/aws-nitro-root-g1.der" },
    ],
    at: { mode: "replay" },
    policy: plain({
      ...policyOf(),
      platforms: ["aws-nitro"],
      measurements: [{ ...measurement, validFromMs: 0, validUntilMs: timestampMs + 1 }],
      nonce: unchecked,
      userData: unchecked,
      publicKey: unchecked,
      judgedAtMs: timestampMs,
    }),
  } satisfies Base);
}

/** Bytes as `{"$hex": ...}`; see `evaluate.ts`. */
function plain(value: object): z.infer<typeof plainSchema> {
  const text = JSON.stringify(value, (_, each: unknown) =>
    each instanceof Uint8Array ? { $hex: hex(each) } : each,
  );
  return plainSchema.parse(JSON.parse(text));
}

/** The other signature that verifies: s for n - s. */
function highS(document: Uint8Array): Uint8Array {
  const s = BigInt(`0x${hex(document.slice(-48))}`);
  const high = s > P384_ORDER / 2n ? s : P384_ORDER - s;
  return withBytes(document, -48, fromHex(high.toString(16).padStart(96, "0")));
}
