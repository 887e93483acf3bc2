import { UsageError } from "#cli";
import { fromHex, utf8 } from "#protocol";

import type { FoundEvidence } from "./input.ts";
import type { AtTime } from "./judge.ts";

/** Options of the commands that judge evidence, for `parseArgs`. */
export const EVIDENCE_OPTIONS = {
  policy: { type: "string" },
  trust: { type: "string" },
  anchor: { type: "string", multiple: true },
  endorsements: { type: "string", multiple: true },
  collateral: { type: "string", multiple: true },
  binding: { type: "string" },
  at: { type: "string" },
  nonce: { type: "string" },
  json: { type: "boolean", default: false },
} as const;

/** What the options mean, for help texts. */
export const EVIDENCE_OPTIONS_HELP = `  --policy POLICY       what the evidence must say: a JSON file, see docs/attestation.md
  --nonce HEX           what the nonce must be, in place of the policy's
  --at signed|TIME      judge at the signed time, or at an ISO 8601 time such as 2026-01-31T12:00:00Z;
                        --at recorded judges an archive, at the time that it says it was recorded
  --anchor FILE         a root to trust, PEM or DER; may be repeated; replaces the vendors' roots
  --trust ROOTS         a trust file whose roots to trust; replaces the vendors' roots
  --endorsements FILE   SEV-SNP: VCEK or VLEK, ASK and ARK, PEM or DER in any order; may be repeated
  --collateral FILE     TDX: Intel's collateral, one combined JSON file or its parts; may be repeated
  --binding FILE        SEV-SNP, TDX: the values whose digest the evidence holds, as JSON
                        {"nonce": HEX or null, "userData": HEX or null, "publicKey": HEX or null}
  --json                one JSON object instead of lines
`;

const NONCE_BYTES_MAX = 1024;
/** With a time zone, so that it means the same everywhere. */
const ISO_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2})$/;

/** The one FILE among the words. @throws UsageError for none or several */
export function oneFile(positionals: readonly string[], what: string): string {
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) {
    throw new UsageError(`FILE: expected one ${what}, got ${positionals.length}`);
  }
  return file;
}

/** The time that `--at` names; now without it. An archive's own time is `recorded`. @throws UsageError */
export function parseAt(text: string | undefined, nowMs: number): AtTime {
  if (text === undefined) return { kind: "now", nowMs };
  if (text === "signed" || text === "recorded") return { kind: "signed" };
  return { kind: "time", nowMs: parseTime("--at", text, "signed, recorded or ") };
}

/** Refuses `--at signed` for evidence whose platform signs no time. @throws UsageError */
export function expectSignedTime(found: FoundEvidence, { kind }: AtTime): void {
  if (kind !== "signed" || found.kind === "archive" || found.evidence.format === "nitro") return;
  throw new UsageError("--at: expected a time with evidence that signs none, got signed");
}

/** Milliseconds since 1970 of an ISO 8601 time with its zone. @throws UsageError */
export function parseTime(option: string, text: string, or = ""): number {
  const timeMs = ISO_TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isSafeInteger(timeMs) || timeMs < 0) {
    throw new UsageError(
      `${option}: expected ${or}a time such as 2026-01-31T12:00:00Z, got ${text}`,
    );
  }
  return timeMs;
}

/** The bytes that `--nonce` names, or null without it. @throws UsageError */
export function parseNonce(text: string | undefined): Uint8Array | null {
  if (text === undefined) return null;
  if (!/^(?:[0-9a-fA-F]{2})+$/.test(text) || text.length > 2 * NONCE_BYTES_MAX) {
    throw new UsageError(
      `--nonce: expected hex of 1 to ${NONCE_BYTES_MAX} bytes, got ${utf8(text).length} other characters`,
    );
  }
  return fromHex(text);
}
