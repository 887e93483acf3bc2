import { MalformedError } from "#protocol";

import { readBoundedFile } from "../bounded-file.ts";

const CERTIFICATE_FILE_BYTES_MAX = 256 * 1024;
const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/g;
const DER_SEQUENCE = 0x30;

/**
 * The certificates of a file, DER: all of a PEM file, or the one of a DER file. Not parsed.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED; and as `readBoundedFile`
 */
export async function readCertificates(path: string): Promise<readonly Uint8Array[]> {
  const bound = { subject: "certificate file", bytesMax: CERTIFICATE_FILE_BYTES_MAX };
  const bytes = await readBoundedFile(path, bound);
  const certificates = decodePem(bytes, "CERTIFICATE");
  if (certificates.length > 0) return certificates;
  if (bytes[0] === DER_SEQUENCE) return [bytes];
  throw new MalformedError(
    { code: "TEE_CHAIN_MALFORMED" },
    `certificate file ${path}: expected certificates in PEM or one in DER, got ${bytes.length} other bytes`,
  );
}

/** The contents of all PEM blocks of a kind; none when there are none. */
export function decodePem(text: Uint8Array, label: string): readonly Uint8Array[] {
  return [...Buffer.from(text).toString("latin1").matchAll(PEM_BLOCK)]
    .filter(([, name]) => name === label)
    .map(([, , body = ""]) => new Uint8Array(Buffer.from(body, "base64")));
}
