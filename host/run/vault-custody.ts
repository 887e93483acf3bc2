import { existsSync } from "node:fs";
import { join, relative } from "node:path";

import type { TrustAnchor } from "#attestation";
import { ConflictError } from "#protocol";
import { createKms } from "../adapters/kms.ts";
import { kmsCustody, openLocalCustody, type KeyCustody } from "../sovereignty/index.ts";
import type { VaultConfig } from "./config.ts";

/** A key service that is not AWS's takes any credentials; the client insists on some. */
const LOCAL_CREDENTIALS = { accessKeyId: "local", secretAccessKey: "local" } as const;

/**
 * The key custody that a Vault's configuration names, and what ends its connections.
 *
 * @throws {@link ConflictError} SCHEMA_CONFIG_MALFORMED for a key file among the batches, or one that others may read;
 * UnavailableError INTERNAL_STORE_UNAVAILABLE when the key file of a Vault is gone.
 */
export function openCustody(
  { directory, secrets_file, key_custody: chosen }: VaultConfig,
  environment: {
    readonly anchors: readonly TrustAnchor[];
    readonly nowMs: () => number;
    readonly random: (bytes: number) => Uint8Array;
  },
): { readonly custody: KeyCustody; readonly close: () => void } {
  if (chosen.kind === "local") {
    const { file } = chosen;
    requireApart(file, join(directory, "batches"));
    // A Vault that has secrets has had keys: new ones would open nothing of it.
    const create = !existsSync(secrets_file ?? join(directory, "vault-secrets.cbor"));
    return { custody: openLocalCustody({ file, create, ...environment }), close: () => undefined };
  }
  const { endpoint, region, key_id: keyId } = chosen;
  const kms = createKms({
    region,
    ...(endpoint === null ? {} : { endpoint, credentials: LOCAL_CREDENTIALS }),
  });
  return { custody: kmsCustody(kms, keyId), close: () => kms.close() };
}

function requireApart(file: string, batches: string): void {
  const inside = relative(batches, file);
  if (inside.startsWith("..")) return;
  throw new ConflictError(
    { code: "SCHEMA_CONFIG_MALFORMED", field: "key_custody.file" },
    "key_custody.file: expected a file apart from the batches, got one among them",
  );
}
