import {
  batchAfter,
  lastPosition,
  openKeyRun,
  protectedKeys,
  replaceKey,
  type ProtectedKey,
} from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { rewriteBatch } from "./batch-rewrite.ts";

const PAGE_KEYS = 256;

/** How far a long piece of work is, in batches. */
export interface CustodyProgress {
  readonly done: number;
  readonly total: number;
}

/** What a run over the keys of all batches did. */
export interface KeyRunReport {
  /** The key that all batches are under now. */
  readonly key: string;
  readonly batches: number;
  /** Keys that are destroyed; none where the custody's keys are destroyed elsewhere. */
  readonly retired: readonly string[];
}

type Report = (progress: CustodyProgress) => void;

/**
 * Makes a new master key and wraps every data key under it, batch by batch; then destroys the old ones. Goes on with a
 * rotation that was interrupted. Tasks run meanwhile, and so may an ingest: what it stages is under the new key.
 *
 * @throws RefusedError TEE_KMS_REFUSED when the custody may not re-wrap; the rotation stays open.
 */
export async function rotateKeys(context: VaultContext, report: Report): Promise<KeyRunReport> {
  const { store, custody, log } = context;
  const run = await beginRun(context, "rotate");
  await custody.renew(run.from_key);
  let batches = 0;
  let retired: readonly string[] | undefined;
  while (retired === undefined) {
    batches += await rewrapAll(context, report);
    retired = await retireUnused(context);
  }
  const key = custody.currentKey();
  const body = { key, retired: [...retired] };
  await store.purge(["batch"]);
  await store.write(async (trx) => {
    await trx
      .updateTable("key_run")
      .set({ done_ms: context.nowMs() })
      .where("run_id", "=", run.run_id)
      .execute();
    await log.append(trx, { type: "keys.rotated", taskId: null, body });
  });
  return { key, batches, retired };
}

/**
 * Seals every batch anew under a new data key; root and leaf commitments stay. Goes on where it was interrupted. Batches
 * that come meanwhile have fresh keys anyway.
 *
 * @throws RefusedError TEE_KMS_REFUSED when the custody releases to enclaves only; the run stays open.
 */
export async function reencryptBatches(
  context: VaultContext,
  report: Report,
): Promise<KeyRunReport> {
  const { store, log, custody } = context;
  const { run_id: runId, until, ...begun } = await beginRun(context, "reencrypt");
  let after = begun.after;
  let batches = 0;
  for (;;) {
    const batch = await batchAfter(store.db, { after, until, published: true });
    if (batch === undefined) break;
    const { position } = batch;
    await rewriteBatch(context, {
      batch,
      erase: [],
      also: async (trx) => {
        await trx
          .updateTable("key_run")
          .set({ after: position })
          .where("run_id", "=", runId)
          .execute();
      },
    });
    after = position;
    batches += 1;
    report({ done: after, total: until });
  }
  await store.purge(["batch"]);
  const key = custody.currentKey();
  await store.write(async (trx) => {
    const done_ms = context.nowMs();
    await trx.updateTable("key_run").set({ done_ms }).where("run_id", "=", runId).execute();
    await log.append(trx, { type: "batches.reencrypted", taskId: null, body: { key, until } });
  });
  return { key, batches, retired: [] };
}

/** The run of this kind that is open, or a new one; durable before anything changes. */
async function beginRun(context: VaultContext, kind: "rotate" | "reencrypt") {
  const { store, custody, nowMs } = context;
  return await store.write(async (trx) => {
    const open = await openKeyRun(trx, kind);
    if (open !== undefined) return open;
    return await trx
      .insertInto("key_run")
      .values({
        kind,
        from_key: custody.currentKey(),
        after: 0,
        until: await lastPosition(trx),
        started_ms: nowMs(),
        done_ms: null,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  });
}

/** Wraps every key that is not under the current one, staged batches' too. @returns how many. */
async function rewrapAll(context: VaultContext, report: Report): Promise<number> {
  const { store, custody, gate } = context;
  const total = await lastPosition(store.db);
  let rewrapped = 0;
  for await (const { position, batch_id, protected_key: old } of outdatedKeys(context)) {
    const protected_key = await custody.rewrap(old);
    await gate.change(() => replaceKey(store, { batch_id, old, protected_key }));
    rewrapped += 1;
    report({ done: position, total });
  }
  return rewrapped;
}

/** Batches whose key is under another than the current key, in order. */
async function* outdatedKeys({ store, custody }: VaultContext): AsyncGenerator<ProtectedKey> {
  let after = 0;
  for (;;) {
    const page = await protectedKeys(store.db, { after, limit: PAGE_KEYS });
    for (const key of page) {
      if (custody.keyOf(key.protected_key) !== custody.currentKey()) yield key;
    }
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.position;
  }
}

/**
 * Destroys the old keys, unless a batch is still under one of them: nobody stages a batch meanwhile.
 *
 * @returns The destroyed keys; undefined when there is more to wrap.
 */
async function retireUnused(context: VaultContext): Promise<readonly string[] | undefined> {
  return await context.gate.change(async () => {
    const { done } = await outdatedKeys(context).next();
    return done === true ? await context.custody.retire() : undefined;
  });
}
