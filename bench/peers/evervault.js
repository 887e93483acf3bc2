import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";

import { attestEnclave } from "@evervault/attestation-bindings";

import { parseNitroDocument } from "../../attestation/index.ts";
import { issueCertificate } from "../../sim/x509.ts";
import { printQuartile } from "./quartile.js";

// It wants the certificate of a TLS server whose key the document has in user_data; nobody asks who issued it.
const document = readFileSync(process.argv[2]);
const { userData } = parseNitroDocument(document);
const hour = 3_600_000;
const certificate = Buffer.from(
  issueCertificate({
    subject: "server",
    issuer: "server",
    serial: Uint8Array.of(1),
    notBeforeMs: Date.now() - hour,
    notAfterMs: Date.now() + hour,
    publicKey: createPublicKey({ key: Buffer.from(userData), format: "der", type: "spki" }),
    issuerKey: generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey,
    extensions: [],
  }),
);
const zero = "00".repeat(48);

printQuartile(() => {
  const pcrs = [{ pcr0: zero, pcr1: zero, pcr2: zero }];
  if (!attestEnclave(certificate, pcrs, document)) throw new Error("expected it to be accepted");
});
