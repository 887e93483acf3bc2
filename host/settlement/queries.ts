import type { Kysely, SchemaWords, Transaction } from "../store/index.ts";

/** Tables of the settlement plane; part of the coordinator's store. */
export interface SettlementSchema {
  settlement_candidate: {
    task_id: string;
    state: string;
    /** Canonical SettlementEntry as if unchallenged, then as the challenge left it. */
    entry: Uint8Array;
    envelope: Uint8Array;
    ready_at_ms: number;
  };
  settlement_challenge: {
    task_id: string;
    state: string;
    signed: Uint8Array;
    opened_ms: number;
    deadline_ms: number;
  };
  settlement_root: {
    epoch_id: number;
    digest: Uint8Array;
    signed: Uint8Array;
    finalized_ms: number;
  };
  settlement_proof: { task_id: string; epoch_id: number; proof: Uint8Array };
  settlement_payout: { settlement_root: Uint8Array; actor_id: string; amount_minor: number };
}

/** {@link SettlementSchema} as `withTables` of a transaction takes it. */
export type SettlementTables = Pick<SettlementSchema, keyof SettlementSchema>;

const APPEND_ONLY = ["settlement_root", "settlement_proof", "settlement_payout"] as const;

/** Statements for the migration of the coordinator's store. What is finalized refuses changes (SP-10). */
export function settlementStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, text, strict, appendOnly } = words;
  return [
    `create table settlement_candidate (
       task_id ${text} primary key, state ${text} not null, entry ${blob} not null,
       envelope ${blob} not null, ready_at_ms ${integer} not null) ${strict}`,
    `create index settlement_candidate_state on settlement_candidate (state, ready_at_ms)`,
    `create table settlement_challenge (
       task_id ${text} primary key, state ${text} not null, signed ${blob} not null,
       opened_ms ${integer} not null, deadline_ms ${integer} not null) ${strict}`,
    `create table settlement_root (
       epoch_id ${integer} primary key, digest ${blob} not null unique, signed ${blob} not null,
       finalized_ms ${integer} not null) ${strict}`,
    `create table settlement_proof (
       task_id ${text} primary key, epoch_id ${integer} not null, proof ${blob} not null) ${strict}`,
    `create table settlement_payout (
       settlement_root ${blob} not null, actor_id ${text} not null,
       amount_minor ${integer} not null, primary key (settlement_root, actor_id)) ${strict}`,
    ...APPEND_ONLY.flatMap((table) => appendOnly(table)),
  ];
}

/** A connection that reads these tables. */
export type SettlementReader = Kysely<SettlementSchema> | Transaction<SettlementSchema>;

export type CandidateRow = SettlementSchema["settlement_candidate"];
export type ChallengeRow = SettlementSchema["settlement_challenge"];
export type RootRow = SettlementSchema["settlement_root"];

/** One candidate, settled or not. */
export async function readCandidate(
  db: SettlementReader,
  taskId: string,
): Promise<CandidateRow | undefined> {
  return await db
    .selectFrom("settlement_candidate")
    .selectAll()
    .where("task_id", "=", taskId)
    .executeTakeFirst();
}

/** Candidates in one state that were ready by `readyByMs`, in order of task. */
export async function readCandidates(
  db: SettlementReader,
  state: string,
  readyByMs: number,
): Promise<CandidateRow[]> {
  return await db
    .selectFrom("settlement_candidate")
    .selectAll()
    .where("state", "=", state)
    .where("ready_at_ms", "<=", readyByMs)
    .orderBy("task_id")
    .execute();
}

export async function insertCandidate(
  trx: Transaction<SettlementSchema>,
  row: CandidateRow,
): Promise<void> {
  await trx.insertInto("settlement_candidate").values(row).execute();
}

export async function updateCandidate(
  trx: Transaction<SettlementSchema>,
  row: Pick<CandidateRow, "task_id" | "state" | "entry">,
): Promise<void> {
  const { task_id, state, entry } = row;
  await trx
    .updateTable("settlement_candidate")
    .set({ state, entry })
    .where("task_id", "=", task_id)
    .execute();
}

export async function readChallenge(
  db: SettlementReader,
  taskId: string,
): Promise<ChallengeRow | undefined> {
  return await db
    .selectFrom("settlement_challenge")
    .selectAll()
    .where("task_id", "=", taskId)
    .executeTakeFirst();
}

/** Every challenge against a candidate in one state, in order of task. */
export async function readChallenges(
  db: SettlementReader,
  candidateState: string,
): Promise<ChallengeRow[]> {
  return await db
    .selectFrom("settlement_challenge")
    .innerJoin(
      "settlement_candidate",
      "settlement_candidate.task_id",
      "settlement_challenge.task_id",
    )
    .selectAll("settlement_challenge")
    .where("settlement_candidate.state", "=", candidateState)
    .orderBy("settlement_challenge.task_id")
    .execute();
}

export async function insertChallenge(
  trx: Transaction<SettlementSchema>,
  row: ChallengeRow,
): Promise<void> {
  await trx.insertInto("settlement_challenge").values(row).execute();
}

export async function updateChallengeState(
  trx: Transaction<SettlementSchema>,
  taskId: string,
  state: string,
): Promise<void> {
  await trx
    .updateTable("settlement_challenge")
    .set({ state })
    .where("task_id", "=", taskId)
    .execute();
}

/** The root finalized last. */
export async function readLastRoot(db: SettlementReader): Promise<RootRow | undefined> {
  return await db
    .selectFrom("settlement_root")
    .selectAll()
    .orderBy("epoch_id", "desc")
    .limit(1)
    .executeTakeFirst();
}

export async function readRoot(
  db: SettlementReader,
  epochId: number,
): Promise<RootRow | undefined> {
  return await db
    .selectFrom("settlement_root")
    .selectAll()
    .where("epoch_id", "=", epochId)
    .executeTakeFirst();
}

export async function insertRoot(trx: Transaction<SettlementSchema>, row: RootRow): Promise<void> {
  await trx.insertInto("settlement_root").values(row).execute();
}

export async function readProof(
  db: SettlementReader,
  taskId: string,
): Promise<Uint8Array | undefined> {
  const row = await db
    .selectFrom("settlement_proof")
    .select(["proof"])
    .where("task_id", "=", taskId)
    .executeTakeFirst();
  return row?.proof;
}

/** Proofs of every entry of one epoch, in order of task. */
export async function readProofs(db: SettlementReader, epochId: number): Promise<Uint8Array[]> {
  const rows = await db
    .selectFrom("settlement_proof")
    .select(["proof"])
    .where("epoch_id", "=", epochId)
    .orderBy("task_id")
    .execute();
  return rows.map((row) => row.proof);
}

export async function insertProof(
  trx: Transaction<SettlementSchema>,
  row: SettlementSchema["settlement_proof"],
): Promise<void> {
  await trx.insertInto("settlement_proof").values(row).execute();
}

/** Records an instruction once; the same again changes nothing. */
export async function insertPayout(
  trx: Transaction<SettlementSchema>,
  row: SettlementSchema["settlement_payout"],
): Promise<void> {
  await trx
    .insertInto("settlement_payout")
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Instructions issued for one root, in order of actor. */
export async function readPayouts(
  db: SettlementReader,
  settlementRoot: Uint8Array,
): Promise<SettlementSchema["settlement_payout"][]> {
  return await db
    .selectFrom("settlement_payout")
    .selectAll()
    .where("settlement_root", "=", settlementRoot)
    .orderBy("actor_id")
    .execute();
}
