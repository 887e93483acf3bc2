import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { format, resolveConfig } from "prettier";
import { z } from "zod";

import { NITRO_DOCUMENT_BYTES_MAX, parseNitroDocument } from "../../../attestation/index.ts";
import { encodeCbor, fromHex, hex } from "../../../protocol/index.ts";
import { encodePcrs } from "../../../sim/cose.ts";
import { ANCHOR, NOW, forgeDocument, forgePcrs, policyOf } from "../../attestation/forge.ts";
import { aEnvelope } from "./cases/a-envelope.ts";
import { bMalleable } from "./cases/b-malleable.ts";
import { cCbor } from "./cases/c-cbor.ts";
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
await writeCategory("C", "c-payload", [...cPayload(), ...cCbor()]);
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
  const pcrs = forgePcrs();
  for (const index of [5, 6, 7, 9, 10, 11, 12, 13, 14, 15]) pcrs.delete(index);
  const simulated: readonly (readonly [string, string, Uint8Array])[] = [
    [SIM_BASE, "a production enclave's document, signed by the simulator", DOCUMENT],
    ["nitro-definite", "a payload map of definite length", forgeDocument({ length: "definite" })],
    ["nitro-tagged", "tag 18 before the array", Uint8Array.of(0xd2, ...DOCUMENT)],
    ["nitro-high-s", "s in the upper half, as ECDSA allows", highS(DOCUMENT)],
    [
      "nitro-sparse",
      "PCRs 0 to 4 and 8 only",
      forgeDocument({ fields: { pcrs: encodePcrs(pcrs) } }),
    ],
  ];
  for (const [name, title, document] of simulated) await writeBase(name, title, document);
  const none = fromHex("f6");
  const fields = { nonce: none, user_data: none, public_key: none };
  const unbound = { unchecked: "a document without it" };
  const policy = { nonce: unbound, userData: unbound, publicKey: unbound };
  await writeBase("nitro-null", "null optional fields", forgeDocument({ fields }), policy);
  const absent = { nonce: null, user_data: null, public_key: null };
  await writeBase("nitro-absent", "no optional fields", forgeDocument({ fields: absent }), policy);
  const long = encodeCbor(new Uint8Array(1024));
  const empty = { nonce: fromHex("40"), user_data: long, public_key: long };
  const edges = forgeDocument({ fields: empty });
  await writeBase("nitro-edges", "an empty nonce, other fields of 1024 bytes", edges, policy);
  await writeBase("nitro-largest", "12 288 bytes, the most there may be", largest(), policy);
  await writeBase("nitro-leaf-largest", "a leaf of 1024 bytes", longLeaf(1024));
  await writeBase("nitro-short", "a chain of three", forgeDocument({ chain: shortChain() }));
  const [role, signer] = ["03", "88"].map((digits) => digits.repeat(48));
  const signed = forgePcrs()
    .set(3, fromHex(role ?? ""))
    .set(8, fromHex(signer ?? ""));
  const withSigner = forgeDocument({ fields: { pcrs: encodePcrs(signed) } });
  await writeBase("nitro-signer", "a role and a signer, both required", withSigner, {
    nitro: { pcr3: { equals: role ?? "" }, pcr8: { anyOf: ["99".repeat(48), signer ?? ""] } },
  });
  await writeGenuine("nitro-genuine", GENUINE);
  await writeGenuine("nitro-genuine-indefinite", GENUINE_INDEFINITE);
}

/** Nine certificates, all 32 PCRs and the longest fields. */
function largest(): Uint8Array {
  return largeDocument(NITRO_DOCUMENT_BYTES_MAX);
}

async function writeBase(
  name: string,
  title: string,
  document: Uint8Array,
  policy: Parameters<typeof policyOf>[0] = {},
): Promise<void> {
  writeFileSync(join(FOLDER, "bases", `${name}.bin`), document);
  await writeJson(`bases/${name}.json`, {
    title,
    source: "synthetic",
    format: "nitro",
    parts: { document: `${name}.bin` },
    anchors: [{ platform: "sim", certificate: "sim-root.der" }],
    at: { mode: "live", nowMs: NOW },
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
