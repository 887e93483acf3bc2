import { join, resolve } from "node:path";

import { signingKeyFromSeed } from "#protocol";
import { registerFileOf, restoreBackup, type Restored } from "../sovereignty/index.ts";
import { readConfig, readSeed, storePlaceOf, vaultConfigSchema } from "./config.ts";
import { readFormerKeys } from "./key-history.ts";

/** What puts a Vault back. */
export interface RestoreArgs {
  /** The Vault's configuration: it says where everything goes, and whose backup it must be. */
  readonly configFile: string;
  readonly directory: string;
  readonly keysDirectory: string;
  /** Where the Vault's register of backups is; absent: beside the secrets. */
  readonly registerFile?: string;
  readonly erasedSince: AsyncIterable<string> | null;
  readonly nowMs: () => number;
  readonly report: (progress: { readonly done: number; readonly total: number }) => void;
}

/** Puts the Vault of a configuration back from a backup. It does not run meanwhile. @throws as `restoreBackup` */
export async function restoreVault(args: RestoreArgs): Promise<Restored> {
  const config = await readConfig(args.configFile, vaultConfigSchema);
  const key = signingKeyFromSeed(await readSeed(config.signing_seed_file));
  const actorId = config.actor_id;
  const formerKeys = await readFormerKeys(config.signing_seed_file, { actorId, key });
  const secretsFile = config.secrets_file ?? join(config.directory, "vault-secrets.cbor");
  const { key_custody: custody } = config;
  const { erasedSince, nowMs, report } = args;
  return restoreBackup({
    from: { data: resolve(args.directory), keys: resolve(args.keysDirectory) },
    owner: { vaultId: actorId, publicKey: key.publicKey, formerKeys },
    to: {
      directory: config.directory,
      store: await storePlaceOf(config, "vault.db"),
      secretsFile,
      keyFile: custody.kind === "local" ? custody.file : null,
    },
    registerFile: args.registerFile ?? registerFileOf(secretsFile),
    ...{ erasedSince, nowMs, report },
  });
}
