import * as fs from "node:fs";
import path from "node:path";

import type { BackupOwner } from "../../../../host/sovereignty/backup/manifest.ts";
import { restoreBackup } from "../../../../host/sovereignty/backup/restore.ts";
import { registerFileOf, type Vault } from "../../../../host/sovereignty/index.ts";
import type { StorePlace } from "../../../../host/store/index.ts";
import type { SigningKey } from "../../../../protocol/index.ts";
import { NETWORK_TIME_MS } from "../../../helpers/network.ts";
import { freshRandom, localKeys } from "../sealed-vault.ts";
import { newFixture, newFolder, stocked, type Fixture } from "../vault-fixture.ts";

/** A stocked Vault with local keys, whose parts are in folders of their own, and where its backups go. */
export interface BackupWorld {
  readonly fixture: Fixture;
  readonly vault: Vault;
  /** The folder of everything. */
  readonly home: string;
  readonly secretsFile: string;
  readonly keyFile: string;
  readonly store: StorePlace;
}

/** Where a Vault is restored to. */
export interface Target {
  readonly directory: string;
  readonly store: StorePlace;
  readonly secretsFile: string;
  readonly keyFile: string;
}

export async function backupWorld(
  options: { readonly store?: (directory: string) => StorePlace; readonly records?: number } = {},
): Promise<BackupWorld> {
  const home = newFolder();
  const directory = path.join(home, "vault");
  const store = options.store?.(directory) ?? sqliteIn(directory);
  const secretsFile = path.join(home, "secrets", "vault-secrets.cbor");
  fs.mkdirSync(path.dirname(secretsFile));
  const keyFile = path.join(home, "keys", "vault-keys.cbor");
  const custody = localKeys(keyFile);
  const fixture = await newFixture({ directory, custody, secretsFile, store, random: freshRandom });
  await stocked(fixture, options.records ?? 20);
  return { fixture, vault: fixture.vault, home, secretsFile, keyFile, store };
}

export function sqliteIn(directory: string): StorePlace {
  return { kind: "sqlite", file: path.join(directory, "vault.db") };
}

/** The two folders of a backup called `name`. */
export function foldersOf({ home }: Pick<BackupWorld, "home">, name = "backup") {
  return { data: path.join(home, `${name}-data`), keys: path.join(home, `${name}-keys`) };
}

/** A place where no Vault has been. */
export function newTarget(store?: StorePlace): Target {
  const home = newFolder();
  const directory = path.join(home, "vault");
  return {
    directory,
    store: store ?? sqliteIn(directory),
    secretsFile: path.join(home, "vault-secrets.cbor"),
    keyFile: path.join(home, "vault-keys.cbor"),
  };
}

export function restore(
  world: BackupWorld,
  args: {
    readonly to: Target;
    readonly name?: string;
    readonly registerFile?: string;
    readonly erasedSince?: readonly string[];
    /** Absent: the Vault by the key that it has from the beginning. */
    readonly owner?: BackupOwner;
  },
) {
  const { actor } = world.fixture;
  const { erasedSince } = args;
  return restoreBackup({
    from: foldersOf(world, args.name),
    owner: args.owner ?? { vaultId: actor.actorId, ...neverRotated(actor.signing) },
    to: args.to,
    registerFile: args.registerFile ?? registerFileOf(world.secretsFile),
    erasedSince: erasedSince === undefined ? null : lines(erasedSince),
    nowMs: () => NETWORK_TIME_MS,
    report: () => undefined,
  });
}

function neverRotated({ publicKey }: SigningKey) {
  return { publicKey, formerKeys: [] };
}

async function* lines(subjects: readonly string[]): AsyncGenerator<string> {
  for (const subject of subjects) yield await Promise.resolve(subject);
}

/** Opens what was restored. */
export async function openRestored(to: Target): Promise<Fixture> {
  const { directory, secretsFile, keyFile, store } = to;
  const custody = localKeys(keyFile);
  return await newFixture({ directory, custody, secretsFile, store, random: freshRandom });
}

/** Every file below a folder and its bytes, by name. */
export function filesBelow(folder: string): Map<string, string> {
  if (!fs.existsSync(folder)) return new Map();
  const entries = fs.readdirSync(folder, { recursive: true, withFileTypes: true });
  return new Map(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const file = path.join(entry.parentPath, entry.name);
        return [path.relative(folder, file), fs.readFileSync(file, "base64")];
      }),
  );
}
