import { createPublicKey } from "node:crypto";

import { z } from "zod";

import {
  verifyNitroDocument,
  type NitroClaims,
  type TrustAnchor,
  type VerifiedEvidence,
} from "#attestation";
import { SymphonyError, base64, hex } from "#protocol";

import { sealForRecipient } from "./cms.ts";
import { SimKeyStore, decryptUnder, encryptUnder, keyIdOf, type SimKey } from "./keys.ts";
import { KEY_POLICY_BYTES_MAX, isAllowed, keyPolicySchema, type KeyPolicy } from "./policy.ts";

/** What the operations of a simulated KMS need. */
export interface KmsOperationsOptions {
  readonly directory: string;
  readonly anchors: readonly TrustAnchor[];
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
}

/** An error as AWS names it. */
export class KmsFault extends Error {
  readonly type: string;

  constructor(type: string, message: string) {
    super(message);
    this.type = type;
  }
}

/** KMS accepts documents of the last five minutes (developer guide, "Cryptographic attestation"). */
const DOCUMENT_AGE_MS_MAX = 300_000;
const CLOCK_AHEAD_MS_MAX = 30_000;
const PLAINTEXT_BYTES_MAX = 4096;
const CIPHERTEXT_BYTES_MAX = 6144;
const ARN_PREFIX = "arn:aws:kms:sim-local-1:000000000000:key/";
const ZERO_PCR = "00".repeat(48);

const blob = (max: number) =>
  z
    .base64()
    .max(Math.ceil(max / 3) * 4)
    .transform((text) => new Uint8Array(Buffer.from(text, "base64")));
const keyId = z.string().min(1).max(2048);
const context = z.record(z.string(), z.string()).default({});
const recipient = z
  .strictObject({
    KeyEncryptionAlgorithm: z.literal("RSAES_OAEP_SHA_256"),
    AttestationDocument: blob(262_144),
  })
  .optional();

const createKeySchema = z.strictObject({
  Policy: z.string().max(KEY_POLICY_BYTES_MAX),
  Description: z.string().max(8192).optional(),
  KeyUsage: z.literal("ENCRYPT_DECRYPT").optional(),
  KeySpec: z.literal("SYMMETRIC_DEFAULT").optional(),
});
const encryptSchema = z.strictObject({
  KeyId: keyId,
  Plaintext: blob(PLAINTEXT_BYTES_MAX),
  EncryptionContext: context,
});
const decryptSchema = z.strictObject({
  KeyId: keyId.optional(),
  CiphertextBlob: blob(CIPHERTEXT_BYTES_MAX),
  EncryptionContext: context,
  Recipient: recipient,
});
const dataKeySchema = z.strictObject({
  KeyId: keyId,
  KeySpec: z.enum(["AES_256", "AES_128"]).optional(),
  NumberOfBytes: z.int().min(1).max(1024).optional(),
  EncryptionContext: context,
  Recipient: recipient,
});
const randomSchema = z.strictObject({
  NumberOfBytes: z.int().min(1).max(1024),
  Recipient: recipient,
});

/**
 * The operations of a simulated KMS: `(operation, request) => response`, both JSON values.
 *
 * With a Recipient, the plaintext leaves only as CMS for the attested key. Debug enclaves get nothing.
 *
 * @throws {@link KmsFault} for whatever the request got wrong.
 */
export function createKmsOperations(
  options: KmsOperationsOptions,
): (operation: string, request: unknown) => object {
  const keys = new SimKeyStore(options.directory);
  const service: Service = { ...options, keys };
  return (operation, request) => {
    switch (operation) {
      case "CreateKey":
        return createKey(service, parse(createKeySchema, request));
      case "Encrypt":
        return encrypt(service, parse(encryptSchema, request));
      case "Decrypt":
        return decrypt(service, parse(decryptSchema, request));
      case "GenerateDataKey":
        return generateDataKey(service, parse(dataKeySchema, request));
      case "GenerateRandom":
        return generateRandom(service, parse(randomSchema, request));
      default:
        throw new KmsFault("UnknownOperationException", "expected an operation the simulator has");
    }
  };
}

interface Service extends KmsOperationsOptions {
  readonly keys: SimKeyStore;
}
type Recipient = z.infer<typeof recipient>;

function createKey(service: Service, request: z.infer<typeof createKeySchema>): object {
  const key = service.keys.create(parsePolicy(request.Policy), service.random(32));
  return {
    KeyMetadata: {
      KeyId: key.keyId,
      Arn: ARN_PREFIX + key.keyId,
      CreationDate: Math.floor(service.nowMs() / 1000),
      Enabled: true,
      KeyState: "Enabled",
      KeyUsage: "ENCRYPT_DECRYPT",
      KeySpec: "SYMMETRIC_DEFAULT",
      Origin: "AWS_KMS",
      KeyManager: "CUSTOMER",
      Description: "SIMULATED",
    },
  };
}

function encrypt(service: Service, request: z.infer<typeof encryptSchema>): object {
  const key = findKey(service, request.KeyId);
  authorize(key, "kms:Encrypt", null);
  if (request.Plaintext.length === 0) throw new KmsFault("ValidationException", "no plaintext");
  const ciphertext = encryptUnder(key, request.Plaintext, {
    context: request.EncryptionContext,
    iv: service.random(12),
  });
  return { KeyId: ARN_PREFIX + key.keyId, CiphertextBlob: base64(ciphertext) };
}

function decrypt(service: Service, request: z.infer<typeof decryptSchema>): object {
  const { CiphertextBlob, KeyId, EncryptionContext, Recipient } = request;
  const named = keyIdOf(CiphertextBlob);
  const key = named === null ? undefined : service.keys.find(named);
  if (key === undefined) throw new KmsFault("InvalidCiphertextException", "no such ciphertext");
  if (KeyId !== undefined && findKey(service, KeyId) !== key) {
    throw new KmsFault("IncorrectKeyException", "the ciphertext is under another key");
  }
  const attested = verifyRecipient(service, Recipient);
  authorize(key, "kms:Decrypt", attested);
  const plaintext = decryptUnder(key, CiphertextBlob, EncryptionContext);
  if (plaintext === null) throw new KmsFault("InvalidCiphertextException", "no such ciphertext");
  return {
    KeyId: ARN_PREFIX + key.keyId,
    EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
    ...release(service, plaintext, attested),
  };
}

function generateDataKey(service: Service, request: z.infer<typeof dataKeySchema>): object {
  const { KeySpec, NumberOfBytes, EncryptionContext, Recipient } = request;
  if ((KeySpec === undefined) === (NumberOfBytes === undefined)) {
    throw new KmsFault("ValidationException", "expected one of KeySpec and NumberOfBytes");
  }
  const key = findKey(service, request.KeyId);
  const attested = verifyRecipient(service, Recipient);
  authorize(key, "kms:GenerateDataKey", attested);
  const plaintext = service.random(NumberOfBytes ?? (KeySpec === "AES_128" ? 16 : 32));
  const ciphertext = encryptUnder(key, plaintext, {
    context: EncryptionContext,
    iv: service.random(12),
  });
  return {
    KeyId: ARN_PREFIX + key.keyId,
    CiphertextBlob: base64(ciphertext),
    ...release(service, plaintext, attested),
  };
}

function generateRandom(service: Service, request: z.infer<typeof randomSchema>): object {
  const attested = verifyRecipient(service, request.Recipient);
  return release(service, service.random(request.NumberOfBytes), attested);
}

interface Attested {
  readonly spki: Uint8Array;
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
}

function verifyRecipient(service: Service, given: Recipient): Attested | null {
  if (given === undefined) return null;
  const { anchors, nowMs } = service;
  const now = nowMs();
  const evidence = verifyDocument(given.AttestationDocument, anchors, now);
  const ageMs = now - evidence.claims.timestampMs;
  if (ageMs > DOCUMENT_AGE_MS_MAX || ageMs < -CLOCK_AHEAD_MS_MAX) {
    throw new KmsFault("ValidationException", "the attestation document is too old or too new");
  }
  const {
    publicKey,
    claims: { pcrs },
  } = evidence;
  if (publicKey === null || !isRsa2048(publicKey)) {
    throw new KmsFault("ValidationException", "expected an RSA-2048 public key in the document");
  }
  return { spki: publicKey, pcrs };
}

function verifyDocument(
  document: Uint8Array,
  anchors: readonly TrustAnchor[],
  nowMs: number,
): VerifiedEvidence<NitroClaims> {
  try {
    return verifyNitroDocument(document, anchors, { mode: "live", nowMs });
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    throw new KmsFault("ValidationException", `attestation document: ${error.code}`);
  }
}

function isRsa2048(spki: Uint8Array): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    const { modulusLength } = key.asymmetricKeyDetails ?? {};
    return key.asymmetricKeyType === "rsa" && modulusLength === 2048;
  } catch {
    return false;
  }
}

function authorize(key: SimKey, action: string, attested: Attested | null): void {
  const pcrs = [...(attested?.pcrs ?? [])];
  const isDebug = pcrs.some(([index, pcr]) => index <= 2 && hex(pcr) === ZERO_PCR);
  const context = new Map(
    pcrs.map(([index, pcr]) => [`kms:recipientattestation:pcr${index}`, hex(pcr)]),
  );
  const image = attested?.pcrs.get(0);
  if (image !== undefined) context.set("kms:recipientattestation:imagesha384", hex(image));
  if (isDebug || !isAllowed(key.policy, { action, context })) {
    throw new KmsFault("AccessDeniedException", `no statement of the key policy allows ${action}`);
  }
}

function release(service: Service, plaintext: Uint8Array, attested: Attested | null): object {
  if (attested === null) return { Plaintext: base64(plaintext) };
  const { random } = service;
  const sealed = sealForRecipient({ plaintext, spki: attested.spki, random });
  plaintext.fill(0);
  return { CiphertextForRecipient: base64(sealed) };
}

function findKey(service: Service, id: string): SimKey {
  const key = service.keys.find(id);
  if (key === undefined) throw new KmsFault("NotFoundException", "no such key");
  return key;
}

function parsePolicy(text: string): KeyPolicy {
  try {
    return keyPolicySchema.parse(JSON.parse(text));
  } catch {
    throw new KmsFault("MalformedPolicyDocumentException", "expected a key policy");
  }
}

function parse<T>(schema: z.ZodType<T>, request: unknown): T {
  const parsed = schema.safeParse(request);
  if (parsed.success) return parsed.data;
  throw new KmsFault("ValidationException", z.prettifyError(parsed.error).slice(0, 500));
}
