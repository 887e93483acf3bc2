import { open } from "node:fs/promises";
import { parseArgs } from "node:util";

import { EXIT, UsageError } from "#cli";
import { EIF_SIGNATURE_BYTES_MAX } from "#attestation";
import {
  LimitError,
  MalformedError,
  fromHex,
  policySchema,
  utf8Text,
  type ReferenceValue,
} from "#protocol";

import { readImage, readSection, type Image } from "../eif/reader.ts";
import { verifyImageSignature } from "../eif/signature.ts";
import { expectFiles, type ImageIo } from "./io.ts";
import { measurementJson } from "./view.ts";

export const VERIFY_HELP = `symphony image verify FILE --policy POLICY [--at TIME] [--json]

Says whether a policy accepts an enclave image (EIF): whether one of its reference values has the image's PCR0, PCR1 and
PCR2 and holds at that time. A signature in the image is verified, and its PCR8 printed to be compared with your own.
Exits 0 when it is accepted, 1 when it is not or a file is damaged, 2 when called wrongly.

  --policy POLICY   a network's policy version, as JSON
  --at TIME         ISO 8601 time to judge at; without it now
  --json            one JSON object
`;

const POLICY_BYTES_MAX = 4 * 1024 * 1024;

type Verdict = "accepted" | "unknown" | "not_yet" | "expired";

/** `symphony image verify`. @returns the exit code */
export async function runVerify(argv: readonly string[], io: ImageIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      policy: { type: "string" },
      at: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const [file] = expectFiles(positionals, ["FILE"]);
  if (values.policy === undefined) throw new UsageError("--policy: expected a file, got none");
  const atMs = values.at === undefined ? io.nowMs() : parseTime(values.at);
  const references = await readReferences(values.policy);
  const image = await readImage(file);
  const pcr8 = await verifySigner(image);
  const verdict = judge(image, references, atMs);
  if (values.json) {
    const judged_at = new Date(atMs).toISOString();
    const { pcr8_unverified: _, ...measured } = measurementJson(image.measurement);
    io.stdout(`${JSON.stringify({ verdict, judged_at, ...measured, pcr8 })}\n`);
  } else {
    io.stdout(textOf(verdict, image, pcr8));
  }
  return verdict === "accepted" ? EXIT.ok : EXIT.refused;
}

function parseTime(text: string): number {
  const atMs = Date.parse(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && Number.isSafeInteger(atMs)) return atMs;
  throw new UsageError(`--at: expected a time such as 2026-01-31T00:00:00Z, got ${text}`);
}

/** PCR 8 of a good signature; null for an image without one. @throws as `verifyImageSignature` */
async function verifySigner(image: Image): Promise<string | null> {
  const section = await readSection(image, "signature", EIF_SIGNATURE_BYTES_MAX);
  if (section === null) return null;
  return verifyImageSignature(section, fromHex(image.measurement.pcr0)).pcr8;
}

/** The best that any reference value says of the image. */
function judge(
  { measurement }: Image,
  references: readonly ReferenceValue[],
  atMs: number,
): Verdict {
  const named = references.filter(
    ({ pcr0, pcr1, pcr2 }) =>
      pcr0 === measurement.pcr0 && pcr1 === measurement.pcr1 && pcr2 === measurement.pcr2,
  );
  if (named.length === 0) return "unknown";
  const begun = named.filter(({ valid_from_ms }) => atMs >= valid_from_ms);
  if (begun.length === 0) return "not_yet";
  return begun.some(({ valid_until_ms }) => atMs < valid_until_ms) ? "accepted" : "expired";
}

const WORDS: Record<Verdict, string> = {
  accepted: "accepted: a reference value names this image",
  unknown: "refused: no reference value names this image",
  not_yet: "refused: a reference value names this image, but does not hold yet",
  expired: "refused: a reference value named this image, but holds no longer",
};

function textOf(verdict: Verdict, { measurement }: Image, pcr8: string | null): string {
  const signer = pcr8 === null ? "PCR8  not signed" : `PCR8  ${pcr8}  (signature verified)`;
  const { pcr0, pcr1, pcr2 } = measurement;
  const lines = [WORDS[verdict], `PCR0  ${pcr0}`, `PCR1  ${pcr1}`, `PCR2  ${pcr2}`, signer, ""];
  return lines.join("\n");
}

async function readReferences(path: string): Promise<readonly ReferenceValue[]> {
  const parsed = policySchema.safeParse(parseJson(await readWhole(path), path));
  if (parsed.success) return parsed.data.attestation.reference_values;
  const [issue] = parsed.error.issues;
  const field = issue?.path.join(".") ?? "";
  throw new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field },
    `policy ${path}, ${field}: expected a policy version, got ${issue?.message ?? "another"}`,
  );
}

function parseJson(bytes: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(utf8Text(bytes));
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_JSON_MALFORMED" },
      `policy ${path}: expected JSON, got other bytes`,
      { cause },
    );
  }
}

async function readWhole(path: string): Promise<Uint8Array> {
  await using file = await open(path, "r");
  const buffer = new Uint8Array(POLICY_BYTES_MAX + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length);
    length += bytesRead;
    if (bytesRead === 0) break;
    if (length <= POLICY_BYTES_MAX) continue;
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", maxBytes: POLICY_BYTES_MAX },
      `policy ${path}: expected at most ${POLICY_BYTES_MAX} bytes, got more`,
    );
  }
  return buffer.subarray(0, length);
}
