import {
  HEAD_QUESTION,
  HEAD_STATEMENT,
  SymphonyError,
  UnavailableError,
  WITNESS_ANSWER,
  WITNESS_PROOFS_MAX,
  WITNESS_QUESTION,
  equalBytes,
  parseCheckpoint,
  verifyCheckpoint,
  witnessRulesOf,
  type GovernanceState,
  type HeadStatement,
  type RestartStatement,
  type WitnessAnswer,
} from "#protocol";

import { metaOf } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { restartsOf } from "./other-heads.ts";
import { givesUp, verifyRestarts, type Head } from "./restarts.ts";

/** Whether this Vault knows that its store is no older copy. */
export type Standing = "unconfirmed" | "confirmed" | "frozen";

/**
 * Why a Vault is frozen: others hold a head that it signed and does not hold, or holds another of that size; or it was
 * put back from a backup, and nobody else remembers what it has spent since.
 */
export type FreezeReason = "behind" | "forked" | "restarted" | "restored";

/** Why this Vault stands still, and the head that proves it. */
export interface Freeze {
  readonly reason: FreezeReason;
  /** Signed by this Vault. */
  readonly note: string;
  readonly atMs: number;
}

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
  /** Cosignature lines so far, by witness. */
  readonly cosignatures: Map<string, string>;
}

/** A cosigned head of this Vault's log. */
export interface CosignedHead {
  readonly note: string;
  readonly size: number;
}

interface Fault {
  readonly reason: FreezeReason;
  readonly note: string;
  /** Restarts of this Vault that the store does not know. */
  readonly unknown: readonly Uint8Array[];
}

/**
 * What other Vaults know of this Vault's log, and what follows: it may act only while nobody holds a head that this
 * store does not have. A head counts against it because it is signed with its own key, whoever carries it.
 */
export class OwnHead {
  readonly #context: VaultContext;
  /** Size of the head that each witness held last. */
  readonly #held = new Map<string, number>();
  #confirmed = false;
  #frozen: Freeze | undefined;
  #restarts: readonly Uint8Array[] = [];
  #cosigned: CosignedHead | undefined;
  #restored = false;

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
    const frozen = await db
      .selectFrom("witness_freeze")
      .selectAll()
      .where("thawed_ms", "is", null)
      .orderBy("position")
      .executeTakeFirst();
    this.#frozen =
      frozen === undefined
        ? undefined
        : { reason: frozen.reason, note: frozen.note, atMs: frozen.at_ms };
    this.#restarts = await restartsOf(db, this.#context.vaultId);
    this.#cosigned = await db
      .selectFrom("witness_cosigned")
      .select(["size", "note"])
      .executeTakeFirst();
    this.#restored = (await metaOf(db, RESTORED)) !== undefined;
    this.#confirmed = false;
    this.#held.clear();
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
   * none confirm it. Whatever does not verify is passed over.
   */
  async confirm(
    statements: readonly Carried[],
    args: { readonly nonce: Uint8Array; readonly governance: GovernanceState },
  ): Promise<void> {
    const rules = witnessRulesOf(args.governance, this.#context.vaultId);
    const confirming = new Set<string>();
    for (const { answer } of statements) {
      for (const { name, publicKey } of rules.witnesses) {
        const statement = this.#statement(answer, { name, publicKey, ...args });
        if (statement === undefined) continue;
        if (await this.#takeHead(name, statement, args.governance)) confirming.add(name);
      }
    }
    if (this.#frozen !== undefined || confirming.size < rules.confirm) return;
    if (rules.confirm === 0 && this.#restored) {
      await this.#freeze({ reason: "restored", note: this.#context.log.checkpoint(), unknown: [] });
      return;
    }
    if (this.#restored) await this.#forgetRestored();
    this.#confirmed = true;
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
    const restarted = this.#verified(this.#restarts, genesisDigest).at(-1)?.restarted.size;
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
      },
      signingKey,
    );
    return { question, note, size, cosignatures: new Map() };
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
    const taken = decoded(answer);
    if (witness === undefined || taken === undefined) return "waiting";
    if (taken.result === "forked") {
      for (const checkpoint of [taken.held, taken.other]) {
        await this.#takeHead(actorId, { checkpoint, restarts: [...this.#restarts] }, governance);
      }
      return "waiting";
    }
    if (taken.result === "held") {
      const before = this.#held.get(actorId);
      const ours = await this.#takeHead(actorId, taken, governance);
      return ours && this.#held.get(actorId) !== before ? "again" : "waiting";
    }
    const line = this.#cosignature(asked, taken.checkpoint, witness);
    if (line === undefined) return "waiting";
    asked.cosignatures.set(actorId, line);
    this.#held.set(actorId, asked.size);
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

  /** The line that the witness added to the asked checkpoint; undefined when it is not its cosignature of it. */
  #cosignature(
    asked: HeadAsked,
    checkpoint: string,
    witness: { readonly name: string; readonly publicKey: Uint8Array },
  ): string | undefined {
    const line = checkpoint.slice(asked.note.length);
    const added = checkpoint.startsWith(asked.note) && line.indexOf("\n") === line.length - 1;
    const isSigned = holds(() => this.#verifyNote(checkpoint, [witness]));
    return added && isSigned ? line : undefined;
  }

  #statement(
    answer: Uint8Array,
    args: {
      readonly name: string;
      readonly publicKey: Uint8Array;
      readonly nonce: Uint8Array;
      readonly governance: GovernanceState;
    },
  ): HeadStatement | undefined {
    try {
      const statement = HEAD_STATEMENT.verify(answer, args.publicKey);
      const isAnswer =
        statement.witness_id === args.name &&
        statement.vault_id === this.#context.vaultId &&
        equalBytes(statement.genesis_digest, args.governance.genesisDigest) &&
        equalBytes(statement.nonce, args.nonce);
      return isAnswer ? statement : undefined;
    } catch (error) {
      if (error instanceof SymphonyError) return undefined;
      throw error;
    }
  }

  /** Takes a head that `witness` holds. @returns whether this Vault's log has it, or it holds none. */
  async #takeHead(
    witness: string,
    told: { readonly checkpoint: string | null; readonly restarts: readonly Uint8Array[] },
    governance: GovernanceState,
  ): Promise<boolean> {
    if (told.checkpoint === null) return true;
    const { checkpoint: note, restarts } = told;
    const signed = holds(() => {
      this.#verifyNote(note, []);
      this.#verified(restarts, governance.genesisDigest);
    });
    if (!signed) return false;
    const reason = this.#faultOf(parseCheckpoint(note), restarts.length, governance);
    if (reason !== null) {
      await this.#freeze({ reason, note, unknown: restarts.slice(this.#restarts.length) });
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
    const ended = this.#verified(this.#restarts, governance.genesisDigest)[generation];
    if (ended !== undefined) return givesUp(ended, head) ? null : "behind";
    if (head.size > log.size) return "behind";
    return equalBytes(log.root(head.size), head.root) ? null : "forked";
  }

  async #freeze({ reason, note, unknown }: Fault): Promise<void> {
    if (this.#frozen !== undefined) return;
    const { store, log, nowMs, vaultId } = this.#context;
    const { size, root } = parseCheckpoint(note);
    const atMs = nowMs();
    this.#frozen = { reason, note, atMs };
    this.#confirmed = false;
    const known = this.#restarts.length;
    await store.write(async (trx) => {
      await trx
        .insertInto("witness_freeze")
        .values({ reason, note, at_ms: atMs, thawed_ms: null })
        .execute();
      for (const [index, statement] of unknown.entries()) {
        const row = { vault_id: vaultId, generation: known + index + 1, statement, at_ms: atMs };
        await trx
          .insertInto("witness_restart")
          .values({ ...row, abandoned_note: null })
          .execute();
      }
      await log.append(trx, {
        type: "ledger.frozen",
        taskId: null,
        body: { reason, held_size: size, held_root: root },
      });
    });
    this.#restarts = [...this.#restarts, ...unknown];
  }

  /** @throws VerificationError for a checkpoint that this Vault, or one of `witnesses`, did not sign */
  #verifyNote(
    note: string,
    witnesses: readonly { readonly name: string; readonly publicKey: Uint8Array }[],
  ): void {
    const { log, vaultId, signingKey } = this.#context;
    const own = { name: vaultId, publicKey: signingKey.publicKey };
    verifyCheckpoint(note, {
      origin: log.origin,
      log: own,
      witnesses,
      quorum: witnesses.length,
    });
  }

  #verified(restarts: readonly Uint8Array[], genesisDigest: Uint8Array): RestartStatement[] {
    const { vaultId, signingKey } = this.#context;
    return verifyRestarts(restarts, { vaultId, publicKey: signingKey.publicKey, genesisDigest });
  }
}

function decoded(answer: Uint8Array): WitnessAnswer | undefined {
  try {
    return WITNESS_ANSWER.decode(answer);
  } catch (error) {
    if (error instanceof SymphonyError) return undefined;
    throw error;
  }
}

function holds(verify: () => void): boolean {
  try {
    verify();
    return true;
  } catch (error) {
    if (error instanceof SymphonyError) return false;
    throw error;
  }
}
