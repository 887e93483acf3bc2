import assert from "node:assert";

import {
  LimitError,
  MerkleTree,
  UnavailableError,
  VerificationError,
  applyGovernanceEvent,
  equalBytes,
  genesisState,
  governanceOrigin,
  leafHash,
  parseCheckpoint,
  signCheckpoint,
  vaultKeysOf,
  verifyCheckpoint,
  type GovernanceDecision,
  type GovernanceSnapshot,
  type GovernanceState,
  type NamedKey,
  type SigningKey,
} from "#protocol";

import { afterWrite, type Store, type Transaction } from "../store/index.ts";
import { createGovernanceEvent } from "./propose.ts";
import {
  insertCosignature,
  insertEvent,
  readCosignatures,
  readEvents,
  type GovernanceSchema,
} from "./queries.ts";

/** Events one network's log takes; the bound of a snapshot. */
export const GOVERNANCE_LOG_EVENTS_MAX = 10_000;

/** How far the clock of whoever proposes or votes may be from the coordinator's. */
export const CLOCK_SKEW_MS_MAX = 5 * 60 * 1000;

/** The coordinator's side of governance: one verified log, its checkpoints and what Vaults have cosigned. */
export interface Governance {
  /** The state after every committed event. */
  state(): GovernanceState;
  /**
   * The state that a running write builds on: also after events of earlier writes that are yet to be committed with it.
   * Nothing that outlives the write may rest on it.
   */
  pendingState(): GovernanceState;
  /**
   * Folds one event into the log; the same bytes twice are one event.
   *
   * @returns Its position.
   * @throws as `applyGovernanceEvent`; {@link LimitError} POLICY_LIMIT_EXCEEDED when the log is full; ConflictError
   * GOVERNANCE_CHALLENGE_CLOSED for a challenge that there is none of, or whose task has settled;
   * {@link VerificationError} GOVERNANCE_EVENT_INVALID for a proposal whose window would not begin now.
   */
  submit(eventBytes: Uint8Array): Promise<number>;
  /**
   * Appends a decision of the coordinator's own, in the caller's transaction: the boundary of an epoch.
   *
   * @returns The state after it, which counts once the transaction is committed.
   * @throws as {@link submit}
   */
  append(
    trx: Transaction<GovernanceSchema>,
    decision: GovernanceDecision,
    timeMs: number,
  ): Promise<GovernanceState>;
  /** Every committed event, in order. */
  events(): Uint8Array[];
  /** Checkpoint of the whole log with every cosignature known for it. */
  note(): string;
  /**
   * Takes the cosignatures that `note` carries over a checkpoint of this log; actors that cosigned before are skipped.
   *
   * @throws {@link VerificationError} PROOF_CHECKPOINT_INVALID for another log, root or signature, or when no
   * enterprise actor has signed it.
   */
  addCosignature(note: string): Promise<void>;
  /**
   * The longest prefix of the log, of at most `sizeMax` events, that a quorum of Vaults has cosigned.
   *
   * @throws {@link UnavailableError} COORDINATION_UNAVAILABLE until there is one.
   */
  snapshot(sizeMax?: number): GovernanceSnapshot;
  /**
   * Whether a quorum of Vaults has cosigned the whole log. Until then a Vault that has cosigned takes no snapshot,
   * which would be shorter than the log it knows: work that carries one waits.
   */
  isCosigned(): boolean;
  /** The state after the first `size` events. */
  stateAt(size: number): GovernanceState;
  /** For a cosigner that last saw `oldSize`. @throws LimitError past the log */
  consistencyProof(oldSize: number): Uint8Array[];
}

/**
 * Opens the governance log kept in `store`, folding every event again.
 *
 * @param args.signingKey - The coordinator's; must be the key the genesis names.
 * @throws {@link VerificationError} GOVERNANCE_GENESIS_MISMATCH for another coordinator's key, GOVERNANCE_EVENT_INVALID
 * for an altered store or the store of another network.
 */
export async function openGovernance(args: {
  readonly store: Store<GovernanceSchema>;
  readonly genesisBytes: Uint8Array;
  readonly signingKey: SigningKey;
  readonly nowMs: () => number;
  readonly requireDisputed: RequireDisputed;
}): Promise<Governance> {
  const { db } = args.store;
  const service = new StoredGovernance({
    write: (work) => args.store.write(work),
    genesisBytes: args.genesisBytes,
    signingKey: args.signingKey,
    nowMs: args.nowMs,
    requireDisputed: args.requireDisputed,
  });
  for (const event of await readEvents(db)) service.replay(event);
  for (const { size, actor_id, line } of await readCosignatures(db)) {
    service.keep(size, actor_id, line);
  }
  return service;
}

/** Refuses a decision about the challenge of a task of which none can be decided any more. @throws ConflictError */
export type RequireDisputed = (trx: Transaction<GovernanceSchema>, taskId: string) => Promise<void>;

interface Dependencies {
  readonly write: <T>(work: (trx: Transaction<GovernanceSchema>) => Promise<T>) => Promise<T>;
  readonly genesisBytes: Uint8Array;
  readonly signingKey: SigningKey;
  readonly nowMs: () => number;
  readonly requireDisputed: RequireDisputed;
}

class StoredGovernance implements Governance {
  readonly #deps: Dependencies;
  /** Events and leaves also hold what running writes have added; the first `#size` are committed. */
  readonly #events: Uint8Array[] = [];
  readonly #tree = new MerkleTree();
  #size = 0;
  /** Size of the log, then actor, to the signature line. */
  readonly #cosignatures = new Map<number, Map<string, string>>();
  readonly #log: NamedKey;
  /** After each number of events, from none on; one longer than the events. */
  readonly #states: GovernanceState[];

  constructor(deps: Dependencies) {
    this.#deps = deps;
    const state = genesisState(deps.genesisBytes);
    this.#states = [state];
    const coordinator = state.actors.get(state.genesis.coordinator_id);
    if (
      coordinator === undefined ||
      !equalBytes(coordinator.signing_key, deps.signingKey.publicKey)
    ) {
      throw new VerificationError(
        { code: "GOVERNANCE_GENESIS_MISMATCH" },
        "governance genesis: expected this coordinator's key, got another",
      );
    }
    this.#log = { name: coordinator.actor_id, publicKey: coordinator.signing_key };
  }

  state(): GovernanceState {
    return this.stateAt(this.#size);
  }

  pendingState(): GovernanceState {
    const state = this.#states.at(-1);
    assert(state !== undefined, "a state after every event");
    return state;
  }

  /** Folds an event that is already stored. */
  replay(event: Uint8Array): void {
    this.#push(event, applyGovernanceEvent(this.pendingState(), event));
    this.#size = this.#events.length;
  }

  /** Keeps a cosignature line that is already stored. */
  keep(size: number, actorId: string, line: string): void {
    const lines = this.#cosignatures.get(size) ?? new Map<string, string>();
    if (!lines.has(actorId)) lines.set(actorId, line);
    this.#cosignatures.set(size, lines);
  }

  async submit(eventBytes: Uint8Array): Promise<number> {
    return await this.#deps.write(async (trx) => {
      const known = this.#events.findIndex((event) => equalBytes(event, eventBytes));
      if (known >= 0) return known;
      const before = this.pendingState();
      requireTimely(before, await this.#insert(trx, eventBytes.slice()), this.#deps.nowMs());
      return this.#events.length - 1;
    });
  }

  async append(
    trx: Transaction<GovernanceSchema>,
    decision: GovernanceDecision,
    timeMs: number,
  ): Promise<GovernanceState> {
    const keys = [this.#deps.signingKey];
    return await this.#insert(
      trx,
      createGovernanceEvent({ state: this.pendingState(), decision, keys, timeMs }),
    );
  }

  /** Folds and stores the next event; both are undone when the transaction fails. @returns The state after it */
  async #insert(trx: Transaction<GovernanceSchema>, event: Uint8Array): Promise<GovernanceState> {
    const sequence = this.#events.length;
    if (sequence >= GOVERNANCE_LOG_EVENTS_MAX) {
      throw new LimitError(
        { code: "POLICY_LIMIT_EXCEEDED", max: GOVERNANCE_LOG_EVENTS_MAX },
        `governance log: expected fewer than ${GOVERNANCE_LOG_EVENTS_MAX} events, got a full log`,
      );
    }
    const before = this.pendingState();
    const after = applyGovernanceEvent(before, event);
    for (const taskId of newlyDecided(before, after)) await this.#deps.requireDisputed(trx, taskId);
    this.#push(event, after);
    afterWrite(trx, (committed) => {
      if (committed) {
        this.#size = sequence + 1;
      } else {
        this.#events.length = sequence;
        this.#states.length = sequence + 1;
        this.#tree.truncate(sequence);
      }
    });
    await insertEvent(trx, { sequence, event, received_ms: this.#deps.nowMs() });
    return after;
  }

  events(): Uint8Array[] {
    return this.#events.slice(0, this.#size);
  }

  note(): string {
    return this.#noteOf(this.#size);
  }

  async addCosignature(note: string): Promise<void> {
    const { size } = parseCheckpoint(note);
    if (size > this.#size) throw foreignNote(`size up to ${this.#size}`);
    const base = this.#signedNote(size);
    const end = note.lastIndexOf("\n\n") + 1;
    if (base.slice(0, base.lastIndexOf("\n\n") + 1) !== note.slice(0, end)) {
      throw foreignNote("a checkpoint of this log");
    }
    const cosigners = note
      .slice(end + 1)
      .split("\n")
      .filter((line) => line !== "")
      .flatMap((line) => this.#cosignersOf(base, line, size).map((actorId) => ({ actorId, line })));
    if (cosigners.length === 0) throw foreignNote("a cosignature of an enterprise actor");
    await this.#deps.write(async (trx) => {
      for (const { actorId, line } of cosigners) {
        await insertCosignature(trx, { size, actor_id: actorId, line });
      }
      afterWrite(trx, (committed) => {
        if (!committed) return;
        for (const { actorId, line } of cosigners) this.keep(size, actorId, line);
      });
    });
  }

  isCosigned(): boolean {
    return this.#hasQuorum(this.#size);
  }

  stateAt(size: number): GovernanceState {
    const state = this.#states[size];
    assert(state !== undefined && size <= this.#size, "a size of the committed log");
    return state;
  }

  /** Whether as many Vaults have cosigned the first `size` events as the policy that they make active asks for. */
  #hasQuorum(size: number): boolean {
    const { checkpoint_quorum: quorum } = this.stateAt(size).policy.governance;
    return (this.#cosignatures.get(size)?.size ?? 0) >= quorum;
  }

  snapshot(sizeMax: number = this.#size): GovernanceSnapshot {
    for (let size = Math.min(sizeMax, this.#size); size >= 0; size -= 1) {
      if (!this.#hasQuorum(size)) continue;
      return {
        genesis: this.#deps.genesisBytes,
        events: this.#events.slice(0, size),
        checkpoint: this.#noteOf(size),
      };
    }
    throw new UnavailableError(
      { code: "COORDINATION_UNAVAILABLE" },
      "governance snapshot: expected a checkpoint cosigned by a quorum of Vaults, got none yet",
    );
  }

  consistencyProof(oldSize: number): Uint8Array[] {
    return this.#tree.consistencyProof(oldSize, this.#size);
  }

  #push(event: Uint8Array, after: GovernanceState): void {
    this.#states.push(after);
    this.#events.push(event);
    this.#tree.append(leafHash(event));
  }

  #signedNote(size: number): string {
    return signCheckpoint({
      origin: governanceOrigin(this.state().genesis.network),
      size,
      root: this.#tree.root(size),
      signerName: this.#log.name,
      key: this.#deps.signingKey,
    });
  }

  #noteOf(size: number): string {
    const lines = [...(this.#cosignatures.get(size)?.values() ?? [])];
    return this.#signedNote(size) + lines.map((line) => `${line}\n`).join("");
  }

  /** The enterprise actor whose cosignature of `base` one line is; none for the log's own line or a stranger's. */
  #cosignersOf(base: string, line: string, size: number): readonly string[] {
    const state = this.stateAt(size);
    const { witnessNames } = verifyCheckpoint(`${base}${line}\n`, {
      origin: governanceOrigin(state.genesis.network),
      log: this.#log,
      witnesses: vaultKeysOf(state),
      quorum: 0,
    });
    return witnessNames;
  }
}

/** Tasks about whose challenges the last event has decided. */
function newlyDecided(before: GovernanceState, after: GovernanceState): readonly string[] {
  const [known, decided] = [before.challengeResolutions, after.challengeResolutions];
  return known === decided ? [] : [...decided.keys()].filter((taskId) => !known.has(taskId));
}

/** Refuses a new proposal whose voters would have more time than the policy gives them, or less. */
function requireTimely(before: GovernanceState, after: GovernanceState, nowMs: number): void {
  for (const { proposalId, openedMs } of after.proposals.values()) {
    const isNew = !before.proposals.has(proposalId);
    if (!isNew || Math.abs(openedMs - nowMs) <= CLOCK_SKEW_MS_MAX) continue;
    throw new VerificationError(
      { code: "GOVERNANCE_EVENT_INVALID", field: "time_ms", expected: nowMs, actual: openedMs },
      `proposal: expected one that is opened now, at ${nowMs}, got ${openedMs}`,
    );
  }
}

function foreignNote(expected: string): VerificationError {
  return new VerificationError(
    { code: "PROOF_CHECKPOINT_INVALID" },
    `governance cosignature: expected ${expected}, got another note`,
  );
}
