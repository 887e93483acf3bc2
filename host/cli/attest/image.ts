import { parseArgs } from "node:util";

import { ACCEPTED_MS, EXIT, UsageError, referenceValueOf, type CliIo } from "#cli";
import { EifMeasurer, type NitroMeasurement } from "#attestation";
import { LimitError, MalformedError, concat } from "#protocol";
import { z } from "zod";

import { register } from "./expected.ts";
import { oneFile, parseTime } from "./options.ts";
import type { PolicyFileText } from "./policy-file.ts";
import { date } from "./view.ts";
import { readChunks } from "../bounded-file.ts";
import { parseJsonText, parseStrict } from "../json-file.ts";

export const POLICY_FROM_IMAGE_HELP = `symphony attest policy-from-image FILE [--signer] [--from TIME] [--until TIME] [--json]

Prints the appraisal policy that accepts one enclave image, ready to edit, and on standard error the same as a reference
value for a network's governance. FILE is an enclave image (EIF), which is measured here, or what nitro-cli
build-enclave or describe-eif printed. Exits 0, 1 when the file is damaged, 2 when called wrongly.

  --signer       also expect PCR8 of the certificate that the file names as its signer. Nothing verifies that
                 signature here: compare PCR8 with your certificate before you rely on it
  --from TIME    accept the image from this ISO 8601 time on; without it from now on
  --until TIME   accept it up to this time; without it for one year
  --json         one JSON object with measurements, policy and reference value
`;

const JSON_BYTES_MAX = 1024 * 1024;
const AGE_MS_MAX = 300_000;
const ZERO = /^0+$/;

interface ImageMeasurement extends NitroMeasurement {
  readonly pcr8: string | null;
  readonly isSigned: boolean;
}

/** `symphony attest policy-from-image`. @returns the exit code */
export async function runPolicyFromImage(
  argv: readonly string[],
  io: CliIo,
  nowMs: number = Date.now(),
): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      signer: { type: "boolean", default: false },
      from: { type: "string" },
      until: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const file = oneFile(positionals, "image file");
  const validFromMs = values.from === undefined ? nowMs : parseTime("--from", values.from);
  const validUntilMs =
    values.until === undefined ? validFromMs + ACCEPTED_MS : parseTime("--until", values.until);
  if (validUntilMs <= validFromMs) {
    throw new UsageError("--until: expected a time after --from, got one that is not");
  }
  const measurement = await measureImageFile(file, values.signer ? "unverified" : "ignored");
  if (values.signer && measurement.pcr8 === null) {
    throw new UsageError("--signer: expected a signed image, got one that is not");
  }
  const pcr8 = values.signer ? measurement.pcr8 : null;
  const window = { validFromMs, validUntilMs };
  const policy = policyOf(measurement, { pcr8, ...window });
  const reference = referenceValueOf(measurement, {
    fromMs: validFromMs,
    untilMs: validUntilMs,
  });
  if (values.json) {
    const { pcr0, pcr1, pcr2 } = measurement;
    const measurements = { pcr0, pcr1, pcr2, pcr8_unverified: measurement.pcr8 };
    io.stdout(`${JSON.stringify({ measurements, policy, reference_value: reference })}\n`);
    return EXIT.ok;
  }
  io.stdout(`${JSON.stringify(policy, null, 2)}\n`);
  io.stderr(notes(measurement, { reference, pcr8, ...window }));
  return EXIT.ok;
}

/**
 * The registers of an image file, measured in constant memory, or of nitro-cli's words about one.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED, TEE_IMAGE_MALFORMED; {@link LimitError} SCHEMA_TOO_LARGE
 */
export async function measureImageFile(
  path: string,
  signer: "ignored" | "unverified",
): Promise<ImageMeasurement> {
  const measurer = new EifMeasurer({ signer });
  const json: Uint8Array[] = [];
  let isJson = false;
  let bytes = 0;
  for await (const chunk of readChunks(path)) {
    if (bytes === 0) isJson = chunk[0] === "{".charCodeAt(0);
    bytes += chunk.length;
    if (!isJson) measurer.push(chunk);
    else if (bytes <= JSON_BYTES_MAX) json.push(chunk);
    else throw tooLarge(path);
  }
  if (isJson) return fromNitroCli(concat(...json), path);
  const { pcr0, pcr1, pcr2, pcr8Unverified, isSigned } = measurer.finish();
  return { pcr0, pcr1, pcr2, pcr8: pcr8Unverified, isSigned };
}

function tooLarge(path: string): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", maxBytes: JSON_BYTES_MAX },
    `image measurements ${path}: expected at most ${JSON_BYTES_MAX} bytes of JSON, got more`,
  );
}

const nitroCliSchema = z.object({
  Measurements: z.object({
    HashAlgorithm: z.string().startsWith("Sha384", { error: "expected Sha384" }),
    PCR0: register,
    PCR1: register,
    PCR2: register,
    PCR8: register.optional(),
  }),
});

function fromNitroCli(bytes: Uint8Array, path: string): ImageMeasurement {
  const subject = `image measurements ${path}`;
  const { Measurements } = parseStrict(nitroCliSchema, parseJsonText(bytes, subject), subject);
  const { PCR0: pcr0, PCR1: pcr1, PCR2: pcr2, PCR8: pcr8 } = Measurements;
  if ([pcr0, pcr1, pcr2].some((value) => ZERO.test(value))) {
    throw new MalformedError(
      { code: "SCHEMA_CONFIG_MALFORMED" },
      `${subject}: expected the registers of an image, got zeros, as of an enclave in debug mode`,
    );
  }
  return { pcr0, pcr1, pcr2, pcr8: pcr8 ?? null, isSigned: pcr8 !== undefined };
}

interface Window {
  readonly validFromMs: number;
  readonly validUntilMs: number;
}

function policyOf(
  { pcr0, pcr1, pcr2 }: NitroMeasurement,
  { pcr8, ...window }: Window & { readonly pcr8: string | null },
): PolicyFileText {
  return {
    platforms: ["aws-nitro"],
    measurements: [{ pcr0, pcr1, pcr2, ...window }],
    revokedMeasurements: [],
    revokedIdentities: [],
    nonce: { unchecked: "give the nonce of your session with --nonce" },
    userData: { unchecked: "an image does not say what its enclave will bind" },
    publicKey: { unchecked: "an image does not say what its enclave will bind" },
    maxAgeMs: { atMost: AGE_MS_MAX },
    nitro: {
      pcr3: { unchecked: "any IAM role of the parent instance" },
      pcr8: pcr8 === null ? { unchecked: "any signer of the image, or none" } : { equals: pcr8 },
    },
    snp: null,
    tdx: null,
  };
}

function notes(
  { isSigned }: ImageMeasurement,
  {
    reference,
    pcr8,
    ...window
  }: Window & { readonly reference: object; readonly pcr8: string | null },
): string {
  const { validFromMs, validUntilMs } = window;
  const signature =
    pcr8 !== null
      ? "PCR8 is of the certificate that the file names; its signature was not verified here"
      : isSigned
        ? "the image is signed; --signer would expect PCR8 too"
        : "the image is not signed";
  return [
    `accepted from ${date(validFromMs)} until ${date(validUntilMs)}; ${signature}`,
    "before use, decide about nonce, userData and publicKey: they are not judged yet",
    "the same as a reference value for governance:",
    JSON.stringify(reference, null, 2),
    "",
  ].join("\n");
}
