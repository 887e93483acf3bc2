import {
  EPOCH_LIFECYCLE,
  UnavailableError,
  type GovernanceState,
  type PolicyVersion,
} from "#protocol";
import { z } from "zod";

import { afterWrite, type Kysely, type Store, type Transaction } from "../store/index.ts";
import {
  beginClosing,
  closeEpoch,
  closingTrigger,
  openEpoch,
  type Epoch,
  type EpochTrigger,
} from "./epochs.ts";
import {
  deferUnresolved,
  hasMembers,
  insertEpoch,
  insertMember,
  readEpochs,
  readEpochsFrom,
  readMember,
  readMembers,
  resolveMember,
  updateEpoch,
  type EpochRow,
  type GovernanceSchema,
} from "./queries.ts";
import type { Governance } from "./service.ts";

/** What closing an epoch came to. */
export interface EpochBoundary {
  readonly closed: Epoch;
  readonly opened: Epoch;
}

/** The governance log as far as epochs need it: each boundary is an event of it. */
export type EpochLog = Pick<Governance, "state" | "append">;

/** Every epoch of the network and what belongs to it. One epoch is open at any time, from the bootstrap on. */
export interface EpochRegister {
  /** The open epoch. */
  current(): Epoch;
  /**
   * Assigns a task, or the sub-task of one round, to the open epoch, in the caller's transaction, so that nothing belongs
   * to an epoch that is not there. Asked again it answers the same: in-flight work keeps its epoch (EP-4).
   *
   * @param memberId - Task or sub-task identifier.
   */
  assign(trx: Transaction<GovernanceSchema>, memberId: string): Promise<number>;
  /** Members of an epoch, in order: the same whenever it is asked once the epoch is closed (EP-3). */
  members(epochId: number): Promise<readonly string[]>;
  /** Epochs from `first` on, in order, at most `max`. */
  list(first: number, max: number): Promise<readonly Epoch[]>;
  /** Records that a member ended without a result, so that it is not deferred. */
  resolve(memberId: string): Promise<void>;
  /** Whether the open epoch should close now; see {@link closingTrigger}. */
  trigger(
    trx: Transaction<GovernanceSchema>,
    at: { readonly nowMs: number; readonly settlements: number },
  ): Promise<EpochTrigger | null>;
  /**
   * Closes the open epoch and opens the next, in the caller's transaction: closing, scopes frozen, members of
   * `resolved` done, all other unresolved members deferred, closed, its boundary in the governance log, next one open.
   */
  roll(
    trx: Transaction<GovernanceSchema>,
    args: {
      readonly reason: EpochTrigger;
      readonly nowMs: number;
      readonly settlements: number;
      readonly resolved: readonly string[];
    },
  ): Promise<EpochBoundary>;
}

/**
 * Opens the epochs kept in `store`; creates the bootstrap epoch 0 when there are none.
 *
 * @throws {@link UnavailableError} INTERNAL_STORE_UNAVAILABLE when they are not those of the governance log.
 */
export async function openEpochRegister(args: {
  readonly store: Store<GovernanceSchema>;
  readonly governance: EpochLog;
}): Promise<EpochRegister> {
  const { store, governance } = args;
  const write: Write = (work) => store.write(work);
  const rows = await readEpochs(store.db);
  const state = governance.state();
  let current = rows.map(epochOf).find((epoch) => epoch.status === "open");
  if (current === undefined) {
    if (rows.length > 0) throw damaged("one open epoch");
    const bootstrap = openedEpoch(state);
    await write((trx) => insertEpoch(trx, rowOf(bootstrap)));
    current = bootstrap;
  }
  if (current.epoch_id !== state.epoch.epochId) {
    throw damaged(`epoch ${state.epoch.epochId} of the governance log open`);
  }
  return new StoredEpochs({ db: store.db, write, governance, current });
}

type Write = <T>(work: (trx: Transaction<GovernanceSchema>) => Promise<T>) => Promise<T>;

class StoredEpochs implements EpochRegister {
  readonly #db: Kysely<GovernanceSchema>;
  readonly #write: Write;
  readonly #governance: EpochLog;
  #current: Epoch;

  constructor(args: {
    readonly db: Kysely<GovernanceSchema>;
    readonly write: Write;
    readonly governance: EpochLog;
    readonly current: Epoch;
  }) {
    this.#db = args.db;
    this.#write = args.write;
    this.#governance = args.governance;
    this.#current = args.current;
  }

  current(): Epoch {
    return this.#current;
  }

  async assign(trx: Transaction<GovernanceSchema>, memberId: string): Promise<number> {
    const known = await readMember(trx, memberId);
    if (known !== undefined) return known.epoch_id;
    const { epoch_id } = this.#current;
    await insertMember(trx, { member_id: memberId, epoch_id, deferred_to: null, resolved: 0 });
    return epoch_id;
  }

  async members(epochId: number): Promise<readonly string[]> {
    return (await readMembers(this.#db, epochId)).map((row) => row.member_id);
  }

  async list(first: number, max: number): Promise<readonly Epoch[]> {
    return (await readEpochsFrom(this.#db, first, max)).map(epochOf);
  }

  async resolve(memberId: string): Promise<void> {
    await this.#write((trx) => resolveMember(trx, memberId));
  }

  async trigger(
    trx: Transaction<GovernanceSchema>,
    { nowMs, settlements }: { readonly nowMs: number; readonly settlements: number },
  ): Promise<EpochTrigger | null> {
    const state = this.#governance.state();
    const { policy, epoch } = state;
    const trigger = closingTrigger({
      epoch: this.#current,
      limits: policy.epoch,
      nowMs,
      settlements,
      boundaryRequested: epoch.boundaryRequested,
    });
    if (trigger !== "time" || settlements > 0) return trigger;
    return isAwaited(state) || (await hasMembers(trx, this.#current.epoch_id)) ? trigger : null;
  }

  async roll(
    trx: Transaction<GovernanceSchema>,
    args: {
      readonly reason: EpochTrigger;
      readonly nowMs: number;
      readonly settlements: number;
      readonly resolved: readonly string[];
    },
  ): Promise<EpochBoundary> {
    const { reason: trigger, settlements } = args;
    const { epoch_id, open_at_ms } = this.#current;
    const nowMs = Math.max(args.nowMs, open_at_ms);
    const closed = closeEpoch(beginClosing(this.#current, trigger), nowMs);
    const decision = { type: "epoch_closed", epoch_id, trigger, settlements } as const;
    const opened = openedEpoch(await this.#governance.append(trx, decision, nowMs));
    for (const memberId of args.resolved) await resolveMember(trx, memberId);
    await deferUnresolved(trx, opened.epoch_id);
    await updateEpoch(trx, rowOf(closed));
    await insertEpoch(trx, rowOf(opened));
    // A later write of the same group must not join the epoch that this one closes.
    const before = this.#current;
    this.#current = opened;
    afterWrite(trx, (committed) => {
      if (!committed) this.#current = before;
    });
    return { closed, opened };
  }
}

/** Whether something happens at a boundary to come: a version changes, or stake is released. */
function isAwaited({ policies, actors, epoch }: GovernanceState): boolean {
  if ([...policies.values()].some(isWaiting)) return true;
  const last = [...actors.values()].flatMap(({ stake }) => stake.unbonding.slice(-1));
  return last.some(({ releaseEpoch }) => releaseEpoch > epoch.epochId);
}

/** Whether a version changes at a boundary to come. */
function isWaiting({ status, retiresFrom }: PolicyVersion): boolean {
  return status === "draft" || (status === "deprecated" && retiresFrom !== null);
}

/** The open epoch of the governance log, as nothing has joined it yet. */
function openedEpoch({ epoch, semantics, policy }: GovernanceState): Epoch {
  return openEpoch({
    epochId: epoch.epochId,
    nowMs: epoch.openedMs,
    semanticVersion: semantics.semantic_version,
    policyVersion: policy.policy_version_id,
  });
}

const versions = z.array(z.string());
const scope = z.enum(["collecting", "frozen"]);
const trigger = z.enum(["time", "volume", "governance"]).nullable();

function rowOf(epoch: Epoch): EpochRow {
  const { scopes, semantic_version_set, policy_version_set, ...rest } = epoch;
  return {
    ...rest,
    semantic_version_set: JSON.stringify(semantic_version_set),
    policy_version_set: JSON.stringify(policy_version_set),
    settlement_scope: scopes.settlement,
    reward_scope: scopes.reward,
    candidate_scope: scopes.candidate,
  };
}

function epochOf(row: EpochRow): Epoch {
  const { status } = row;
  if (!EPOCH_LIFECYCLE.isState(status)) throw damaged("a state of the epoch lifecycle");
  return {
    epoch_id: row.epoch_id,
    status,
    open_at_ms: row.open_at_ms,
    close_at_ms: row.close_at_ms,
    close_reason: trigger.parse(row.close_reason),
    semantic_version_set: versions.parse(JSON.parse(row.semantic_version_set)),
    policy_version_set: versions.parse(JSON.parse(row.policy_version_set)),
    scopes: {
      settlement: scope.parse(row.settlement_scope),
      reward: scope.parse(row.reward_scope),
      candidate: scope.parse(row.candidate_scope),
    },
  };
}

function damaged(expected: string): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE" },
    `epochs: expected ${expected} in the store`,
  );
}
