import {
  RefusedError,
  SymphonyError,
  bytesUpTo,
  decodeCbor,
  encodeCbor,
  parseWith,
} from "#protocol";
import { z } from "zod";

import type { Kms } from "../../adapters/kms.ts";
import type { KeyCustody } from "./key-custody.ts";

const KEY_ID_MAX = 2048;
/** A ciphertext of KMS is at most 6144 bytes. AWS KMS API Reference, Decrypt */
const SEALED_BYTES_MAX = 6144;
const BLOB_BYTES_MAX = 16 * 1024;

const blobSchema = z.strictObject({
  version: z.literal(1),
  key_id: z.string().min(1).max(KEY_ID_MAX),
  sealed: bytesUpTo(SEALED_BYTES_MAX),
});

/** A key id, null for a blob from before blobs said theirs, and what KMS made under it. */
interface Blob {
  readonly keyId: string | null;
  readonly sealed: Uint8Array;
}

/**
 * Key custody in AWS KMS, or what speaks its protocol, under the key `keyId`. Which enclaves it releases to is said by
 * the key's policy, and judged there.
 *
 * Its keys are made and destroyed in KMS. To rotate, name another key and re-wrap: KMS does that itself, where both key
 * policies allow it (`kms:ReEncryptFrom`, `kms:ReEncryptTo`), so no key passes through this machine.
 */
export function kmsCustody(kms: Kms, keyId: string): KeyCustody {
  const labelled = (sealed: Uint8Array): Uint8Array =>
    encodeCbor({ version: 1, key_id: keyId, sealed });
  return {
    keyFile: null,
    currentKey: () => keyId,
    keyOf: (blob) => parseBlob(blob).keyId,
    protect: async (wrapped) => labelled(await kms.encrypt(keyId, wrapped)),
    release: (blob, { document }) => {
      const { keyId: under, sealed } = parseBlob(blob);
      return kms.decryptForRecipient(under, sealed, document);
    },
    open: async (blob) => {
      const { keyId: under, sealed } = parseBlob(blob);
      try {
        return await kms.decrypt(under, sealed);
      } catch (cause) {
        throw cause instanceof RefusedError ? enclavesOnly(cause) : cause;
      }
    },
    rewrap: async (blob) => {
      const { keyId: under, sealed } = parseBlob(blob);
      return labelled(await kms.reEncrypt({ from: under, to: keyId, ciphertext: sealed }));
    },
    renew: () => Promise.resolve(),
    retire: () => Promise.resolve([]),
  };
}

/** No ciphertext of KMS is a canonical map: one that does not parse is from before blobs were labelled. */
function parseBlob(bytes: Uint8Array): Blob {
  try {
    const { key_id: keyId, sealed } = parseWith(
      blobSchema,
      decodeCbor(bytes, BLOB_BYTES_MAX),
      "protected key",
    );
    return { keyId, sealed };
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    return { keyId: null, sealed: bytes };
  }
}

function enclavesOnly(cause: RefusedError): RefusedError {
  return new RefusedError(
    { code: "TEE_KMS_REFUSED", operation: "Decrypt" },
    "key service: expected a key policy that lets the Vault itself decrypt (kms:Decrypt without attestation, for the time of this work), got one that releases to enclaves only",
    { cause },
  );
}
