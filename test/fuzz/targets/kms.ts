import { generateKeyPairSync } from "node:crypto";

import { openCiphertextForRecipient } from "../../../enclave/adapters/cms.ts";
import { lintKeyPolicy } from "../../../host/key-policy/index.ts";
import { concat, utf8 } from "../../../protocol/index.ts";
import { sealForRecipient } from "../../../host/sovereignty/custody/cms.ts";
import { IMAGE } from "../../attestation/forge.ts";
import { readDer, writeDer, changeDer, type DerTree } from "../der-tree.ts";
import { changeJson, type Json } from "../json-tree.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";
import { DER_GROWN } from "./der.ts";

const zeros = (bytes: number): Uint8Array => new Uint8Array(bytes);

/** Envelopes of a key service for an enclave's key, opened as far as they go. */
export const cms: Target = {
  name: "cms",
  bytesMax: 16 * 1024,
  codes: ["TEE_KMS_MALFORMED"],
  stages: [
    { name: "ber", functions: ["parseBer"] },
    { name: "envelope", functions: ["parseEnvelope"] },
    { name: "recipient", functions: ["parseRecipient"] },
    { name: "content", functions: ["parseEncrypted"] },
    { name: "key", functions: ["openCiphertextForRecipient"] },
  ],
  steps: { perByte: 8, fixed: 4000 },
  allocation: { perByte: 240, fixed: 64 * 1024 },
  shortInputs: 3000,
  open: () => {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const spki = publicKey.export({ format: "der", type: "spki" });
    const seeds = [0, 16, 32, 1000, 4096].map((bytes) =>
      sealForRecipient({ plaintext: zeros(bytes), spki, random: zeros }),
    );
    const trees = seeds.flatMap((seed) => readDer(seed));
    return {
      generate: (random) => blobOf(random, seeds, trees),
      run: accepting((input) => openCiphertextForRecipient(input, privateKey)),
      grown: {
        ...DER_GROWN,
        "endless elements in elements": (bytes) =>
          zeros(bytes).map((_, at) => (at % 2 === 0 ? 0x30 : 0x80)),
        "many parts": (bytes) =>
          concat(
            Uint8Array.of(0x30, 0x80),
            DER_GROWN["empty elements"]?.(bytes) ?? zeros(0),
            zeros(2),
          ),
      },
    };
  },
};

function blobOf(
  random: Random,
  seeds: readonly Uint8Array[],
  trees: readonly DerTree[],
): Uint8Array {
  switch (random.below(16)) {
    case 0:
      return random.bytes(random.length(16 * 1024 + 64));
    case 1:
      return concat(random.pick(seeds), random.bytes(random.length(4096)));
    case 2:
    case 3:
      return mutate(random, random.pick(seeds), seeds);
    default: {
      let tree = random.pick(trees);
      const changes = random.pick([2, 3, 3, 4]);
      for (let change = 0; change < changes; change++) tree = changeDer(random, tree);
      return writeDer(tree);
    }
  }
}

export const ALLOW = {
  Sid: "enclave",
  Effect: "Allow",
  Principal: { AWS: "arn:aws:iam::000000000000:role/parent" },
  Action: ["kms:Decrypt", "kms:GenerateDataKey*"],
  Resource: "*",
  Condition: { StringEqualsIgnoreCase: { "kms:RecipientAttestation:ImageSha384": IMAGE.pcr0 } },
};
const POLICIES: readonly Json[] = [
  { Version: "2012-10-17", Statement: [ALLOW] },
  {
    Version: "2012-10-17",
    Id: "key",
    Statement: [
      {
        Effect: "Allow",
        Principal: { AWS: "arn:aws:iam::000000000000:root" },
        Action: "kms:*",
        Resource: "*",
      },
      ALLOW,
      {
        Effect: "Deny",
        NotPrincipal: "*",
        NotAction: ["kms:Describe*", "kms:Get*"],
        Resource: "*",
        Condition: {
          "ForAnyValue:StringNotLike": { "kms:RecipientAttestation:PCR8": ["a*", "b?"] },
          Null: { "kms:RecipientAttestation:PCR0": true },
        },
      },
    ],
  },
];

/** `lintKeyPolicy`: the JSON of a key policy. */
export const keyPolicy: Target = {
  name: "key-policy",
  bytesMax: 32 * 1024,
  codes: ["SCHEMA_TOO_LARGE", "SCHEMA_JSON_MALFORMED", "SCHEMA_MALFORMED"],
  stages: [
    { name: "json", functions: ["parseJson"] },
    { name: "names", functions: ["expectSingleNames"] },
    { name: "fields", functions: ["parseKeyPolicy"] },
  ],
  steps: { perByte: 32, fixed: 10_000 },
  allocation: { perByte: 900, fixed: 128 * 1024 },
  shortInputs: 3000,
  open: () => ({
    generate: (random) => {
      const text = utf8(JSON.stringify(changeJson(random, random.pick(POLICIES))));
      return random.once(6) ? mutate(random, text) : text;
    },
    run: accepting((input) => lintKeyPolicy(Buffer.from(input).toString("utf8"))),
    grown: {
      "arrays in arrays": (bytes) => zeros(bytes).fill(0x5b),
      "an open string": (bytes) => zeros(bytes).fill(0x5c).with(0, 0x22),
      strings: (bytes) => utf8(`{"Statement":[${`"",`.repeat(bytes / 3)}""]}`),
      statements: (bytes) => policyOf(bytes, ALLOW),
      "denials and grants": (bytes) => policyOf(bytes, ALLOW, { ...ALLOW, Effect: "Deny" }),
      actions: (bytes) =>
        utf8(
          JSON.stringify({ Statement: [{ ...ALLOW, Action: many(bytes / 14, "kms:Decrypt") }] }),
        ),
      wildcards: (bytes) =>
        utf8(
          JSON.stringify({ Statement: [{ ...ALLOW, Action: `kms:${"*e".repeat(bytes / 2)}x` }] }),
        ),
      conditions: (bytes) =>
        utf8(
          JSON.stringify({
            Statement: [
              {
                ...ALLOW,
                Condition: {
                  StringEquals: Object.fromEntries(
                    many(bytes / 12, "key").map((key, at) => [key + at, "v"]),
                  ),
                },
              },
            ],
          }),
        ),
    },
  }),
};

export function many(count: number, item: string): readonly string[] {
  return Array.from({ length: count }, () => item);
}

function policyOf(bytes: number, ...statements: readonly Json[]): Uint8Array {
  const rounds = Math.ceil(bytes / JSON.stringify(statements).length);
  return utf8(
    JSON.stringify({ Statement: Array.from({ length: rounds }, () => statements).flat() }),
  );
}
