import {
  HEAD_QUESTION,
  HEAD_STATEMENT,
  RefusedError,
  SymphonyError,
  UnavailableError,
  WITNESS_ANSWER,
  WITNESS_QUESTION,
  activeActor,
  actorLogOrigin,
  cosignCheckpoint,
  equalBytes,
  parseCose,
  sha256,
  verifyCheckpoint,
  verifyConsistency,
  type GovernanceState,
  type RegisteredActor,
  type RestartStatement,
  type WitnessAnswer,
  type WitnessQuestion,
} from "#protocol";

import type { Reading, Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { giveUp, verifyRestarts, type Head } from "./restarts.ts";

/** Another Vault's question, verified: its checkpoint and restarts are signed by it. */
interface Asked extends Head {
  readonly vaultId: string;
  readonly question: WitnessQuestion;
  readonly restarts: readonly RestartStatement[];
}

/** A question, and what came of those before. */
interface Judged {
  readonly asked: Asked;
  readonly held: Held | undefined;
  /** Whether this Vault has forgotten nothing that was cosigned before the question was asked. */
  readonly fresh: boolean;
}

/** How far a kept head can be vouched for: `witness_head.stale`. */
const STALE = {
  /** Nothing newer was cosigned. */
  no: 0,
  /** This Vault was restarted since, and may have forgotten newer ones. */
  forgotten: 1,
  /** Cosigned since the restart, for a question that may be of before it. */
  unheard: 2,
} as const;

interface Held extends Head {
  readonly note: string;
  readonly generation: number;
  readonly governance_size: number;
  /** One of {@link STALE}. */
  readonly stale: number;
}

/** What {@link cosignHead} came to. */
export interface Cosigned {
  /** A WitnessAnswer. */
  readonly answer: Uint8Array;
  /** The asker declared a restart that this Vault follows from now on: it may have forgotten what it cosigned. */
  readonly followed: boolean;
}

/**
 * Cosigns the head of another Vault's log when it extends the last one cosigned, which is kept first.
 *
 * Never goes back and never to another branch: for an older or unproven head the answer is the one held. A fork that
 * the asker has signed is kept and answered from then on, until the asker declares a restart. After a restart of its
 * own this Vault may have forgotten what it cosigned: it vouches again for the head of a question that names the restart.
 *
 * @param args - `confirmed`: whether this Vault is. One that is not follows restarts only, which give up whatever it
 * may have forgotten.
 * @throws {@link RefusedError} AUTH_UNKNOWN_ACTOR, AUTH_ROLE_REFUSED; PRIVACY_BUDGET_FROZEN for a restart that knew
 * less of governance than the head it gives up. {@link UnavailableError} PRIVACY_BUDGET_FROZEN from a Vault that is not
 * confirmed. VerificationError, MalformedError for what the asker did not sign.
 */
export async function cosignHead(
  context: VaultContext,
  signed: Uint8Array,
  args: { readonly governance: GovernanceState; readonly confirmed: boolean },
): Promise<Cosigned> {
  const asked = verifyQuestion(context, signed, args.governance);
  const { other, followed } = await context.store.write(async (trx) => {
    const held = await heldHead(trx, asked.vaultId);
    const declares = asked.restarts.length > (held?.generation ?? 0);
    // Its restart has marked every head: what bears another mark was kept for a restart that gave all before it up.
    const isForgotten = held === undefined || held.stale === STALE.forgotten;
    if (!args.confirmed && !declares && isForgotten) throw forgetful(asked.vaultId);
    const fresh = await isFresh(context, trx, asked);
    const refused = await judge(context, trx, { asked, held, fresh });
    return { other: refused, followed: declares && refused === null };
  });
  const answer = other ?? { result: "cosigned", checkpoint: cosign(context, asked) };
  return { answer: WITNESS_ANSWER.encode(answer), followed };
}

/**
 * Says which head of another Vault's log this one cosigned last, signed over the asker's nonce.
 *
 * @throws {@link UnavailableError} PRIVACY_BUDGET_FROZEN when this Vault was restarted from an older copy and may have
 * forgotten. As {@link cosignHead} otherwise.
 */
export async function tellHead(
  context: VaultContext,
  bytes: Uint8Array,
  governance: GovernanceState,
): Promise<Uint8Array> {
  const { vault_id: vaultId, genesis_digest, nonce } = HEAD_QUESTION.decode(bytes);
  requireOtherVault(context, vaultId, governance);
  requireNetwork(genesis_digest, governance);
  const { db } = context.store;
  const held = await heldHead(db, vaultId);
  const restarted = (await restartsOf(db, context.vaultId)).length > 0;
  if (held === undefined ? restarted : held.stale !== STALE.no) throw forgetful(vaultId);
  return HEAD_STATEMENT.sign(
    {
      version: 1,
      genesis_digest,
      vault_id: vaultId,
      witness_id: context.vaultId,
      nonce,
      checkpoint: held?.note ?? null,
      restarts: await restartsOf(db, vaultId),
    },
    context.signingKey,
  );
}

function forgetful(vaultId: string): UnavailableError {
  return new UnavailableError(
    { code: "PRIVACY_BUDGET_FROZEN" },
    `head of ${vaultId}: expected to know all that was cosigned, got an older copy of this Vault`,
  );
}

function verifyQuestion(
  context: VaultContext,
  signed: Uint8Array,
  governance: GovernanceState,
): Asked {
  const claimed = WITNESS_QUESTION.decode(parseCose(signed).payload);
  const vaultId = claimed.vault_id;
  const { signing_key: publicKey, keys } = requireOtherVault(context, vaultId, governance);
  const question = WITNESS_QUESTION.verify(signed, publicKey);
  requireNetwork(question.genesis_digest, governance);
  const { size, root } = verifyCheckpoint(question.checkpoint, {
    origin: actorLogOrigin(governance.genesis.network, vaultId),
    log: { name: vaultId, publicKey },
    witnesses: [],
    quorum: 0,
  });
  const { genesisDigest } = governance;
  // Whoever has the present key alone asks; what it declared before by another it declares again.
  const formerKeys = keys.slice(0, -1).map(({ signingKey }) => signingKey);
  const of = { vaultId, publicKey, formerKeys, genesisDigest };
  const restarts = verifyRestarts(question.restarts, of);
  return { vaultId, question, restarts, size, root };
}

function requireOtherVault(
  context: VaultContext,
  vaultId: string,
  governance: GovernanceState,
): RegisteredActor {
  const actor = activeActor(governance, vaultId);
  if (actor.role === "enterprise" && vaultId !== context.vaultId) return actor;
  throw new RefusedError(
    { code: "AUTH_ROLE_REFUSED", role: actor.role },
    `witness: expected a question of another Vault, got one of ${vaultId}`,
  );
}

function requireNetwork(digest: Uint8Array, governance: GovernanceState): void {
  if (equalBytes(digest, governance.genesisDigest)) return;
  throw new RefusedError(
    { code: "GOVERNANCE_GENESIS_MISMATCH" },
    "witness: expected a question of this network",
  );
}

/** Keeps the asked head, or says why not; null when it is kept and can be cosigned. */
async function judge(
  context: VaultContext,
  trx: Writing,
  { asked, held, fresh }: Judged,
): Promise<WitnessAnswer | null> {
  if (held === undefined) {
    await keepRestarts(context, trx, { asked, after: 0, abandoned: null });
    return keep(trx, asked, fresh);
  }
  if (asked.restarts.length > held.generation) return restart(context, trx, { asked, held, fresh });
  const answer = { result: "held", checkpoint: held.note } as const;
  const restarts = await restartsOf(trx, asked.vaultId);
  if (asked.restarts.length < held.generation) return { ...answer, restarts };
  const fork = await forkOf(trx, asked.vaultId, held.generation);
  if (fork !== undefined) return { result: "forked", ...fork };
  const relation = relationOf(asked, held);
  if (relation === "unproven") return { ...answer, restarts };
  if (relation === "extends") return keep(trx, asked, fresh);
  const { vaultId: vault_id, question } = asked;
  const pair = { held: held.note, other: question.checkpoint };
  const row = { vault_id, generation: held.generation, ...pair, at_ms: context.nowMs() };
  await trx.insertInto("witness_fork").values(row).execute();
  const body = { vault_id, held_size: held.size, other_size: asked.size };
  await context.log.append(trx, { type: "witness.forked", taskId: null, body });
  return { result: "forked", ...pair };
}

/** The asker signed each proof, so one that does not hold is its own contradiction. */
function relationOf(asked: Asked, held: Head): "extends" | "unproven" | "forked" {
  if (asked.size === held.size) return equalBytes(asked.root, held.root) ? "extends" : "forked";
  if (asked.size < held.size) return "unproven";
  const proof = asked.question.proofs.find(({ size }) => size === held.size);
  if (proof === undefined) return "unproven";
  return isPrefix(held, asked, proof.nodes) ? "extends" : "forked";
}

function isPrefix(older: Head, newer: Head, proof: readonly Uint8Array[]): boolean {
  try {
    verifyConsistency({
      oldSize: older.size,
      oldRoot: older.root,
      newSize: newer.size,
      newRoot: newer.root,
      proof,
    });
    return true;
  } catch (error) {
    if (error instanceof SymphonyError) return false;
    throw error;
  }
}

/**
 * Follows a declared restart: it must give up the head held, know all of governance that this head knew, and be the
 * past of the head that is asked for. Keeps what it gives up.
 */
async function restart(
  context: VaultContext,
  trx: Writing,
  { asked, held, fresh }: Judged & { readonly held: Held },
): Promise<WitnessAnswer | null> {
  const last = asked.restarts.at(-1);
  if (last === undefined || !giveUp(asked.restarts.slice(held.generation), held)) {
    const restarts = await restartsOf(trx, asked.vaultId);
    return { result: "held", checkpoint: held.note, restarts };
  }
  if (last.governance_size < held.governance_size) {
    throw new RefusedError(
      { code: "PRIVACY_BUDGET_FROZEN", expected: held.governance_size },
      `restart of ${asked.vaultId}: expected a write-off that knew ${held.governance_size} governance events, got ${last.governance_size}`,
    );
  }
  const proof = asked.question.proofs.find(({ size }) => size === last.restarted.size);
  if (!isPrefix(last.restarted, asked, proof?.nodes ?? [])) {
    throw new RefusedError(
      { code: "PROOF_CONSISTENCY_INVALID", size: last.restarted.size },
      `restart of ${asked.vaultId}: expected a head that goes on from it`,
    );
  }
  await keepRestarts(context, trx, { asked, after: held.generation, abandoned: held.note });
  return keep(trx, asked, fresh);
}

async function keepRestarts(
  context: VaultContext,
  trx: Writing,
  args: { readonly asked: Asked; readonly after: number; readonly abandoned: string | null },
): Promise<void> {
  const { asked, after, abandoned } = args;
  for (const [index, statement] of asked.question.restarts.slice(after).entries()) {
    const generation = after + index + 1;
    const row = { vault_id: asked.vaultId, generation, statement, at_ms: context.nowMs() };
    const abandoned_note = index === 0 ? abandoned : null;
    await trx
      .insertInto("witness_restart")
      .values({ ...row, abandoned_note })
      .execute();
    const body = { vault_id: asked.vaultId, generation };
    await context.log.append(trx, { type: "witness.restarted", taskId: null, body });
  }
}

async function isFresh(
  { vaultId }: VaultContext,
  trx: Writing,
  { question }: Asked,
): Promise<boolean> {
  const newest = (await restartsOf(trx, vaultId)).at(-1);
  if (newest === undefined) return true;
  const digest = sha256(newest);
  return question.heard.some((heard) => equalBytes(heard, digest));
}

async function keep(trx: Writing, asked: Asked, fresh: boolean): Promise<null> {
  const { size, root, question, restarts } = asked;
  const stale = fresh ? STALE.no : STALE.unheard;
  const head = {
    ...{ size, root, note: question.checkpoint, generation: restarts.length, stale },
    governance_size: question.governance_size,
  };
  await trx
    .insertInto("witness_head")
    .values({ vault_id: asked.vaultId, ...head })
    .onConflict((conflict) => conflict.column("vault_id").doUpdateSet(head))
    .execute();
  return null;
}

function cosign({ vaultId, signingKey, nowMs }: VaultContext, { question }: Asked): string {
  return cosignCheckpoint(question.checkpoint, {
    signerName: vaultId,
    key: signingKey,
    timeSeconds: Math.floor(nowMs() / 1000),
  });
}

function heldHead(db: Reading, vaultId: string): Promise<Held | undefined> {
  return db
    .selectFrom("witness_head")
    .selectAll()
    .where("vault_id", "=", vaultId)
    .executeTakeFirst();
}

function forkOf(db: Reading, vaultId: string, generation: number) {
  return db
    .selectFrom("witness_fork")
    .select(["held", "other"])
    .where("vault_id", "=", vaultId)
    .where("generation", "=", generation)
    .executeTakeFirst();
}

/** SHA-256 of the newest restart that this Vault follows of each other, ascending by Vault. */
export async function heardRestarts(db: Reading, vaultId: string): Promise<Uint8Array[]> {
  const newest = new Map<string, Uint8Array>();
  const rows = await db
    .selectFrom("witness_restart")
    .select(["vault_id", "statement"])
    .where("vault_id", "!=", vaultId)
    .orderBy("vault_id")
    .orderBy("generation")
    .execute();
  for (const { vault_id, statement } of rows) newest.set(vault_id, sha256(statement));
  return [...newest.values()];
}

/** Signed restarts of a Vault that this one knows, oldest first. */
export async function restartsOf(db: Reading, vaultId: string): Promise<Uint8Array[]> {
  const rows = await db
    .selectFrom("witness_restart")
    .select("statement")
    .where("vault_id", "=", vaultId)
    .orderBy("generation")
    .execute();
  return rows.map(({ statement }) => statement);
}
