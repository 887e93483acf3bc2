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
 * All methods throw {@link RefusedError} TEE_KMS_REFUSED, {@link UnavailableError} TEE_KMS_UNAVAILABLE and
 * {@link MalformedError} TEE_KMS_MALFORMED.
 */
export interface Kms {
  /** Creates a symmetric key under a key policy (its JSON text). Returns the key id. */
  createKey(policy: string): Promise<string>;
  /** Encrypts at most 4096 bytes. */
  encrypt(keyId: string, plaintext: Uint8Array): Promise<Uint8Array>;
  /**
   * Decrypts for the enclave whose document this is. The plaintext never comes here: the result is CMS that
   * only the key in the document opens. An answer that carries plaintext beside it is refused.
   */
  decryptForRecipient(
    keyId: string,
    ciphertext: Uint8Array,
    attestationDocument: Uint8Array,
  ): Promise<Uint8Array>;
  /** Closes connections. */
  close(): void;
}

/** Time for one call, its retries included. */
export const KMS_DEADLINE_MS = 10_000;
/** The largest CMS blob accepted: as the enclave's own limit. */
const CMS_BYTES_MAX = 16 * 1024;
const ATTEMPTS_MAX = 3;

/** AWS's names for "you may not", or "not this": asking again gives the same answer. */
const REFUSALS: ReadonlySet<string> = new Set([
  "AccessDeniedException",
  "DisabledException",
  "IncorrectKeyException",
  "InvalidCiphertextException",
  "InvalidGrantTokenException",
  "InvalidKeyUsageException",
  "KMSInvalidStateException",
  "MalformedPolicyDocumentException",
  "NotFoundException",
  "UnrecognizedClientException",
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
    decryptForRecipient: (keyId, ciphertext, document) =>
      decryptForRecipient(call, { keyId, ciphertext, document }),
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
  const ciphertext = answer.CiphertextBlob;
  if (ciphertext === undefined || ciphertext.length === 0) throw malformed("a ciphertext");
  return Uint8Array.from(ciphertext);
}

async function decryptForRecipient(
  call: Call,
  request: { keyId: string; ciphertext: Uint8Array; document: Uint8Array },
): Promise<Uint8Array> {
  const answer = await call("Decrypt", (sdk, client, options) =>
    client.send(
      new sdk.DecryptCommand({
        KeyId: request.keyId,
        CiphertextBlob: request.ciphertext,
        Recipient: {
          KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256",
          AttestationDocument: request.document,
        },
      }),
      options,
    ),
  );
  const { Plaintext: plaintext, CiphertextForRecipient: cms } = answer;
  if (plaintext !== undefined && plaintext.length > 0) {
    plaintext.fill(0);
    throw malformed("no plaintext beside the recipient's ciphertext");
  }
  if (cms === undefined || cms.length === 0 || cms.length > CMS_BYTES_MAX) {
    throw malformed(`1 to ${CMS_BYTES_MAX} bytes for the recipient`);
  }
  return Uint8Array.from(cms);
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
