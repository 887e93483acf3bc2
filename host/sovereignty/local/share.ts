import { LOCAL_ATTRIBUTE_CANDIDATE, parseCose, type ErrorCode } from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import { makeCandidate, type CandidateAsked } from "./candidate.ts";

/** Candidates that are carried at once. */
const CARRIED_MAX = 16;

/** A candidate that its operator lets leave, and that the coordinator has not got yet. */
export interface WaitingShare {
  readonly reference: ShareReference;
  /** COSE_Sign1 of a `local-attribute-candidate`, by the Vault's present key. */
  readonly signed: Uint8Array;
}

/** Names a candidate within its Vault. */
export interface ShareReference {
  readonly record_scope: string;
  readonly column_name: string;
  readonly first_epoch: number;
  readonly last_epoch: number;
}

/** How a candidate that was let go stands. */
export interface Share extends ShareReference {
  readonly attribute_id: string;
  readonly approved_ms: number;
  /** When the coordinator took it or refused it; null while it waits. */
  readonly ended_ms: number | null;
  /** Why it was refused; null when it was not. */
  readonly code: string | null;
}

/**
 * Signs a candidate, as `makeCandidate`, and lets it go to the coordinator: it waits, whatever comes between, until the
 * coordinator has taken or refused it. The same again changes nothing, but for one that was refused: it is tried anew.
 *
 * @throws As `makeCandidate`.
 */
export async function shareCandidate(context: VaultContext, asked: CandidateAsked) {
  const made = await makeCandidate(context, asked);
  const { window, local_id, attribute_id } = made.candidate;
  const digest = LOCAL_ATTRIBUTE_CANDIDATE.digest(made.candidate);
  const reference = { record_scope: asked.recordScope, column_name: asked.column, ...window };
  await context.store.write(async (trx) => {
    const known = await trx
      .selectFrom("local_share")
      .select("code")
      .where((eb) => eb.and(reference))
      .executeTakeFirst();
    if (known !== undefined && known.code === null) return;
    const standing = { approved_ms: context.nowMs(), ended_ms: null, code: null };
    await trx
      .insertInto("local_share")
      .values({ ...reference, attribute_id, ...standing })
      .onConflict((conflict) =>
        conflict
          .columns(["record_scope", "column_name", "first_epoch", "last_epoch"])
          .doUpdateSet(standing),
      )
      .execute();
    await context.log.append(trx, {
      ...{ type: "local_attribute.shared", taskId: null },
      body: { record_scope: asked.recordScope, local_id, attribute_id, window, digest },
    });
  });
  return made;
}

/** The candidates that wait, oldest first, at most 16. */
export async function waitingShares({
  store,
  signingKey,
}: VaultContext): Promise<readonly WaitingShare[]> {
  const rows = await store.db
    .selectFrom("local_share")
    .innerJoin("local_candidate", (join) =>
      join
        .onRef("local_candidate.record_scope", "=", "local_share.record_scope")
        .onRef("local_candidate.column_name", "=", "local_share.column_name")
        .onRef("local_candidate.first_epoch", "=", "local_share.first_epoch")
        .onRef("local_candidate.last_epoch", "=", "local_share.last_epoch"),
    )
    .select(["local_share.record_scope", "local_share.column_name", "signed"])
    .select(["local_share.first_epoch", "local_share.last_epoch"])
    .where("ended_ms", "is", null)
    .orderBy("approved_ms")
    .limit(CARRIED_MAX)
    .execute();
  return rows.map(({ signed, ...reference }) => {
    // Signed anew: the Vault may have another key by now, and the coordinator takes the present one.
    const candidate = LOCAL_ATTRIBUTE_CANDIDATE.decode(parseCose(signed).payload);
    return { reference, signed: LOCAL_ATTRIBUTE_CANDIDATE.sign(candidate, signingKey) };
  });
}

/** Takes note that the coordinator has taken a candidate, or why it refused it. */
export async function endShare(
  { store, nowMs }: VaultContext,
  reference: ShareReference,
  code: ErrorCode | null,
): Promise<void> {
  await store.write((trx) =>
    trx
      .updateTable("local_share")
      .set({ ended_ms: nowMs(), code })
      .where((eb) => eb.and(reference))
      .execute(),
  );
}

/** Candidates of a record scope that were let go, newest first. */
export async function listShares(
  { store }: VaultContext,
  recordScope: string,
): Promise<readonly Share[]> {
  return await store.db
    .selectFrom("local_share")
    .selectAll()
    .where("record_scope", "=", recordScope)
    .orderBy("approved_ms", "desc")
    .limit(LISTED_MAX)
    .execute();
}

const LISTED_MAX = 256;
