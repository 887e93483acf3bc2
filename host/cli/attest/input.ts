import { UsageError } from "#cli";
import {
  attestationReportSchema,
  type AttestationReport,
  type Collateral,
  type Evidence,
  type ReportBinding,
} from "#attestation";
import { MalformedError, decodeCbor, fromBase64, fromHex, parseWith } from "#protocol";
import { z } from "zod";

import { hexBytes } from "./expected.ts";
import { readCollateral } from "./collateral.ts";
import { orderEndorsements } from "./endorsements.ts";
import { readBoundedFile } from "../bounded-file.ts";
import { readCertificates } from "./certificate-file.ts";
import { readAuthored } from "../authored-file.ts";

/** The largest file of evidence: an archive with all its collateral, or a quote as text. */
export const ATTEST_FILE_BYTES_MAX = 4 * 1024 * 1024;

/** A file as it was found to be. `archive`: a report that `attest verify --archive` wrote. */
export type FoundEvidence =
  | {
      readonly kind: "evidence";
      readonly evidence: Evidence;
      /** The option without which it cannot be verified, and what it takes; null when all is there. */
      readonly missing: string | null;
    }
  | { readonly kind: "archive"; readonly report: AttestationReport };

/** Files that go with evidence whose platform does not put everything inside. */
export interface EvidenceOptions {
  readonly endorsements?: readonly string[] | undefined;
  readonly collateral?: readonly string[] | undefined;
  readonly binding?: string | undefined;
}

const SNP_REPORT_BYTES = 1184;
const ARCHIVE_MAPS = { first: 0xa0, last: 0xbf } as const;
const bindingSchema = z.strictObject({
  nonce: hexBytes.nullable(),
  userData: hexBytes.nullable(),
  publicKey: hexBytes.nullable(),
});

/**
 * Reads a file of evidence and what goes with it, and finds out which it is: a Nitro document, an SEV-SNP report, a
 * TDX quote or an archived report; raw, or as hex or base64 text. Nothing of it is authentic.
 *
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED for a file that is none of them
 * @throws UsageError when an option does not go with the format
 */
export async function readEvidence(path: string, options: EvidenceOptions): Promise<FoundEvidence> {
  const bound = { subject: "evidence", bytesMax: ATTEST_FILE_BYTES_MAX };
  const document = fromText(await readBoundedFile(path, bound));
  const format = formatOf(document, path);
  expectOptions(format, options);
  switch (format) {
    case "archive":
      return { kind: "archive", report: parseArchive(document, path) };
    case "nitro":
      return { kind: "evidence", evidence: { format, document }, missing: null };
    case "snp": {
      const files = await Promise.all((options.endorsements ?? []).map(readCertificates));
      const endorsements = files.length === 0 ? [] : orderEndorsements(files.flat());
      const binding = await readBinding(options.binding);
      const missing = files.length === 0 ? NO_ENDORSEMENTS : null;
      return { kind: "evidence", evidence: { format, document, endorsements, binding }, missing };
    }
    case "tdx": {
      const files = options.collateral ?? [];
      const collateral = files.length === 0 ? NOTHING : await readCollateral(files);
      const binding = await readBinding(options.binding);
      const missing = files.length === 0 ? NO_COLLATERAL : null;
      return { kind: "evidence", evidence: { format, document, collateral, binding }, missing };
    }
  }
}

const NO_ENDORSEMENTS =
  "--endorsements: expected the files of VCEK or VLEK, ASK and ARK with an SEV-SNP report, got none";
const NO_COLLATERAL = "--collateral: expected Intel's collateral with a TDX quote, got none";
/** Verifies nothing, and fails to. */
const NOTHING: Collateral = {
  tcbInfo: new Uint8Array(0),
  qeIdentity: new Uint8Array(0),
  tcbSigningChain: [],
  pckCrl: new Uint8Array(0),
  rootCrl: new Uint8Array(0),
};

type Format = "archive" | "nitro" | "snp" | "tdx";

const OPTIONS_OF: Readonly<Record<Format, readonly (keyof EvidenceOptions)[]>> = {
  archive: [],
  nitro: [],
  snp: ["endorsements", "binding"],
  tdx: ["collateral", "binding"],
};

function expectOptions(format: Format, options: EvidenceOptions): void {
  for (const name of ["endorsements", "collateral", "binding"] as const) {
    const given = options[name] !== undefined && options[name].length > 0;
    if (given && !OPTIONS_OF[format].includes(name)) {
      throw new UsageError(`--${name}: expected no such option with ${FORMAT_WORDS[format]}`);
    }
  }
}

const FORMAT_WORDS: Readonly<Record<Format, string>> = {
  archive: "an archived report",
  nitro: "a Nitro document",
  snp: "an SEV-SNP report",
  tdx: "a TDX quote",
};

function formatOf(bytes: Uint8Array, path: string): Format {
  const [first = 0, second = 0, third = 0, fourth = 0] = bytes;
  if (first === 0x84 || first === 0xd2) return "nitro";
  if (first >= ARCHIVE_MAPS.first && first <= ARCHIVE_MAPS.last) return "archive";
  const isVersion = second === 0 && first >= 1 && first <= 6;
  if (bytes.length === SNP_REPORT_BYTES && isVersion) return "snp";
  // The attestation key type of a quote is never zero; in a report the version's upper half stands there.
  if (isVersion && (third !== 0 || fourth !== 0)) return "tdx";
  if (isVersion && bytes.length > 8) return "snp";
  throw new MalformedError(
    { code: "TEE_DOCUMENT_MALFORMED" },
    `evidence ${path}: expected a Nitro document, an SEV-SNP report, a TDX quote or an archive, got ${describe(bytes)}`,
  );
}

function describe(bytes: Uint8Array): string {
  const start = Buffer.from(bytes.subarray(0, 8));
  if (bytes.length === 0) return "an empty file";
  if (start.toString("latin1").startsWith(".eif")) return "an image: that is for policy-from-image";
  return `${bytes.length} bytes that begin with ${start.toString("hex")}`;
}

/** Evidence travels as text as often as raw. Bytes that are no text stay as they are. */
function fromText(bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes).toString("latin1").replaceAll(/\s/g, "");
  if (text === "" || !/^[A-Za-z0-9+/=_-]+$/.test(text)) return bytes;
  if (/^(?:0x)?(?:[0-9a-fA-F]{2})+$/.test(text)) return fromHex(text.replace(/^0x/, ""));
  const standard = text.replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "");
  return fromBase64(standard.padEnd(Math.ceil(standard.length / 4) * 4, "="));
}

function parseArchive(bytes: Uint8Array, path: string): AttestationReport {
  const value = decodeCbor(bytes, ATTEST_FILE_BYTES_MAX);
  return parseWith(attestationReportSchema, value, `archive ${path}`, "TEE_DOCUMENT_MALFORMED");
}

async function readBinding(path: string | undefined): Promise<ReportBinding | null> {
  if (path === undefined) return null;
  return readAuthored(path, bindingSchema, { subject: "binding", bytesMax: 64 * 1024 });
}
