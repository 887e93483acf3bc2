import { createPublicKey } from "node:crypto";

import type { NitroDocument } from "#attestation";
import { equalBytes, hex, sha384, utf8 } from "#protocol";

import { bytesInWords, date, field, type FieldView, type GroupView } from "./view.ts";

const PCR_BYTES = 48;
const NO_MORE_RAMDISKS = hex(sha384(new Uint8Array(PCR_BYTES), sha384(new Uint8Array(0))));
const PCR_MEANINGS: ReadonlyMap<number, string> = new Map([
  [0, "the whole image: kernel, command line and all ramdisks"],
  [1, "kernel, command line and first ramdisk (the boot part)"],
  [2, "the other ramdisks (the application)"],
  [3, "the IAM role of the parent instance"],
  [4, "the parent instance's id"],
  [8, "the certificate that signed the image"],
]);
const USER_PCRS_FROM = 16;

/** A Nitro document in words. Nothing of it is authentic by this. */
export function viewNitro(document: NitroDocument): readonly GroupView[] {
  const { moduleId, timestampMs, publicKey, userData, nonce } = document;
  const [instance = moduleId] = moduleId.split("-enc");
  return [
    {
      group: "Nitro attestation document",
      fields: [
        field("module_id", moduleId, `enclave ${moduleId} of instance ${instance}`),
        field("digest", "SHA384"),
        field("timestamp", date(timestampMs), "by the clock of the platform"),
        field("public_key", bytesInWords(publicKey), keyMeaning(publicKey)),
        field("user_data", bytesInWords(userData)),
        field("nonce", bytesInWords(nonce), nonce === null ? "nothing proves freshness" : null),
        field("mode", isDebug(document) ? "DEBUG" : "production", modeMeaning(document)),
      ],
    },
    { group: "platform configuration registers", fields: viewPcrs(document) },
  ];
}

/** Whether PCR 0, 1 or 2 is zero, as in an enclave in debug mode. */
export function isDebug({ pcrs }: NitroDocument): boolean {
  return [0, 1, 2].some((index) => isZero(pcrs.get(index)));
}

function viewPcrs(document: NitroDocument): readonly FieldView[] {
  const entries = [...document.pcrs].toSorted(([a], [b]) => a - b);
  const unused = entries.filter(([index, value]) => isZero(value) && !PCR_MEANINGS.has(index));
  const shown = entries.filter((entry) => !unused.includes(entry));
  const fields = shown.map(([index, value]) =>
    field(`PCR${index}`, hex(value), pcrMeaning(index, value, document)),
  );
  if (unused.length === 0) return fields;
  const names = unused.map(([index]) => `PCR${index}`).join(" ");
  return [...fields, field("zero", names, "not used")];
}

function pcrMeaning(index: number, value: Uint8Array, document: NitroDocument): string {
  const meaning =
    PCR_MEANINGS.get(index) ??
    (index >= USER_PCRS_FROM ? "extended by the application" : "no meaning given by AWS");
  return `${meaning}${pcrNote(index, value, document)}`;
}

function pcrNote(index: number, value: Uint8Array, { moduleId }: NitroDocument): string {
  if (isZero(value)) return index <= 2 ? "; zero: debug mode" : "; zero: none";
  if (index === 2 && hex(value) === NO_MORE_RAMDISKS) return "; the value of no further ramdisk";
  if (index !== 4) return "";
  const expected = sha384(new Uint8Array(PCR_BYTES), utf8(moduleId.split("-enc")[0] ?? ""));
  return equalBytes(value, expected)
    ? "; agrees with module_id"
    : `; does NOT agree with module_id, whose is ${hex(expected)}`;
}

function modeMeaning(document: NitroDocument): string {
  return isDebug(document)
    ? "the host reads this enclave's console; no policy accepts it"
    : "PCR 0, 1 and 2 are not zero";
}

/** What kind of key the bytes are, if they are one in SubjectPublicKeyInfo; often they are not. */
function keyMeaning(bytes: Uint8Array | null): string | null {
  if (bytes === null || bytes.length === 0) return null;
  try {
    const key = createPublicKey({ key: Buffer.from(bytes), format: "der", type: "spki" });
    const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {};
    const size = modulusLength ?? namedCurve;
    return `${key.asymmetricKeyType ?? "unknown"} key${size === undefined ? "" : ` (${size})`}`;
  } catch {
    return "no SubjectPublicKeyInfo: a form of its own";
  }
}

function isZero(value: Uint8Array | undefined): boolean {
  return value !== undefined && value.every((byte) => byte === 0);
}
