import { EPOCH_LIFECYCLE, UnavailableError, type GovernanceState, type Policy } from "#protocol";
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
  insertEpoch,
  insertMember,
  readEpochs,
  readMember,
  readMembers,
  resolveMember,
  updateEpoch,
  type EpochRow,
  type GovernanceSchema,
} from "./queries.ts";

/** What closing an epoch came to. */
export interface EpochBoundary {
  readonly closed: Epoch;
  readonly opened: Epoch;
}

/** Every epoch of the network and what belongs to it. One epoch is open at any time, from the bootstrap on. */
export interface EpochRegister {
  /** The open epoch. */
  current(): Epoch;
  /**
   * Assigns a task, or the sub-task of one round, to the open epoch. Asked again it answers the same: in-flight work
   * keeps its epoch (EP-4).
   *
   * @param memberId - Task or sub-task identifier.
   */
  assign(memberId: string): Promise<number>;
  /** Members of an epoch, in order: the same whenever it is asked once the epoch is closed (EP-3). */
  members(epochId: number): Promise<readonly string[]>;
  /** Records that a member ended without a result, so that it is not deferred. */
  resolve(memberId: string): Promise<void>;
  /** Asks for a window boundary at the next chance: governance closes the epoch. */
  requestBoundary(): void;
  /** Whether the open epoch should close now; see {@link closingTrigger}. */
  trigger(nowMs: number, settlements: number): EpochTrigger | null;
  /**
   * Closes the open epoch and opens the next, in the caller's transaction: closing, scopes frozen, members of
   * `resolved` done, all other unresolved members deferred, closed, next one open.
   */
  roll(
    trx: Transaction<GovernanceSchema>,
    args: {
      readonly reason: EpochTrigger;
      readonly nowMs: number;
      readonly resolved: readonly string[];
      readonly state: GovernanceState;
    },
  ): Promise<EpochBoundary>;
}

/** Opens the epochs kept in `store`; creates the bootstrap epoch 0 when there are none. */
export async function openEpochRegister(args: {
  readonly store: Store<GovernanceSchema>;
  readonly state: GovernanceState;
  readonly nowMs: () => number;
}): Promise<EpochRegister> {
  const { db } = args.store;
  const write: Write = (work) => args.store.write(work);
  const rows = await readEpochs(db);
  let current = rows.map(epochOf).find((epoch) => epoch.status === "open");
  if (current === undefined) {
    if (rows.length > 0) throw damaged("one open epoch");
    const bootstrap = nextEpoch(0, args.nowMs(), args.state);
    await write((trx) => insertEpoch(trx, rowOf(bootstrap)));
    current = bootstrap;
  }
  return new StoredEpochs({ db, write, limits: args.state.policy.epoch, current });
}

type Write = <T>(work: (trx: Transaction<GovernanceSchema>) => Promise<T>) => Promise<T>;

class StoredEpochs implements EpochRegister {
  readonly #db: Kysely<GovernanceSchema>;
  readonly #write: Write;
  readonly #limits: Policy["epoch"];
  #current: Epoch;
  #boundaryRequested = false;

  constructor(args: {
    readonly db: Kysely<GovernanceSchema>;
    readonly write: Write;
    readonly limits: Policy["epoch"];
    readonly current: Epoch;
  }) {
    this.#db = args.db;
    this.#write = args.write;
    this.#limits = args.limits;
    this.#current = args.current;
  }

  current(): Epoch {
    return this.#current;
  }

  async assign(memberId: string): Promise<number> {
    return await this.#write(async (trx) => {
      const known = await readMember(trx, memberId);
      if (known !== undefined) return known.epoch_id;
      const { epoch_id } = this.#current;
      const row = { member_id: memberId, epoch_id, deferred_to: null, resolved: 0 };
      await insertMember(trx, row);
      return epoch_id;
    });
  }

  async members(epochId: number): Promise<readonly string[]> {
    return (await readMembers(this.#db, epochId)).map((row) => row.member_id);
  }

  async resolve(memberId: string): Promise<void> {
    await this.#write((trx) => resolveMember(trx, memberId));
  }

  requestBoundary(): void {
    this.#boundaryRequested = true;
  }

  trigger(nowMs: number, settlements: number): EpochTrigger | null {
    return closingTrigger({
      epoch: this.#current,
      limits: this.#limits,
      nowMs,
      settlements,
      boundaryRequested: this.#boundaryRequested,
    });
  }

  async roll(
    trx: Transaction<GovernanceSchema>,
    args: {
      readonly reason: EpochTrigger;
      readonly nowMs: number;
      readonly resolved: readonly string[];
      readonly state: GovernanceState;
    },
  ): Promise<EpochBoundary> {
    const closed = closeEpoch(beginClosing(this.#current, args.reason), args.nowMs);
    const opened = nextEpoch(closed.epoch_id + 1, args.nowMs, args.state);
    for (const memberId of args.resolved) await resolveMember(trx, memberId);
    await deferUnresolved(trx, opened.epoch_id);
    await updateEpoch(trx, rowOf(closed));
    await insertEpoch(trx, rowOf(opened));
    // A later write of the same group must not join the epoch that this one closes.
    const before = { epoch: this.#current, requested: this.#boundaryRequested };
    this.#current = opened;
    this.#boundaryRequested = false;
    afterWrite(trx, (committed) => {
      if (committed) return;
      this.#current = before.epoch;
      this.#boundaryRequested ||= before.requested;
    });
    return { closed, opened };
  }
}

function nextEpoch(epochId: number, nowMs: number, state: GovernanceState): Epoch {
  return openEpoch({
    epochId,
    nowMs,
    semanticVersion: state.semantics.semantic_version,
    policyVersion: state.policy.policy_version_id,
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
