import { z } from "zod";

import { base64 } from "#protocol";

import { keyArn } from "./authorize.ts";
import { KmsFault } from "./fault.ts";
import { KEY_SPECS, type SimKey } from "./keys.ts";
import {
  decryptUnder,
  deriveShared,
  encryptUnder,
  generatePair,
  keyIdOf,
  rsaDecrypt,
  rsaEncrypt,
  type EncryptionContext,
} from "./material.ts";
import { blob, recipientSchema, release, verifyRecipient, type Attested } from "./recipient.ts";
import {
  allowedKey,
  expectUsable,
  findKey,
  keyIdSchema,
  parse,
  type Call,
  type Operation,
} from "./service.ts";

/** Limits of the KMS API Reference, by operation. */
const PLAINTEXT_BYTES_MAX = 4096;
const CIPHERTEXT_BYTES_MAX = 6144;
const PUBLIC_KEY_BYTES_MAX = 8192;
const RANDOM_BYTES_MAX = 1024;
const IV_BYTES = 12;

/** Kept as it was parsed: `z.record` leaves a pair named `__proto__` out, which would then be bound to nothing. */
const context = z
  .custom<EncryptionContext>(isEncryptionContext, "expected names and values that are text")
  .default({});
const algorithm = z
  .enum(["SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"])
  .default("SYMMETRIC_DEFAULT");
const encryptSchema = z.strictObject({
  KeyId: keyIdSchema,
  Plaintext: blob(PLAINTEXT_BYTES_MAX),
  EncryptionContext: context,
  EncryptionAlgorithm: algorithm,
});
const decryptSchema = z.strictObject({
  KeyId: keyIdSchema.optional(),
  CiphertextBlob: blob(CIPHERTEXT_BYTES_MAX),
  EncryptionContext: context,
  EncryptionAlgorithm: algorithm,
  Recipient: recipientSchema,
});
const reEncryptSchema = z.strictObject({
  SourceKeyId: keyIdSchema.optional(),
  DestinationKeyId: keyIdSchema,
  CiphertextBlob: blob(CIPHERTEXT_BYTES_MAX),
  SourceEncryptionContext: context,
  DestinationEncryptionContext: context,
});
const dataKeyBase = {
  KeyId: keyIdSchema,
  KeySpec: z.enum(["AES_256", "AES_128"]).optional(),
  NumberOfBytes: z.int().min(1).max(RANDOM_BYTES_MAX).optional(),
  EncryptionContext: context,
};
const dataKeyBareSchema = z.strictObject(dataKeyBase);
const dataKeySchema = z.strictObject({ ...dataKeyBase, Recipient: recipientSchema });
const pairBase = {
  KeyId: keyIdSchema,
  KeyPairSpec: z.enum(KEY_SPECS).exclude(["SYMMETRIC_DEFAULT"]),
  EncryptionContext: context,
};
const pairBareSchema = z.strictObject(pairBase);
const pairSchema = z.strictObject({ ...pairBase, Recipient: recipientSchema });
const randomSchema = z.strictObject({
  NumberOfBytes: z.int().min(1).max(RANDOM_BYTES_MAX),
  Recipient: recipientSchema,
});
const deriveSchema = z.strictObject({
  KeyId: keyIdSchema,
  KeyAgreementAlgorithm: z.literal("ECDH"),
  PublicKey: blob(PUBLIC_KEY_BYTES_MAX),
  Recipient: recipientSchema,
});

/** Operations that use keys. With a Recipient, what they release goes to the attested key only. */
export const CRYPTOGRAPHY: Readonly<Record<string, Operation>> = {
  Encrypt: encrypt,
  Decrypt: decrypt,
  ReEncrypt: reEncrypt,
  GenerateDataKey: (call) => generateDataKey(call, parse(dataKeySchema, call.request)),
  GenerateDataKeyWithoutPlaintext: generateDataKeyBare,
  GenerateDataKeyPair: (call) => generatePairFor(call, parse(pairSchema, call.request)),
  GenerateDataKeyPairWithoutPlaintext: generatePairBare,
  GenerateRandom: generateRandom,
  DeriveSharedSecret: deriveSharedSecret,
};

function isEncryptionContext(given: unknown): boolean {
  return (
    typeof given === "object" &&
    given !== null &&
    !Array.isArray(given) &&
    Object.values(given).every((value) => typeof value === "string")
  );
}

function encrypt(call: Call): object {
  const request = parse(encryptSchema, call.request);
  const { EncryptionContext: encryptionContext, EncryptionAlgorithm: name } = request;
  const key = allowedKey(call, request.KeyId, { action: "kms:Encrypt", encryptionContext });
  expectUsable(key, { usage: "ENCRYPT_DECRYPT" });
  expectAlgorithm(key, name);
  const ciphertext =
    name === "SYMMETRIC_DEFAULT"
      ? wrap(call, key, { plaintext: request.Plaintext, context: encryptionContext })
      : rsaEncrypt(key, request.Plaintext, name);
  if (ciphertext === null) throw new KmsFault("ValidationException", "the plaintext is too long");
  return {
    KeyId: keyArn(key),
    CiphertextBlob: base64(ciphertext),
    EncryptionAlgorithm: name,
  };
}

function decrypt(call: Call): object {
  const request = parse(decryptSchema, call.request);
  const { EncryptionContext: encryptionContext, EncryptionAlgorithm: name } = request;
  const attested = attestedBy(call, request.Recipient);
  const id = decryptingKey(call, request);
  const key = allowedKey(call, id, { action: "kms:Decrypt", attested, encryptionContext });
  expectUsable(key, { usage: "ENCRYPT_DECRYPT" });
  expectAlgorithm(key, name);
  const plaintext =
    name === "SYMMETRIC_DEFAULT"
      ? decryptUnder(key, request.CiphertextBlob, encryptionContext)
      : rsaDecrypt(key, request.CiphertextBlob, name);
  if (plaintext === null) throw invalidCiphertext();
  return {
    KeyId: keyArn(key),
    EncryptionAlgorithm: name,
    ...releaseTo(call, attested, { name: "Plaintext", plaintext }),
  };
}

/** Between symmetric keys only. The plaintext does not leave. */
function reEncrypt(call: Call): object {
  const request = parse(reEncryptSchema, call.request);
  const from = request.SourceEncryptionContext;
  const to = request.DestinationEncryptionContext;
  const id = decryptingKey(call, {
    KeyId: request.SourceKeyId,
    CiphertextBlob: request.CiphertextBlob,
    EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
  });
  const source = allowedKey(call, id, { action: "kms:ReEncryptFrom", encryptionContext: from });
  const asked = { action: "kms:ReEncryptTo", encryptionContext: to };
  const destination = allowedKey(call, request.DestinationKeyId, asked);
  for (const key of [source, destination]) {
    expectUsable(key, { usage: "ENCRYPT_DECRYPT", spec: "SYMMETRIC_DEFAULT" });
  }
  const plaintext = decryptUnder(source, request.CiphertextBlob, from);
  if (plaintext === null) throw invalidCiphertext();
  const ciphertext = wrap(call, destination, { plaintext, context: to });
  plaintext.fill(0);
  return {
    CiphertextBlob: base64(ciphertext),
    SourceKeyId: keyArn(source),
    KeyId: keyArn(destination),
    SourceEncryptionAlgorithm: "SYMMETRIC_DEFAULT",
    DestinationEncryptionAlgorithm: "SYMMETRIC_DEFAULT",
  };
}

/** A symmetric ciphertext names its key, and a KeyId beside it has to agree; RSA needs the KeyId. */
function decryptingKey(
  call: Call,
  request: Pick<z.infer<typeof decryptSchema>, "KeyId" | "CiphertextBlob" | "EncryptionAlgorithm">,
): string {
  const { KeyId: given, CiphertextBlob: ciphertext, EncryptionAlgorithm: name } = request;
  if (name !== "SYMMETRIC_DEFAULT") {
    if (given === undefined) throw new KmsFault("ValidationException", "expected a KeyId");
    return given;
  }
  const named = keyIdOf(ciphertext);
  const asked = given === undefined ? undefined : findKey(call, given);
  if (named === null || call.service.keys.find(named) === undefined) throw invalidCiphertext();
  if (asked !== undefined && asked.keyId !== named) {
    throw new KmsFault("IncorrectKeyException", "the ciphertext is under another key");
  }
  return named;
}

function expectAlgorithm({ spec }: SimKey, name: string): void {
  if ((spec === "SYMMETRIC_DEFAULT") !== (name === "SYMMETRIC_DEFAULT")) {
    throw new KmsFault("InvalidKeyUsageException", `${name} does not go with a ${spec} key`);
  }
}

function generateDataKey(call: Call, request: z.infer<typeof dataKeySchema>): object {
  const { KeySpec, NumberOfBytes, EncryptionContext: encryptionContext } = request;
  if ((KeySpec === undefined) === (NumberOfBytes === undefined)) {
    throw new KmsFault("ValidationException", "expected one of KeySpec and NumberOfBytes");
  }
  const attested = attestedBy(call, request.Recipient);
  const asked = { action: "kms:GenerateDataKey", attested, encryptionContext };
  const key = allowedKey(call, request.KeyId, asked);
  expectUsable(key, { usage: "ENCRYPT_DECRYPT", spec: "SYMMETRIC_DEFAULT" });
  const plaintext = call.service.random(NumberOfBytes ?? (KeySpec === "AES_128" ? 16 : 32));
  return {
    KeyId: keyArn(key),
    CiphertextBlob: base64(wrap(call, key, { plaintext, context: encryptionContext })),
    ...releaseTo(call, attested, { name: "Plaintext", plaintext }),
  };
}

function generateDataKeyBare(call: Call): object {
  const { KeySpec, NumberOfBytes, ...request } = parse(dataKeyBareSchema, call.request);
  if (KeySpec !== undefined && NumberOfBytes !== undefined) {
    throw new KmsFault("ValidationException", "expected one of KeySpec and NumberOfBytes");
  }
  const encryptionContext = request.EncryptionContext;
  const asked = { action: "kms:GenerateDataKeyWithoutPlaintext", encryptionContext };
  const key = allowedKey(call, request.KeyId, asked);
  expectUsable(key, { usage: "ENCRYPT_DECRYPT", spec: "SYMMETRIC_DEFAULT" });
  const plaintext = call.service.random(NumberOfBytes ?? (KeySpec === "AES_128" ? 16 : 32));
  const ciphertext = wrap(call, key, { plaintext, context: encryptionContext });
  plaintext.fill(0);
  return { KeyId: keyArn(key), CiphertextBlob: base64(ciphertext) };
}

async function generatePairFor(call: Call, request: z.infer<typeof pairSchema>): Promise<object> {
  const { KeyPairSpec: spec, EncryptionContext: encryptionContext } = request;
  const attested = attestedBy(call, request.Recipient);
  const asked = { action: "kms:GenerateDataKeyPair", attested, encryptionContext };
  const key = allowedKey(call, request.KeyId, asked);
  expectUsable(key, { usage: "ENCRYPT_DECRYPT", spec: "SYMMETRIC_DEFAULT" });
  const { pkcs8: plaintext, spki } = await generatePair(spec);
  const wrapped = wrap(call, key, { plaintext, context: encryptionContext });
  return {
    ...{ KeyId: keyArn(key), KeyPairSpec: spec },
    ...{ PublicKey: base64(spki), PrivateKeyCiphertextBlob: base64(wrapped) },
    ...releaseTo(call, attested, { name: "PrivateKeyPlaintext", plaintext }),
  };
}

async function generatePairBare(call: Call): Promise<object> {
  const request = parse(pairBareSchema, call.request);
  const { KeyPairSpec: spec, EncryptionContext: encryptionContext } = request;
  const asked = { action: "kms:GenerateDataKeyPairWithoutPlaintext", encryptionContext };
  const key = allowedKey(call, request.KeyId, asked);
  expectUsable(key, { usage: "ENCRYPT_DECRYPT", spec: "SYMMETRIC_DEFAULT" });
  const { pkcs8: plaintext, spki } = await generatePair(spec);
  const wrapped = wrap(call, key, { plaintext, context: encryptionContext });
  plaintext.fill(0);
  return {
    ...{ KeyId: keyArn(key), KeyPairSpec: spec },
    ...{ PublicKey: base64(spki), PrivateKeyCiphertextBlob: base64(wrapped) },
  };
}

/** No key is used, so no key policy is asked. */
function generateRandom(call: Call): object {
  const request = parse(randomSchema, call.request);
  const attested = attestedBy(call, request.Recipient);
  const plaintext = call.service.random(request.NumberOfBytes);
  return releaseTo(call, attested, { name: "Plaintext", plaintext });
}

function deriveSharedSecret(call: Call): object {
  const request = parse(deriveSchema, call.request);
  const attested = attestedBy(call, request.Recipient);
  const asked = { action: "kms:DeriveSharedSecret", attested };
  const key = allowedKey(call, request.KeyId, asked);
  expectUsable(key, { usage: "KEY_AGREEMENT" });
  const plaintext = deriveShared(key, request.PublicKey);
  if (plaintext === null) {
    throw new KmsFault("ValidationException", "expected a public key on the key's curve");
  }
  return {
    ...{ KeyId: keyArn(key), KeyAgreementAlgorithm: "ECDH", KeyOrigin: "AWS_KMS" },
    ...releaseTo(call, attested, { name: "SharedSecret", plaintext }),
  };
}

function attestedBy(
  { service }: Call,
  recipient: z.infer<typeof recipientSchema>,
): Attested | null {
  return verifyRecipient(recipient, service.anchors, service.nowMs());
}

function releaseTo(
  { service }: Call,
  to: Attested | null,
  { name, plaintext }: { readonly name: string; readonly plaintext: Uint8Array },
): object {
  return release(plaintext, { name, to, random: service.random });
}

function wrap(
  { service }: Call,
  key: SimKey,
  given: { readonly plaintext: Uint8Array; readonly context: EncryptionContext },
): Uint8Array {
  const iv = service.random(IV_BYTES);
  return encryptUnder(key, given.plaintext, { context: given.context, iv });
}

function invalidCiphertext(): KmsFault {
  return new KmsFault("InvalidCiphertextException", "no ciphertext of this service and context");
}
