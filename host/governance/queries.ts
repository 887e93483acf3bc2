import { z } from "zod";

import type { Generated, Kysely, SchemaWords, Selectable, Transaction } from "../store/index.ts";

/** Tables of the governance service; part of the coordinator's store. */
export interface GovernanceSchema {
  governance_event: { sequence: number; event: Uint8Array; received_ms: number };
  governance_cosignature: { size: number; actor_id: string; line: string };
  governance_vote: {
    proposal_id: string;
    voter_id: string;
    choice: string;
    time_ms: number;
    vote: Uint8Array;
    received_ms: number;
  };
  /** What Vaults have handed in about columns of theirs, one for each column and window. */
  attribute_candidate: {
    position: Generated<number>;
    vault_id: string;
    local_id: string;
    attribute_id: string;
    domain_id: string;
    first_epoch: number;
    last_epoch: number;
    digest: Uint8Array;
    signed: Uint8Array;
    received_ms: number;
  };
  epoch: {
    epoch_id: number;
    status: string;
    open_at_ms: number;
    close_at_ms: number | null;
    close_reason: string | null;
    semantic_version_set: string;
    policy_version_set: string;
    settlement_scope: string;
    reward_scope: string;
    candidate_scope: string;
  };
  epoch_member: {
    member_id: string;
    epoch_id: number;
    deferred_to: number | null;
    resolved: number;
  };
}

/** Statements for the migration of the coordinator's store. Events and members are append-only. */
export function governanceStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, text, strict, appendOnly } = words;
  return [
    `create table governance_event (
       sequence ${integer} primary key, event ${blob} not null,
       received_ms ${integer} not null) ${strict}`,
    ...appendOnly("governance_event"),
    `create table governance_cosignature (
       size ${integer} not null, actor_id ${text} not null, line ${text} not null,
       primary key (size, actor_id)) ${strict}`,
    `create table epoch (
       epoch_id ${integer} primary key, status ${text} not null, open_at_ms ${integer} not null,
       close_at_ms ${integer}, close_reason ${text}, semantic_version_set ${text} not null,
       policy_version_set ${text} not null, settlement_scope ${text} not null,
       reward_scope ${text} not null, candidate_scope ${text} not null) ${strict}`,
    `create unique index epoch_one_open on epoch (status) where status = 'open'`,
    `create table epoch_member (
       member_id ${text} primary key, epoch_id ${integer} not null, deferred_to ${integer},
       resolved ${integer} not null) ${strict}`,
    `create index epoch_member_epoch on epoch_member (epoch_id)`,
    `create index epoch_member_unresolved on epoch_member (resolved) where resolved = 0`,
  ];
}

/** Statements of the votes on proposals. Votes are final. */
export function ballotStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, text, strict, appendOnly } = words;
  return [
    `create table governance_vote (
       proposal_id ${text} not null, voter_id ${text} not null, choice ${text} not null,
       time_ms ${integer} not null, vote ${blob} not null, received_ms ${integer} not null,
       primary key (proposal_id, voter_id)) ${strict}`,
    ...appendOnly("governance_vote"),
  ];
}

/** Statements of the candidates that Vaults hand in. */
export function candidateStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, position, text, strict } = words;
  return [
    `create table attribute_candidate (
       position ${position}, vault_id ${text} not null, local_id ${text} not null,
       attribute_id ${text} not null, domain_id ${text} not null, first_epoch ${integer} not null,
       last_epoch ${integer} not null, digest ${blob} not null, signed ${blob} not null,
       received_ms ${integer} not null,
       unique (vault_id, local_id, first_epoch, last_epoch)) ${strict}`,
    `create index attribute_candidate_attribute on attribute_candidate (attribute_id, position)`,
  ];
}

/** A connection that reads these tables. */
export type GovernanceReader = Kysely<GovernanceSchema> | Transaction<GovernanceSchema>;

/** Every event, in order. */
export async function readEvents(db: GovernanceReader): Promise<Uint8Array[]> {
  const rows = await db
    .selectFrom("governance_event")
    .select(["event"])
    .orderBy("sequence")
    .execute();
  return rows.map((row) => row.event);
}

/** Appends one event. */
export async function insertEvent(
  trx: Transaction<GovernanceSchema>,
  row: GovernanceSchema["governance_event"],
): Promise<void> {
  await trx.insertInto("governance_event").values(row).execute();
}

/** Every cosignature line, in order of size and actor. */
export async function readCosignatures(
  db: GovernanceReader,
): Promise<GovernanceSchema["governance_cosignature"][]> {
  return await db
    .selectFrom("governance_cosignature")
    .selectAll()
    .orderBy("size")
    .orderBy("actor_id")
    .execute();
}

/** Keeps the first cosignature of an actor over a size. */
export async function insertCosignature(
  trx: Transaction<GovernanceSchema>,
  row: GovernanceSchema["governance_cosignature"],
): Promise<void> {
  await trx
    .insertInto("governance_cosignature")
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

const choice = z.enum(["approve", "reject"]);

/** A vote kept. */
export type VoteRow = GovernanceSchema["governance_vote"] & {
  readonly choice: z.infer<typeof choice>;
};

/** Every vote on a proposal, in order of voter. */
export async function readVotes(db: GovernanceReader, proposalId: string): Promise<VoteRow[]> {
  const rows = await db
    .selectFrom("governance_vote")
    .selectAll()
    .where("proposal_id", "=", proposalId)
    .orderBy("voter_id")
    .execute();
  return rows.map((row) => ({ ...row, choice: choice.parse(row.choice) }));
}

/** Keeps a vote. */
export async function insertVote(trx: Transaction<GovernanceSchema>, row: VoteRow): Promise<void> {
  await trx.insertInto("governance_vote").values(row).execute();
}

/** A row of the epoch table. */
export type EpochRow = GovernanceSchema["epoch"];

/** Every epoch, in order. */
export async function readEpochs(db: GovernanceReader): Promise<EpochRow[]> {
  return await db.selectFrom("epoch").selectAll().orderBy("epoch_id").execute();
}

/** Epochs from `first` on, in order, at most `max`. */
export async function readEpochsFrom(
  db: GovernanceReader,
  first: number,
  max: number,
): Promise<EpochRow[]> {
  return await db
    .selectFrom("epoch")
    .selectAll()
    .where("epoch_id", ">=", first)
    .orderBy("epoch_id")
    .limit(max)
    .execute();
}

/** Adds an epoch. */
export async function insertEpoch(
  trx: Transaction<GovernanceSchema>,
  row: EpochRow,
): Promise<void> {
  await trx.insertInto("epoch").values(row).execute();
}

/** Replaces an epoch's row. */
export async function updateEpoch(
  trx: Transaction<GovernanceSchema>,
  row: EpochRow,
): Promise<void> {
  const { epoch_id, ...change } = row;
  await trx.updateTable("epoch").set(change).where("epoch_id", "=", epoch_id).execute();
}

/** Where a task or sub-task belongs, if anywhere. */
export async function readMember(
  db: GovernanceReader,
  memberId: string,
): Promise<GovernanceSchema["epoch_member"] | undefined> {
  return await db
    .selectFrom("epoch_member")
    .selectAll()
    .where("member_id", "=", memberId)
    .executeTakeFirst();
}

/** Members of one epoch, in order of identifier. */
export async function readMembers(
  db: GovernanceReader,
  epochId: number,
): Promise<GovernanceSchema["epoch_member"][]> {
  return await db
    .selectFrom("epoch_member")
    .selectAll()
    .where("epoch_id", "=", epochId)
    .orderBy("member_id")
    .execute();
}

/** Whether anything belongs to an epoch: a member of its own, or one deferred to it. */
export async function hasMembers(db: GovernanceReader, epochId: number): Promise<boolean> {
  const own = await db
    .selectFrom("epoch_member")
    .select("member_id")
    .where("epoch_id", "=", epochId)
    .limit(1)
    .executeTakeFirst();
  if (own !== undefined) return true;
  const deferred = await db
    .selectFrom("epoch_member")
    .select("member_id")
    .where("resolved", "=", 0)
    .limit(1)
    .executeTakeFirst();
  return deferred !== undefined;
}

/** Assigns a member once. */
export async function insertMember(
  trx: Transaction<GovernanceSchema>,
  row: GovernanceSchema["epoch_member"],
): Promise<void> {
  await trx.insertInto("epoch_member").values(row).execute();
}

/** Marks a member as resolved: it settled, or ended without a result. */
export async function resolveMember(
  trx: Transaction<GovernanceSchema>,
  memberId: string,
): Promise<void> {
  await trx
    .updateTable("epoch_member")
    .set({ resolved: 1 })
    .where("member_id", "=", memberId)
    .execute();
}

/** Defers every unresolved member to `epochId`; its membership stays. */
export async function deferUnresolved(
  trx: Transaction<GovernanceSchema>,
  epochId: number,
): Promise<void> {
  await trx
    .updateTable("epoch_member")
    .set({ deferred_to: epochId })
    .where("resolved", "=", 0)
    .execute();
}

/** A candidate kept. */
export type CandidateRow = Selectable<GovernanceSchema["attribute_candidate"]>;

/** Epochs that a candidate is about, both in. */
interface Window {
  readonly first_epoch: number;
  readonly last_epoch: number;
}

/** What a Vault has handed in about a column and window. */
export async function readCandidate(
  db: GovernanceReader,
  of: { readonly vault_id: string; readonly local_id: string; readonly window: Window },
): Promise<CandidateRow | undefined> {
  return await db
    .selectFrom("attribute_candidate")
    .selectAll()
    .where("vault_id", "=", of.vault_id)
    .where("local_id", "=", of.local_id)
    .where("first_epoch", "=", of.window.first_epoch)
    .where("last_epoch", "=", of.window.last_epoch)
    .executeTakeFirst();
}

/** Keeps a candidate. */
export async function insertCandidate(
  trx: Transaction<GovernanceSchema>,
  row: Omit<CandidateRow, "position">,
): Promise<void> {
  await trx.insertInto("attribute_candidate").values(row).execute();
}

/** Keeps the same candidate under its Vault's present key. */
export async function resignCandidate(
  trx: Transaction<GovernanceSchema>,
  position: number,
  signed: Uint8Array,
): Promise<void> {
  await trx
    .updateTable("attribute_candidate")
    .set({ signed })
    .where("position", "=", position)
    .execute();
}

/** How many candidates of one Vault are kept. */
export async function countCandidates(db: GovernanceReader, vaultId: string): Promise<number> {
  const { count } = await db
    .selectFrom("attribute_candidate")
    .select(({ fn }) => fn.countAll<number>().as("count"))
    .where("vault_id", "=", vaultId)
    .executeTakeFirstOrThrow();
  return Number(count);
}

/** Removes a Vault's candidates about windows that ended before `epoch`. */
export async function forgetCandidates(
  trx: Transaction<GovernanceSchema>,
  vaultId: string,
  epoch: number,
): Promise<void> {
  await trx
    .deleteFrom("attribute_candidate")
    .where("vault_id", "=", vaultId)
    .where("last_epoch", "<", epoch)
    .execute();
}

/** Candidates after a position, in order; of one attribute, or of any when null. */
export async function candidatesAfter(
  db: GovernanceReader,
  at: { readonly attributeId: string | null; readonly after: number; readonly limit: number },
): Promise<CandidateRow[]> {
  const { attributeId, after, limit } = at;
  let query = db.selectFrom("attribute_candidate").selectAll().where("position", ">", after);
  if (attributeId !== null) query = query.where("attribute_id", "=", attributeId);
  return await query.orderBy("position").limit(limit).execute();
}

/**
 * Candidates of one attribute and window: the first of each Vault in the order they came, then the second of each and so
 * on, so that none keeps those of others out.
 */
export async function candidatesOfWindow(
  db: GovernanceReader,
  of: { readonly attributeId: string; readonly window: Window; readonly limit: number },
): Promise<CandidateRow[]> {
  return await db
    .selectFrom("attribute_candidate")
    .selectAll()
    .where("attribute_id", "=", of.attributeId)
    .where("first_epoch", "=", of.window.first_epoch)
    .where("last_epoch", "=", of.window.last_epoch)
    .select(({ fn }) =>
      fn
        .agg<number>("row_number")
        .over((each) => each.partitionBy("vault_id").orderBy("position"))
        .as("turn"),
    )
    .orderBy("turn")
    .orderBy("position")
    .limit(of.limit)
    .execute();
}
