import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { base64, concat, encodeCbor, utf8 } from "../../../protocol/index.ts";
import { KmsFault } from "../../../sim/kms/fault.ts";
import { createKmsOperations, type KmsOperations } from "../../../sim/kms/operations.ts";
import { ANCHOR, NOW, forgeDocument } from "../../attestation/forge.ts";
import { changeJson, type Json } from "../json-tree.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { ACCEPTED, type Opened, type Target } from "../target.ts";
import { ALLOW, many } from "./kms.ts";

const zeros = (bytes: number): Uint8Array => new Uint8Array(bytes);

/** The operations by the octet that names them. Those that make or change keys come last, and seldom. */
const OPERATIONS = [
  "Encrypt",
  "Decrypt",
  "GenerateDataKey",
  "GenerateDataKeyWithoutPlaintext",
  "GenerateRandom",
  "DescribeKey",
  "GetKeyPolicy",
  "ListKeys",
  "DeriveSharedSecret",
  "Nothing",
  "GenerateDataKeyPair",
  "CreateKey",
  "PutKeyPolicy",
] as const;
const CHEAP = 10;

/** Requests to the simulator's key service, in process: an octet for the operation, then JSON. */
export const simKms: Target = {
  name: "sim-kms",
  bytesMax: 512 * 1024,
  codes: [
    "AccessDeniedException",
    "IncorrectKeyException",
    "InvalidCiphertextException",
    "InvalidKeyUsageException",
    "LimitExceededException",
    "MalformedPolicyDocumentException",
    "NotFoundException",
    "UnknownOperationException",
    "UnsupportedOperationException",
    "ValidationException",
  ],
  codeOf: (error) => (error instanceof KmsFault ? error.type : null),
  stages: [
    { name: "json", functions: [] },
    { name: "fields", functions: ["parse", "createKmsOperations"] },
    { name: "key", functions: ["findKey", "decryptingKey"] },
    { name: "document", functions: ["verifyRecipient", "verifyDocument"] },
    { name: "permission", functions: ["authorize"] },
  ],
  steps: { perByte: 8, fixed: 30_000 },
  allocation: { perByte: 256, fixed: 512 * 1024 },
  shortInputs: 2000,
  open: openSimKms,
};

async function openSimKms(): Promise<Opened> {
  const directory = mkdtempSync(join(tmpdir(), "symphony-fuzz-"));
  const options = { directory, anchors: [ANCHOR], nowMs: () => NOW, random: zeros };
  const operations = createKmsOperations(options);
  const requests = await goodRequests(operations);
  return {
    close: () => rmSync(directory, { recursive: true }),
    generate: (random) => requestOf(random, requests),
    run: async (input) => {
      let request: unknown;
      try {
        request = JSON.parse(Buffer.from(input.subarray(1)).toString("utf8"));
      } catch {
        return "json";
      }
      await operations(OPERATIONS[(input[0] ?? 0) % OPERATIONS.length] ?? "Nothing", request);
      return ACCEPTED;
    },
    grown: {
      context: (bytes) =>
        call("Encrypt", {
          KeyId: "k",
          Plaintext: "AA==",
          EncryptionContext: numbered(bytes / 12, ""),
        }),
      "unknown members": (bytes) => call("Decrypt", numbered(bytes / 8, 0)),
      "a long document": (bytes) =>
        call("GenerateRandom", {
          NumberOfBytes: 32,
          Recipient: {
            KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256",
            AttestationDocument: base64(zeros(Math.floor(bytes * 0.7))),
          },
        }),
    },
  };
}

function call(operation: (typeof OPERATIONS)[number], request: Json): Uint8Array {
  return concat(Uint8Array.of(OPERATIONS.indexOf(operation)), utf8(JSON.stringify(request)));
}

function numbered(count: number, value: Json): Json {
  return Object.fromEntries(many(count, "m").map((name, at) => [name + at, value]));
}

function requestOf(random: Random, requests: ReadonlyMap<string, readonly Json[]>): Uint8Array {
  const at = random.once(1000) ? random.between(CHEAP, OPERATIONS.length - 1) : random.below(CHEAP);
  // A good document costs five signatures.
  const [plain = {}, ...others] = requests.get(OPERATIONS[at] ?? "") ?? [];
  const own = random.once(8) ? [plain, ...others] : [plain];
  const text = utf8(JSON.stringify(changeJson(random, random.pick(own))));
  return concat(Uint8Array.of(at), random.once(10) ? mutate(random, text) : text);
}

/** Good requests by operation. */
async function goodRequests(
  operations: KmsOperations,
): Promise<ReadonlyMap<string, readonly Json[]>> {
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const spki = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
  const document = base64(forgeDocument({ fields: { public_key: encodeCbor(spki) } }));
  const Recipient = { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument: document };
  const root = { AWS: "arn:aws:iam::000000000000:root" };
  const open = { ...ALLOW, Principal: root, Action: "kms:*", Condition: {} };
  const Policy = JSON.stringify({ Version: "2012-10-17", Statement: [open] });
  const KeyId = textIn(await operations("CreateKey", { Policy }), "KeyId");
  const Plaintext = base64(zeros(32));
  const CiphertextBlob = textIn(
    await operations("Encrypt", { KeyId, Plaintext }),
    "CiphertextBlob",
  );
  const EncryptionContext = { purpose: "fuzz" };
  const key = { KeyId };
  return new Map<string, readonly Json[]>([
    [
      "Encrypt",
      [
        { KeyId, Plaintext },
        { KeyId, Plaintext, EncryptionContext },
      ],
    ],
    ["Decrypt", [{ CiphertextBlob }, { CiphertextBlob, KeyId }, { CiphertextBlob, Recipient }]],
    [
      "GenerateDataKey",
      [
        { KeyId, KeySpec: "AES_256" },
        { KeyId, NumberOfBytes: 32, Recipient },
      ],
    ],
    ["GenerateDataKeyWithoutPlaintext", [{ KeyId, KeySpec: "AES_256", EncryptionContext }]],
    ["GenerateRandom", [{ NumberOfBytes: 32 }, { NumberOfBytes: 256, Recipient }]],
    ["DescribeKey", [key]],
    ["GetKeyPolicy", [key, { KeyId, PolicyName: "default" }]],
    ["ListKeys", [{}, { Limit: 10, Marker: KeyId }]],
    [
      "DeriveSharedSecret",
      [{ KeyId, KeyAgreementAlgorithm: "ECDH", PublicKey: base64(spki), Recipient }],
    ],
    ["GenerateDataKeyPair", [{ KeyId, KeyPairSpec: "ECC_NIST_P256", Recipient }]],
    ["CreateKey", [{ Policy }, { Policy, Description: "fuzz" }]],
    ["PutKeyPolicy", [{ KeyId, PolicyName: "default", Policy }]],
  ]);
}

function textIn(response: object, name: string): string {
  return new RegExp(`"${name}":"([^"]+)"`).exec(JSON.stringify(response))?.[1] ?? "";
}
