import { parseCheckpoint, type GovernanceState } from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import {
  forkEvidence,
  restartEvidence,
  type ForkEvidence,
  type RestartEvidence,
} from "./evidence.ts";
import { cosignHead, tellHead, type Cosigned } from "./other-heads.ts";
import {
  OwnHead,
  type Carried,
  type CosignedHead,
  type HeadAsked,
  type Standing,
} from "./own-head.ts";
import type { FreezeReason } from "./freezes.ts";
import { thaw, type Thawed } from "./thaw.ts";

export type { Thawed } from "./thaw.ts";

/** How a Vault stands with its witnesses, for its operator. */
export interface WitnessStatus {
  readonly standing: Standing;
  /** Why it is frozen, since when, and the head that proves it: signed by this Vault, and not of its log. */
  readonly frozen: {
    readonly reason: FreezeReason;
    readonly held_size: number;
    readonly held_root: Uint8Array;
    readonly at_ms: number;
  } | null;
  readonly log_size: number;
  /** Size of the newest head that a quorum cosigned; null before the first. */
  readonly cosigned_size: number | null;
  /** What each other Vault held last, as far as it said since the start. */
  readonly held_by: readonly { readonly vault_id: string; readonly size: number }[];
  /** Restarts that this Vault has declared. */
  readonly restarts: number;
  /** Proven forks of other Vaults' logs that this one keeps. */
  readonly forks: readonly ForkEvidence[];
  /** Restarts of other Vaults that this one has accepted. */
  readonly restarts_of_others: readonly RestartEvidence[];
}

/**
 * A Vault as witness of the others' logs, and as one that is witnessed (design, section 7). The answers of others are
 * carried by the coordinator, which is believed in nothing.
 */
export interface WitnessApi {
  readonly standing: Standing;
  /** See {@link OwnHead.declared}. */
  readonly declared: boolean;
  readonly cosigned: CosignedHead | undefined;
  /** @throws UnavailableError PRIVACY_BUDGET_FROZEN until enough Vaults have confirmed this one */
  requireConfirmed(): void;
  /** See {@link OwnHead}. */
  headQuestion(nonce: Uint8Array, governance: GovernanceState): Uint8Array;
  confirm(
    statements: readonly Carried[],
    args: { readonly nonce: Uint8Array; readonly governance: GovernanceState },
  ): Promise<void>;
  ask(governance: GovernanceState): HeadAsked;
  take(
    asked: HeadAsked,
    answer: Carried,
    governance: GovernanceState,
  ): Promise<"waiting" | "again" | "cosigned">;
  covers(size: number): boolean;
  /**
   * See `cosignHead`. Only a confirmed Vault cosigns, since another may have forgotten what it cosigned; and one that has
   * declared a restart, for such as declare one too.
   */
  cosignHead(question: Uint8Array, governance: GovernanceState): Promise<Cosigned>;
  /** See `tellHead`. A frozen Vault tells nothing. */
  tellHead(question: Uint8Array, governance: GovernanceState): Promise<Uint8Array>;
  /** The operator's way out of a freeze, or where nobody confirms this Vault any more. See `thaw`. */
  thaw(governance: GovernanceState): Promise<Thawed>;
  status(): Promise<WitnessStatus>;
}

/** Opens the witness part of a Vault's store. */
export async function openWitness(context: VaultContext): Promise<WitnessApi> {
  const own = await OwnHead.open(context);
  let turn: Promise<unknown> = Promise.resolve();
  /** One change after the other: while a restart writes everything off, nothing confirms or freezes. */
  const inTurn = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    const mine = turn.then(work);
    turn = mine.catch(() => undefined);
    return mine;
  };
  return {
    get standing() {
      return own.standing;
    },
    get declared() {
      return own.declared;
    },
    get cosigned() {
      return own.cosigned;
    },
    requireConfirmed: () => own.requireConfirmed(),
    headQuestion: (nonce, governance) => own.headQuestion(nonce, governance),
    confirm: (statements, args) => inTurn(() => own.confirm(statements, args)),
    ask: (governance) => own.ask(governance),
    take: (asked, answer, governance) => inTurn(() => own.take(asked, answer, governance)),
    covers: (size) => own.covers(size),
    cosignHead: async (question, governance) => {
      if (!own.declared) own.requireConfirmed();
      const confirmed = own.standing === "confirmed";
      const cosigned = await cosignHead(context, question, { governance, confirmed });
      if (cosigned.followed) await own.hear();
      return cosigned;
    },
    tellHead: async (question, governance) => {
      if (own.standing === "frozen") own.requireConfirmed();
      return tellHead(context, question, governance);
    },
    thaw: (governance) => inTurn(() => thaw(context, own, governance)),
    status: () => statusOf(context, own),
  };
}

async function statusOf(
  { store, log, vaultId }: VaultContext,
  own: OwnHead,
): Promise<WitnessStatus> {
  const { frozen } = own;
  return {
    standing: own.standing,
    frozen:
      frozen === undefined
        ? null
        : {
            reason: frozen.reason,
            held_size: parseCheckpoint(frozen.note).size,
            held_root: parseCheckpoint(frozen.note).root,
            at_ms: frozen.atMs,
          },
    log_size: log.size,
    cosigned_size: own.cosigned?.size ?? null,
    held_by: [...own.held].map(([vault_id, size]) => ({ vault_id, size })),
    restarts: own.restarts.length,
    forks: await forkEvidence(store.db),
    restarts_of_others: await restartEvidence(store.db, vaultId),
  };
}
