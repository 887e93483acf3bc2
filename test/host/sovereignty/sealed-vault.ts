// What the custody tests look at from outside: the files and tables of a Vault, opened with its own keys.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { openSecrets } from "../../../host/sovereignty/custody/secrets.ts";
import { openLocalCustody, type KeyCustody, type Vault } from "../../../host/sovereignty/index.ts";
import {
  batchWrapInfo,
  decryptOnce,
  equalBytes,
  hex,
  openBatch,
  parseEvent,
  rehashBatch,
  type OpenedBatch,
} from "../../../protocol/index.ts";
import { rigPlatform } from "../../helpers/enclave-rig.ts";
import { NETWORK_TIME_MS } from "../../helpers/network.ts";

/** Fresh in every process. */
export function freshRandom(bytes: number): Uint8Array {
  return new Uint8Array(randomBytes(bytes));
}

/** Keys in `file`, which is made when there is none. */
export function localKeys(file: string, random = freshRandom): KeyCustody {
  return openLocalCustody({
    file,
    create: true,
    anchors: [rigPlatform().anchor],
    nowMs: () => NETWORK_TIME_MS,
    random,
  });
}

/** A batch row as it stands in the database. */
export interface SealedRow {
  readonly batchId: Uint8Array;
  readonly sealedId: Uint8Array;
  readonly protectedKey: Uint8Array;
  readonly root: Uint8Array;
  readonly commitments: Uint8Array;
  readonly scope: string;
}

export function sealedRows(directory: string): SealedRow[] {
  const database = new DatabaseSync(path.join(directory, "vault.db"), { readOnly: true });
  const rows = database.prepare(SELECT_BATCHES).all();
  database.close();
  return sealedRowsOf(rows);
}

/** Gives what {@link sealedRowsOf} takes. */
export const SELECT_BATCHES = "select * from batch order by position";

export function sealedRowsOf(rows: readonly Record<string, unknown>[]): SealedRow[] {
  return rows.map((row) => ({
    batchId: bytesOf(row["batch_id"]),
    sealedId: bytesOf(row["sealed_id"] ?? row["batch_id"]),
    protectedKey: bytesOf(row["protected_key"]),
    root: bytesOf(row["root"]),
    commitments: bytesOf(row["commitments"]),
    scope: String(row["record_scope"]),
  }));
}

function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  throw new Error("expected a blob");
}

/** The ordinal that the database gives a pseudonym. */
export function ordinalIn(directory: string, subjectId: Uint8Array): number {
  const database = new DatabaseSync(path.join(directory, "vault.db"), { readOnly: true });
  const row = database.prepare("select ordinal from subject where subject_id = ?").get(subjectId);
  database.close();
  return Number(row?.["ordinal"]);
}

export function batchFilesIn(directory: string): string[] {
  return fs.readdirSync(path.join(directory, "batches")).toSorted();
}

/**
 * Opens every batch with the Vault's own keys and hashes every record again.
 *
 * @throws Error when a batch does not open, is not what was committed to, or a file belongs to no batch.
 */
export async function openAll(
  directory: string,
  custody: KeyCustody,
  rows: readonly SealedRow[] = sealedRows(directory),
): Promise<OpenedBatch[]> {
  const secrets = openSecrets(path.join(directory, "vault-secrets.cbor"), freshRandom);
  const names = rows.map(({ sealedId }) => `${hex(sealedId)}.batch`).toSorted();
  if (names.join() !== batchFilesIn(directory).join()) throw new Error("files and rows differ");
  const opened: OpenedBatch[] = [];
  for (const { sealedId, protectedKey, root, commitments } of rows) {
    const file = path.join(directory, "batches", `${hex(sealedId)}.batch`);
    const wrapped = await custody.open(protectedKey);
    const dataKey = decryptOnce(secrets.batchSecret(sealedId), batchWrapInfo(sealedId), wrapped);
    const batch = openBatch(new Uint8Array(fs.readFileSync(file)), dataKey);
    const rehashed = rehashBatch(batch);
    const leaves = Buffer.concat(rehashed.commitments);
    if (!equalBytes(rehashed.root, root) || !equalBytes(leaves, commitments)) {
      throw new Error("expected the records that were committed to");
    }
    opened.push(batch);
  }
  return opened;
}

/** Bodies of a Vault's log events of one type. */
export async function eventsOf(vault: Vault, type: string): Promise<unknown[]> {
  const entries = await vault.log.entries(0, vault.log.size);
  return entries
    .map(({ event }) => parseEvent(event))
    .filter((event) => event.type === type)
    .map(({ body }) => body);
}
