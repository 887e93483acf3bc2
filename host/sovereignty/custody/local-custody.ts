import { createPublicKey } from "node:crypto";

import {
  appraiseEvidence,
  createChainCache,
  verifyNitroDocument,
  type AppraisalPolicy,
  type ChainCache,
  type TrustAnchor,
} from "#attestation";
import {
  MalformedError,
  RefusedError,
  SymphonyError,
  VerificationError,
  bytes32,
  bytesUpTo,
  concat,
  decodeCbor,
  decryptOnce,
  encodeCbor,
  encryptOnce,
  hkdf,
  natural,
  parseWith,
  referenceValuesOf,
  utf8,
} from "#protocol";
import { z } from "zod";

import { sealForRecipient } from "./cms.ts";
import type { KeyCustody, Recipient } from "./key-custody.ts";
import { openKeyFile, replaceKeys, type MasterKey } from "./key-file.ts";

const BLOB_BYTES_MAX = 1024;
const SALT_BYTES = 32;
const CHAINS_MAX = 8;

const blobSchema = z.strictObject({
  version: z.literal(1),
  /** Version of the master key. */
  key: natural,
  salt: bytes32,
  sealed: bytesUpTo(BLOB_BYTES_MAX),
});
type Blob = z.infer<typeof blobSchema>;

const NOT_GOVERNED = "policy versions name images by PCR 0, 1 and 2";

/** What {@link openLocalCustody} needs. */
export interface LocalCustodyOptions {
  /** Holds the master keys, mode 0600. Keep it apart from the batches: with it and the Vault's secrets they open. */
  readonly file: string;
  /** Whether a new file may be made: for a new Vault only. */
  readonly create: boolean;
  /** Roots of the platforms whose enclaves are released to. */
  readonly anchors: readonly TrustAnchor[];
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
}

/**
 * Key custody in a file of this machine. It releases as AWS KMS does with a recipient: it verifies the attestation
 * document and appraises it by governance's reference values, and answers in CMS EnvelopedData to the document's RSA
 * key. An enclave cannot tell the two apart.
 *
 * A blob is canonical CBOR: key version, 32 random bytes, and the wrapped key under HKDF(master key, those bytes).
 *
 * @throws As `openKeyFile`.
 */
export function openLocalCustody(options: LocalCustodyOptions): KeyCustody {
  const { file, anchors, nowMs, random } = options;
  let keys = openKeyFile(file, options.create ? { random } : null);
  const chainCache = createChainCache({ entriesMax: CHAINS_MAX });
  const newest = (): MasterKey => {
    const key = keys.at(-1);
    if (key === undefined) throw unknownKey(0);
    return key;
  };
  const nameOf = ({ version }: { readonly version: number }): string => `local:${version}`;
  const protect = (wrapped: Uint8Array): Uint8Array => {
    const { version, key } = newest();
    const salt = random(SALT_BYTES);
    return encodeCbor({ version: 1, key: version, salt, sealed: sealUnder(key, salt, wrapped) });
  };
  const open = (bytes: Uint8Array): Uint8Array => {
    const blob = parseBlob(bytes);
    const master = keys.find(({ version }) => version === blob.key);
    if (master === undefined) throw unknownKey(blob.key);
    return decryptOnce(blobKey(master.key, blob.salt), blobInfo(blob.salt), blob.sealed);
  };
  const replace = (next: MasterKey[]): void => {
    replaceKeys(file, next);
    keys = next;
  };
  return {
    keyFile: file,
    currentKey: () => nameOf(newest()),
    keyOf: (blob) => nameOf({ version: parseBlob(blob).key }),
    protect: (wrapped) => Promise.resolve(protect(wrapped)),
    release: (blob, recipient) =>
      settled(() => {
        const spki = verifyRecipient(recipient, { anchors, nowMs: nowMs(), chainCache });
        const plaintext = open(blob);
        try {
          return sealForRecipient({ plaintext, spki, random });
        } finally {
          plaintext.fill(0);
        }
      }),
    open: (blob) => settled(() => open(blob)),
    rewrap: (blob) => settled(() => protect(open(blob))),
    renew: (from) =>
      settled(() => {
        if (nameOf(newest()) !== from) return;
        replace([...keys, { version: newest().version + 1, key: random(32) }]);
      }),
    retire: () =>
      settled(() => {
        const retired = keys.slice(0, -1);
        if (retired.length > 0) replace(keys.slice(-1));
        for (const { key } of retired) key.fill(0);
        return retired.map(nameOf);
      }),
  };
}

/** What `work` returns or throws, as a promise. */
async function settled<T>(work: () => T): Promise<T> {
  return await Promise.resolve().then(work);
}

/** The recipient key of the enclave, once the document is found to be what governance accepts, now. */
function verifyRecipient(
  { document, manifestDigest, governance }: Recipient,
  at: {
    readonly anchors: readonly TrustAnchor[];
    readonly nowMs: number;
    readonly chainCache: ChainCache;
  },
): Uint8Array {
  const { anchors, nowMs, chainCache } = at;
  const verified = verifyNitroDocument(document, anchors, { mode: "live", nowMs, chainCache });
  const { attestation } = governance.policy;
  const policy: AppraisalPolicy = {
    platforms: attestation.platforms,
    measurements: referenceValuesOf(governance).map((value) => ({
      pcr0: value.pcr0,
      pcr1: value.pcr1,
      pcr2: value.pcr2,
      validFromMs: value.valid_from_ms,
      validUntilMs: value.valid_until_ms,
    })),
    revokedMeasurements: governance.revokedMeasurements,
    revokedIdentities: governance.revokedModuleIds,
    nonce: { unchecked: "the recorded execution names the session" },
    userData: { equals: manifestDigest },
    publicKey: { unchecked: "the document is where it is said" },
    maxAgeMs: { atMost: attestation.age_ms_max },
    judgedAtMs: nowMs,
    nitro: { pcr3: { unchecked: NOT_GOVERNED }, pcr8: { unchecked: NOT_GOVERNED } },
    snp: null,
    tdx: null,
  };
  appraiseEvidence(verified, policy);
  return requireRsa2048(verified.publicKey);
}

function requireRsa2048(spki: Uint8Array | null): Uint8Array {
  try {
    const key = createPublicKey({ key: Buffer.from(spki ?? []), format: "der", type: "spki" });
    const isRsa = key.asymmetricKeyType === "rsa";
    if (spki !== null && isRsa && key.asymmetricKeyDetails?.modulusLength === 2048) return spki;
  } catch {
    // Refused below, as every other key.
  }
  throw new VerificationError(
    { code: "TEE_PUBLIC_KEY_MISMATCH" },
    "attestation document public_key: expected an RSA-2048 key, got another or none",
  );
}

function sealUnder(key: Uint8Array, salt: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return encryptOnce(blobKey(key, salt), blobInfo(salt), plaintext);
}

/** Of each blob its own: the random salt makes it. */
function blobKey(master: Uint8Array, salt: Uint8Array): Uint8Array {
  return hkdf(master, blobInfo(salt));
}

function blobInfo(salt: Uint8Array): Uint8Array {
  return concat(utf8("symphony/local-custody/v1"), salt);
}

function parseBlob(bytes: Uint8Array): Blob {
  try {
    return parseWith(blobSchema, decodeCbor(bytes, BLOB_BYTES_MAX), "protected key");
  } catch (cause) {
    if (!(cause instanceof SymphonyError)) throw cause;
    throw new MalformedError(
      { code: "TEE_KMS_MALFORMED" },
      "protected key: expected one of a local key file, got another form",
      { cause },
    );
  }
}

function unknownKey(version: number): RefusedError {
  return new RefusedError(
    { code: "TEE_KMS_REFUSED", operation: "open", reason: "unknown key version", version },
    `protected key: expected a key version of the key file, got ${version}`,
  );
}
