import type * as Sdk from "@aws-sdk/client-kms";

import type { NitroMeasurement } from "#attestation";
import { MalformedError, RefusedError, UnavailableError, type SymphonyError } from "#protocol";

/** Where a key service is, and who asks. */
export interface KmsOptions {
  readonly region: string;
  /** Absent: AWS's own endpoint of the region. */
  readonly endpoint?: string;
  /** Absent: what the SDK finds on this machine. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Time for one call with its retries; absent: {@link KMS_DEADLINE_MS}. */
  readonly deadlineMs?: number;
}

/**
 * A key service that releases to attested enclaves.
 *
 * What a `...ForRecipient` method releases never comes here in the clear: the result is CMS that only the key
 * in the attestation document opens, and an answer that carries plaintext beside it is refused.
 *
 * A key of null is the one that a symmetric ciphertext names itself.
 *
 * All methods throw {@link RefusedError} TEE_KMS_REFUSED, {@link UnavailableError} TEE_KMS_UNAVAILABLE and
 * {@link MalformedError} TEE_KMS_MALFORMED.
 */
export interface Kms {
  /** Creates a symmetric key under a key policy (its JSON text). Returns the key id. */
  createKey(policy: string): Promise<string>;
  /** Encrypts at most 4096 bytes. */
  encrypt(keyId: string, plaintext: Uint8Array): Promise<Uint8Array>;
  /** Decrypts in the clear, where the key policy allows that without attestation. The caller zeroes what it gets. */
  decrypt(keyId: string | null, ciphertext: Uint8Array): Promise<Uint8Array>;
  /** Encrypts under the key `to` what is under `from`, inside the service. */
  reEncrypt(args: {
    readonly from: string | null;
    readonly to: string;
    readonly ciphertext: Uint8Array;
  }): Promise<Uint8Array>;
  /** Decrypts for the enclave whose document this is. */
  decryptForRecipient(
    keyId: string | null,
    ciphertext: Uint8Array,
    attestationDocument: Uint8Array,
  ): Promise<Uint8Array>;
  /** A new AES-256 data key, under the service's key and for the enclave. */
  generateDataKeyForRecipient(
    keyId: string,
    attestationDocument: Uint8Array,
  ): Promise<RecipientDataKey>;
  /** A new key pair, its private half (PKCS #8) under the service's key and for the enclave. */
  generateDataKeyPairForRecipient(
    keyId: string,
    spec: DataKeyPairSpec,
    attestationDocument: Uint8Array,
  ): Promise<RecipientDataKeyPair>;
  /** 1 to 1024 random bytes. */
  generateRandomForRecipient(bytes: number, attestationDocument: Uint8Array): Promise<Uint8Array>;
  /** The ECDH secret of the service's key and `publicKey`. */
  deriveSharedSecretForRecipient(
    keyId: string,
    publicKey: PeerKey,
    attestationDocument: Uint8Array,
  ): Promise<Uint8Array>;
  /** Closes connections. */
  close(): void;
}

/** A public key as SubjectPublicKeyInfo, DER. */
export interface PeerKey {
  readonly spki: Uint8Array;
}

/** A data key twice: under the service's key, to be stored, and for the enclave. */
export interface RecipientDataKey {
  readonly ciphertext: Uint8Array;
  readonly cms: Uint8Array;
}

/** See {@link Kms.generateDataKeyPairForRecipient}. */
export interface RecipientDataKeyPair extends RecipientDataKey {
  readonly publicKey: PeerKey;
}

/** Key pairs that are made for recipients. */
export type DataKeyPairSpec =
  "RSA_2048" | "RSA_3072" | "RSA_4096" | "ECC_NIST_P256" | "ECC_NIST_P384" | "ECC_NIST_P521";

/** Time for one call, its retries included. */
export const KMS_DEADLINE_MS = 10_000;
/** The largest CMS blob accepted: as the enclave's own limit. */
const CMS_BYTES_MAX = 16 * 1024;
const ATTEMPTS_MAX = 3;

/** AWS's names for "you may not", or "not this": asking again gives the same answer. */
const REFUSALS: ReadonlySet<string> = new Set([
  "AccessDeniedException",
  "DisabledException",
  "ExpiredTokenException",
  "IncorrectKeyException",
  "InvalidCiphertextException",
  "InvalidGrantTokenException",
  "InvalidKeyUsageException",
  "InvalidSignatureException",
  "KMSInvalidStateException",
  "LimitExceededException",
  "MalformedPolicyDocumentException",
  "MissingAuthenticationTokenException",
  "NotFoundException",
  "UnrecognizedClientException",
  "UnsupportedOperationException",
  "ValidationException",
]);

/** AWS KMS, or what speaks its protocol. The SDK is loaded on the first call. */
export function createKms(options: KmsOptions): Kms {
  const deadlineMs = options.deadlineMs ?? KMS_DEADLINE_MS;
  let connection: Promise<Connection> | null = null;
  const call: Call = async (operation, use) => {
    connection ??= connect(options);
    const { sdk, client } = await connection;
    try {
      return await use(sdk, client, { abortSignal: AbortSignal.timeout(deadlineMs) });
    } catch (error) {
      throw translate(operation, error);
    }
  };
  return {
    createKey: (policy) => createKey(call, policy),
    encrypt: (keyId, plaintext) => encrypt(call, keyId, plaintext),
    decrypt: (keyId, ciphertext) => decrypt(call, keyId, ciphertext),
    reEncrypt: (args) => reEncrypt(call, args),
    decryptForRecipient: (keyId, ciphertext, document) =>
      decryptForRecipient(call, { keyId, ciphertext, document }),
    generateDataKeyForRecipient: (keyId, document) => generateDataKey(call, keyId, document),
    generateDataKeyPairForRecipient: (keyId, spec, document) =>
      generateDataKeyPair(call, { keyId, spec, document }),
    generateRandomForRecipient: (bytes, document) => generateRandom(call, bytes, document),
    deriveSharedSecretForRecipient: (keyId, publicKey, document) =>
      deriveSharedSecret(call, { keyId, publicKey, document }),
    close: () => {
      void connection?.then(({ client }) => client.destroy());
    },
  };
}

/**
 * A key policy that releases plaintext only to enclaves of these measurements: PCR 0, 1 and 2 of one entry.
 *
 * `principal` (an ARN, or `*` in the simulator) may encrypt and administer. It may not decrypt without
 * attestation, but on AWS whoever may change the policy can change that too.
 *
 * @throws {@link RefusedError} TEE_POLICY_EMPTY without measurements.
 * @see AWS KMS developer guide, "Condition keys for AWS Nitro Enclaves"
 */
export function recipientKeyPolicy(
  principal: string,
  measurements: readonly NitroMeasurement[],
): string {
  if (measurements.length === 0) {
    throw new RefusedError(
      { code: "TEE_POLICY_EMPTY" },
      "key policy: expected at least one measurement, got none",
    );
  }
  const common = { Effect: "Allow", Principal: { AWS: principal }, Resource: "*" } as const;
  const released = measurements.map(({ pcr0, pcr1, pcr2 }) => ({
    ...common,
    Action: ["kms:Decrypt", "kms:GenerateDataKey"],
    Condition: {
      StringEqualsIgnoreCase: {
        "kms:RecipientAttestation:ImageSha384": pcr0,
        "kms:RecipientAttestation:PCR1": pcr1,
        "kms:RecipientAttestation:PCR2": pcr2,
      },
    },
  }));
  const administered = {
    ...common,
    Action: ["kms:Encrypt", "kms:Describe*", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"],
  };
  return JSON.stringify({ Version: "2012-10-17", Statement: [administered, ...released] });
}

interface Connection {
  readonly sdk: typeof Sdk;
  readonly client: Sdk.KMSClient;
}
type Call = <T>(
  operation: string,
  use: (
    sdk: typeof Sdk,
    client: Sdk.KMSClient,
    options: { abortSignal: AbortSignal },
  ) => Promise<T>,
) => Promise<T>;

async function connect({ region, endpoint, credentials }: KmsOptions): Promise<Connection> {
  const sdk = await import("@aws-sdk/client-kms");
  const client = new sdk.KMSClient({
    region,
    maxAttempts: ATTEMPTS_MAX,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  });
  return { sdk, client };
}

async function createKey(call: Call, policy: string): Promise<string> {
  const answer = await call("CreateKey", (sdk, client, options) =>
    client.send(new sdk.CreateKeyCommand({ Policy: policy }), options),
  );
  const keyId = answer.KeyMetadata?.KeyId;
  if (keyId === undefined || keyId === "") throw malformed("a key id");
  return keyId;
}

async function encrypt(call: Call, keyId: string, plaintext: Uint8Array): Promise<Uint8Array> {
  const answer = await call("Encrypt", (sdk, client, options) =>
    client.send(new sdk.EncryptCommand({ KeyId: keyId, Plaintext: plaintext }), options),
  );
  return bytesOf(answer.CiphertextBlob, "a ciphertext");
}

async function decrypt(
  call: Call,
  keyId: string | null,
  ciphertext: Uint8Array,
): Promise<Uint8Array> {
  const answer = await call("Decrypt", (sdk, client, options) =>
    client.send(new sdk.DecryptCommand({ ...named(keyId), CiphertextBlob: ciphertext }), options),
  );
  return bytesOf(answer.Plaintext, "a plaintext");
}

async function reEncrypt(
  call: Call,
  { from, to, ciphertext }: { from: string | null; to: string; ciphertext: Uint8Array },
): Promise<Uint8Array> {
  const answer = await call("ReEncrypt", (sdk, client, options) =>
    client.send(
      new sdk.ReEncryptCommand({
        ...(from === null ? {} : { SourceKeyId: from }),
        DestinationKeyId: to,
        CiphertextBlob: ciphertext,
      }),
      options,
    ),
  );
  return bytesOf(answer.CiphertextBlob, "a ciphertext");
}

function named(keyId: string | null): { KeyId?: string } {
  return keyId === null ? {} : { KeyId: keyId };
}

async function decryptForRecipient(
  call: Call,
  request: { keyId: string | null; ciphertext: Uint8Array; document: Uint8Array },
): Promise<Uint8Array> {
  const answer = await call("Decrypt", (sdk, client, options) =>
    client.send(
      new sdk.DecryptCommand({
        ...named(request.keyId),
        CiphertextBlob: request.ciphertext,
        Recipient: recipientOf(request.document),
      }),
      options,
    ),
  );
  return sealedOnly(answer.CiphertextForRecipient, answer.Plaintext);
}

async function generateDataKey(
  call: Call,
  keyId: string,
  document: Uint8Array,
): Promise<RecipientDataKey> {
  const answer = await call("GenerateDataKey", (sdk, client, options) =>
    client.send(
      new sdk.GenerateDataKeyCommand({
        KeyId: keyId,
        KeySpec: "AES_256",
        Recipient: recipientOf(document),
      }),
      options,
    ),
  );
  const cms = sealedOnly(answer.CiphertextForRecipient, answer.Plaintext);
  return { cms, ciphertext: bytesOf(answer.CiphertextBlob, "a ciphertext") };
}

async function generateDataKeyPair(
  call: Call,
  request: { keyId: string; spec: DataKeyPairSpec; document: Uint8Array },
): Promise<RecipientDataKeyPair> {
  const answer = await call("GenerateDataKeyPair", (sdk, client, options) =>
    client.send(
      new sdk.GenerateDataKeyPairCommand({
        KeyId: request.keyId,
        KeyPairSpec: request.spec,
        Recipient: recipientOf(request.document),
      }),
      options,
    ),
  );
  const cms = sealedOnly(answer.CiphertextForRecipient, answer.PrivateKeyPlaintext);
  const ciphertext = bytesOf(answer.PrivateKeyCiphertextBlob, "a ciphertext");
  return { cms, ciphertext, publicKey: { spki: bytesOf(answer.PublicKey, "a public key") } };
}

async function generateRandom(
  call: Call,
  bytes: number,
  document: Uint8Array,
): Promise<Uint8Array> {
  const answer = await call("GenerateRandom", (sdk, client, options) =>
    client.send(
      new sdk.GenerateRandomCommand({ NumberOfBytes: bytes, Recipient: recipientOf(document) }),
      options,
    ),
  );
  return sealedOnly(answer.CiphertextForRecipient, answer.Plaintext);
}

async function deriveSharedSecret(
  call: Call,
  request: { keyId: string; publicKey: PeerKey; document: Uint8Array },
): Promise<Uint8Array> {
  const answer = await call("DeriveSharedSecret", (sdk, client, options) =>
    client.send(
      new sdk.DeriveSharedSecretCommand({
        KeyId: request.keyId,
        KeyAgreementAlgorithm: "ECDH",
        PublicKey: request.publicKey.spki,
        Recipient: recipientOf(request.document),
      }),
      options,
    ),
  );
  return sealedOnly(answer.CiphertextForRecipient, answer.SharedSecret);
}

function recipientOf(document: Uint8Array): Sdk.RecipientInfo {
  return { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument: document };
}

/** The recipient's ciphertext, and nothing in the clear beside it. */
function sealedOnly(cms: Uint8Array | undefined, plaintext: Uint8Array | undefined): Uint8Array {
  if (plaintext !== undefined && plaintext.length > 0) {
    plaintext.fill(0);
    throw malformed("no plaintext beside the recipient's ciphertext");
  }
  const sealed = bytesOf(cms, "bytes for the recipient");
  if (sealed.length > CMS_BYTES_MAX) {
    throw malformed(`at most ${CMS_BYTES_MAX} bytes for the recipient`);
  }
  return sealed;
}

function bytesOf(bytes: Uint8Array | undefined, expected: string): Uint8Array {
  if (bytes === undefined || bytes.length === 0) throw malformed(expected);
  return Uint8Array.from(bytes);
}

/** The service's own message is not handed on; its error name is public. */
function translate(operation: string, error: unknown): SymphonyError {
  const name = error instanceof Error ? error.name : "unknown";
  if (REFUSALS.has(name)) {
    return new RefusedError(
      { code: "TEE_KMS_REFUSED", operation, reason: name },
      `kms ${operation}: expected permission, got ${name}`,
      { cause: error },
    );
  }
  return new UnavailableError(
    { code: "TEE_KMS_UNAVAILABLE", operation, reason: name },
    `kms ${operation}: expected an answer, got ${name}`,
    { cause: error },
  );
}

function malformed(expected: string): MalformedError {
  return new MalformedError(
    { code: "TEE_KMS_MALFORMED" },
    `kms: expected ${expected}, got something else`,
  );
}
