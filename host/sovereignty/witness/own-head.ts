import {
  HEAD_QUESTION,
  UnavailableError,
  WITNESS_PROOFS_MAX,
  WITNESS_QUESTION,
  equalBytes,
  parseCheckpoint,
  witnessRulesOf,
  type GovernanceState,
  type RestartStatement,
  type SignerKeys,
  type WitnessRules,
} from "#protocol";

import { metaOf } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import {
  keepFreeze,
  presentFreeze,
  type Fault,
  type Freeze,
  type FreezeReason,
} from "./freezes.ts";
import { heardRestarts, restartsOf } from "./other-heads.ts";
import { giveUp, verifyRestarts, type Head } from "./restarts.ts";
import {
  cosignatureOf,
  decodedAnswer,
  headStatementOf,
  isOwnHead,
  ownKeys,
  type ToldHead,
} from "./told.ts";

/** Whether this Vault knows that its store is no older copy. */
export type Standing = "unconfirmed" | "confirmed" | "frozen";

/** Name in `vault_meta` of a store that came back from a backup and was not thawed since. */
export const RESTORED = "restored";

/** An answer that came, and from whom the carrier says it is. */
export interface Carried {
  readonly actorId: string;
  readonly answer: Uint8Array;
}

/** A question to the other Vaults about the head of this Vault's log. */
export interface HeadAsked {
  /** A signed WitnessQuestion. */
  readonly question: Uint8Array;
  readonly note: string;
  readonly size: number;
  /** Restarts that the question declares. */
  readonly generation: number;
  /** Cosignature lines so far, by witness. */
  readonly cosignatures: Map<string, string>;
}

/** A cosigned head of this Vault's log. */
export interface CosignedHead {
  readonly note: string;
  readonly size: number;
}

/** Under which governance a head is judged, and with which keys signed it counts against this Vault. */
interface Hearing {
  readonly governance: GovernanceState;
  readonly freezes: SignerKeys;
}

/**
 * What other Vaults know of this Vault's log, and what follows: it may act only while nobody holds a head that this
 * store does not have. A head counts against it because it is signed with its own key, whoever carries it. One that is
 * signed with a key that it has given up, and that somebody may have stolen, counts if a witness says over its own
 * signature that it held it: what a Vault has spent by then is spent.
 */
export class OwnHead {
  readonly #context: VaultContext;
  /** Size of the head that each witness held last. */
  readonly #held = new Map<string, number>();
  #confirmed = false;
  #frozen: Freeze | undefined;
  #restarts: readonly Uint8Array[] = [];
  /** See {@link heardRestarts}. */
  #heard: readonly Uint8Array[] = [];
  #cosigned: CosignedHead | undefined;
  #restored = false;
  #declared = false;
  /** Witnesses that have cosigned a head with the restart that this process declared. */
  readonly #following = new Set<string>();

  private constructor(context: VaultContext) {
    this.#context = context;
  }

  static async open(context: VaultContext): Promise<OwnHead> {
    const own = new OwnHead(context);
    await own.reload();
    return own;
  }

  /** Reads what the store holds; unconfirmed afterwards. */
  async reload(): Promise<void> {
    const { db } = this.#context.store;
    this.#frozen = await presentFreeze(db);
    this.#restarts = await restartsOf(db, this.#context.vaultId);
    await this.hear();
    this.#cosigned = await db
      .selectFrom("witness_cosigned")
      .select(["size", "note"])
      .executeTakeFirst();
    this.#restored = (await metaOf(db, RESTORED)) !== undefined;
    this.#confirmed = false;
    this.#declared = false;
    this.#held.clear();
    this.#following.clear();
  }

  /** Reads which restarts of others this Vault follows: questions name them. */
  async hear(): Promise<void> {
    const { store, vaultId } = this.#context;
    this.#heard = await heardRestarts(store.db, vaultId);
  }

  /** Reads what a restart left in the store, which this process has just written: no older copy can say that. */
  async restarted(): Promise<void> {
    await this.reload();
    this.#declared = true;
  }

  get standing(): Standing {
    if (this.#frozen !== undefined) return "frozen";
    return this.#confirmed ? "confirmed" : "unconfirmed";
  }

  get frozen(): Freeze | undefined {
    return this.#frozen;
  }

  get restarts(): readonly Uint8Array[] {
    return this.#restarts;
  }

  /**
   * This process has written the whole budget off. So nothing that others have forgotten of this Vault, or this one of
   * them, gives any of it back: it may have its head cosigned, and follow others' restarts, before it is confirmed.
   */
  get declared(): boolean {
    return this.#declared && this.#frozen === undefined;
  }

  /** The newest head that a quorum cosigned. */
  get cosigned(): CosignedHead | undefined {
    return this.#cosigned;
  }

  /** Size of the head that each witness held last, as far as it said since the start. */
  get held(): ReadonlyMap<string, number> {
    return this.#held;
  }

  /** @throws UnavailableError PRIVACY_BUDGET_FROZEN until this Vault is confirmed */
  requireConfirmed(): void {
    const { standing } = this;
    if (standing === "confirmed") return;
    const reason = this.#frozen?.reason ?? "unconfirmed";
    const message =
      this.#frozen === undefined
        ? "expected other Vaults to have confirmed that its store is no older copy"
        : `expected the newest log, got one that is ${reason}: what was spent since is not in this store`;
    throw new UnavailableError({ code: "PRIVACY_BUDGET_FROZEN", reason }, `vault: ${message}`);
  }

  /** A HeadQuestion over `nonce`. */
  headQuestion(nonce: Uint8Array, governance: GovernanceState): Uint8Array {
    const { vaultId } = this.#context;
    const genesis_digest = governance.genesisDigest;
    return HEAD_QUESTION.encode({ version: 1, genesis_digest, vault_id: vaultId, nonce });
  }

  /**
   * Takes signed HeadStatements over `nonce`. One newer head freezes this Vault, durably; enough statements that know
   * none confirm it, and so do witnesses that follow a restart which this process declared. Whatever does not verify is
   * passed over.
   */
  async confirm(
    statements: readonly Carried[],
    args: { readonly nonce: Uint8Array; readonly governance: GovernanceState },
  ): Promise<void> {
    const { governance } = args;
    const rules = witnessRulesOf(governance, this.#context.vaultId);
    const hearing = { governance, freezes: ownKeys(this.#context, governance) };
    const confirming = this.#followers(rules);
    for (const { answer } of statements) {
      for (const { name, publicKey } of rules.witnesses) {
        const statement = headStatementOf(this.#context, answer, { name, publicKey, ...args });
        if (statement === undefined) continue;
        if (await this.#takeHead(name, statement, hearing)) confirming.add(name);
      }
    }
    await this.#confirmBy(confirming, rules);
  }

  async #confirmBy(confirming: ReadonlySet<string>, rules: WitnessRules): Promise<void> {
    if (this.#frozen !== undefined || confirming.size < rules.confirm) return;
    if (rules.confirm === 0 && this.#restored) {
      await this.#freeze({ reason: "restored", note: this.#context.log.checkpoint(), unknown: [] });
      return;
    }
    if (this.#restored) await this.#forgetRestored();
    this.#confirmed = true;
  }

  #followers({ witnesses }: WitnessRules): Set<string> {
    const names = witnesses.map(({ name }) => name);
    return new Set(names.filter((name) => this.#following.has(name)));
  }

  /** Witnesses have said that nothing is missing: what came back was the newest. */
  async #forgetRestored(): Promise<void> {
    await this.#context.store.write((trx) =>
      trx.deleteFrom("vault_meta").where("name", "=", RESTORED).execute(),
    );
    this.#restored = false;
  }

  /** Asks for cosignatures of the log as it is committed now. */
  ask(governance: GovernanceState): HeadAsked {
    const { log, signingKey, vaultId } = this.#context;
    const { size } = log;
    const note = log.checkpoint();
    const { genesisDigest, sequence } = governance;
    const restarted = this.#declarations(governance).at(-1)?.restarted.size;
    const sizes = new Set([
      ...(restarted === undefined ? [] : [restarted]),
      ...this.#held.values(),
    ]);
    const question = WITNESS_QUESTION.sign(
      {
        version: 1,
        genesis_digest: genesisDigest,
        vault_id: vaultId,
        checkpoint: note,
        governance_size: sequence,
        proofs: [...sizes]
          .filter((older) => older <= size)
          .slice(0, WITNESS_PROOFS_MAX)
          .map((older) => ({ size: older, nodes: log.consistencyProof(older, size) })),
        restarts: [...this.#restarts],
        heard: [...this.#heard],
      },
      signingKey,
    );
    return { question, note, size, generation: this.#restarts.length, cosignatures: new Map() };
  }

  /**
   * Takes one answer to a question.
   *
   * @returns `cosigned` once a quorum has cosigned and the cosigned head is durable; `again` when the witness holds
   * another head than thought and can be asked anew with a proof from it.
   */
  async take(
    asked: HeadAsked,
    { actorId, answer }: Carried,
    governance: GovernanceState,
  ): Promise<"waiting" | "again" | "cosigned"> {
    const rules = witnessRulesOf(governance, this.#context.vaultId);
    const witness = rules.witnesses.find(({ name }) => name === actorId);
    const taken = decodedAnswer(answer);
    if (witness === undefined || taken === undefined) return "waiting";
    const { publicKey } = this.#context.signingKey;
    const hearing = { governance, freezes: { publicKey, formerKeys: [] } };
    if (taken.result === "forked") {
      for (const checkpoint of [taken.held, taken.other]) {
        await this.#takeHead(actorId, { checkpoint, restarts: [...this.#restarts] }, hearing);
      }
      return "waiting";
    }
    if (taken.result === "held") {
      const before = this.#held.get(actorId);
      const ours = await this.#takeHead(actorId, taken, hearing);
      return ours && this.#held.get(actorId) !== before ? "again" : "waiting";
    }
    const line = cosignatureOf(this.#context, { asked, checkpoint: taken.checkpoint, witness });
    if (line === undefined) return "waiting";
    asked.cosignatures.set(actorId, line);
    this.#held.set(actorId, asked.size);
    if (this.declared && asked.generation === this.#restarts.length) {
      this.#following.add(actorId);
      await this.#confirmBy(this.#followers(rules), rules);
    }
    if (asked.cosignatures.size < rules.cosign || this.standing !== "confirmed") return "waiting";
    await this.#keepCosigned(asked);
    return "cosigned";
  }

  /** The cosigned head covers at least `size` events. */
  covers(size: number): boolean {
    return this.#confirmed && (this.#cosigned?.size ?? -1) >= size;
  }

  async #keepCosigned({ note, size, cosignatures }: HeadAsked): Promise<void> {
    const kept = { size, note: note + [...cosignatures.values()].join("") };
    if (size < (this.#cosigned?.size ?? 0)) return;
    await this.#context.store.write((trx) =>
      trx
        .insertInto("witness_cosigned")
        .values({ name: "own", ...kept })
        .onConflict((conflict) => conflict.column("name").doUpdateSet(kept))
        .execute(),
    );
    if (size >= (this.#cosigned?.size ?? 0)) this.#cosigned = kept;
  }

  /** Takes a head that `witness` holds. @returns whether this Vault's log has it, or it holds none. */
  async #takeHead(
    witness: string,
    told: Omit<ToldHead, "checkpoint"> & { readonly checkpoint: string | null },
    { governance, freezes }: Hearing,
  ): Promise<boolean> {
    if (told.checkpoint === null) return true;
    const { checkpoint: note, restarts } = told;
    const head = { checkpoint: note, restarts };
    const { genesisDigest } = governance;
    const keys = ownKeys(this.#context, governance);
    if (!isOwnHead(this.#context, head, { ...keys, genesisDigest })) return false;
    const reason = this.#faultOf(parseCheckpoint(note), restarts.length, governance);
    if (reason !== null) {
      const counts = isOwnHead(this.#context, head, { ...freezes, genesisDigest });
      const unknown = restarts.slice(this.#restarts.length);
      if (counts) await this.#freeze({ reason, note, unknown });
      return false;
    }
    if (restarts.length === this.#restarts.length)
      this.#held.set(witness, parseCheckpoint(note).size);
    return true;
  }

  /** Why a head, signed by this Vault after `generation` restarts, cannot be one of this log; null when it is. */
  #faultOf(head: Head, generation: number, governance: GovernanceState): FreezeReason | null {
    const { log } = this.#context;
    if (generation > this.#restarts.length) return "restarted";
    const since = this.#declarations(governance).slice(generation);
    if (since.length > 0) return giveUp(since, head) ? null : "behind";
    if (head.size > log.size) return "behind";
    return equalBytes(log.root(head.size), head.root) ? null : "forked";
  }

  async #freeze(fault: Fault): Promise<void> {
    if (this.#frozen !== undefined) return;
    const { reason, note, unknown } = fault;
    const atMs = this.#context.nowMs();
    this.#frozen = { reason, note, atMs };
    this.#confirmed = false;
    await keepFreeze(this.#context, fault, { known: this.#restarts.length, atMs });
    this.#restarts = [...this.#restarts, ...unknown];
  }

  #declarations(governance: GovernanceState): RestartStatement[] {
    const { vaultId } = this.#context;
    const { genesisDigest } = governance;
    const of = { vaultId, ...ownKeys(this.#context, governance), genesisDigest };
    return verifyRestarts(this.#restarts, of);
  }
}
