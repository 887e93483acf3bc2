import {
  SymphonyError,
  TASK_REQUEST,
  allowanceMicro,
  type GovernanceState,
  type SemanticResolution,
  type TaskRequest,
} from "#protocol";

import { judgeRequest, priceMicro, rewardMaxMinor, roundsOfRequest } from "../../requests/index.ts";
import { endOverdue } from "../ledger/reservations.ts";
import { asPromoted } from "../local/promote.ts";
import type { VaultContext } from "../vault-context.ts";
import { judge, type DeclineReason, type Judgement } from "./judge.ts";

/** A task that somebody might ask for: what of its request matters before it is signed. */
export type DraftRequest = Pick<
  TaskRequest,
  | "actor_id"
  | "record_scope"
  | "usage_scope"
  | "vault_ids"
  | "parameters"
  | "vault_attributes"
  | "epsilon_micro"
  | "task_timeout_ms"
>;

/** What a request would meet; for the operator alone. */
export interface DryRun {
  /** `refused` for what depends on no data subject. */
  readonly outcome: "admitted" | "declined" | "refused";
  /** What the submitter would be told; null when admitted. */
  readonly code: string | null;
  /** What they would not. */
  readonly reason: DeclineReason | null;
  /** Why it would be refused. */
  readonly message: string | null;
  /** Under which governance: events since the genesis. */
  readonly governance_size: number;
  /** Null when the request has no price, being refused. */
  readonly cost: DryRunCost | null;
}

/** What a request would be charged, micro-epsilon for each subject. */
export interface DryRunCost {
  /** The least that a request of this meaning must offer. */
  readonly price_micro: number;
  readonly charged_micro: number;
  readonly rounds: number;
  readonly allowance_micro: number;
  readonly privacy_class: number;
  readonly grant_id: string | null;
  readonly records: number;
  readonly subjects: number;
  readonly exhausted: number;
  readonly frozen: number;
}

/**
 * Says what would come of a request if it arrived now, as `decide` would find it, and changes nothing: neither budget
 * nor log, nor does the request count as seen.
 *
 * It runs inside a write that is always undone, so that overdue reservations count as they would for the real one.
 */
export async function dryRun(
  context: VaultContext,
  draft: DraftRequest,
  governance: GovernanceState,
): Promise<DryRun> {
  const nowMs = context.nowMs();
  const { sequence: governance_size } = governance;
  const none = { code: null, reason: null, message: null, governance_size };
  try {
    const asked = requestOf(context, draft, { governance, nowMs });
    const request = await asPromoted(context.store.db, asked);
    const resolution = judgeRequest({ request, governance, nowMs, vaultId: context.vaultId });
    const requestDigest = TASK_REQUEST.digest(request);
    const judging = { request, requestDigest, resolution, governance, nowMs };
    const judged = await undone(context, judging);
    const cost = costOf(request, judged, { resolution, governance });
    if (!("code" in judged)) return { ...none, outcome: "admitted", cost };
    const { code, reason } = judged;
    return { ...none, outcome: "declined", code, reason, cost };
  } catch (error) {
    if (!(error instanceof SymphonyError) || !OF_THE_REQUEST.has(error.class)) throw error;
    const { code, message } = error;
    return { ...none, outcome: "refused", code, message, cost: null };
  }
}

/** Errors that are about the request and not about this Vault. */
const OF_THE_REQUEST: ReadonlySet<string> = new Set([
  "malformed",
  "verification",
  "refused",
  "limit",
]);

/** What is missing in a draft: none of it decides anything here, and the money is what the policy asks for. */
function requestOf(
  { boxKey }: VaultContext,
  draft: DraftRequest,
  { governance, nowMs }: { readonly governance: GovernanceState; readonly nowMs: number },
): TaskRequest {
  const request: TaskRequest = {
    ...draft,
    version: 1,
    request_id: new Uint8Array(16),
    genesis_digest: governance.genesisDigest,
    task_class: draft.parameters.task_class,
    budget_lock_minor: rewardMaxMinor(draft, governance),
    delivery_key: boxKey.publicKey,
    created_ms: nowMs,
  };
  return TASK_REQUEST.decode(TASK_REQUEST.encode(request));
}

/** Ends the write that a dry run was in. */
class Undone extends Error {
  readonly judged: Judgement;

  constructor(judged: Judgement) {
    super("a dry run is undone");
    this.judged = judged;
  }
}

async function undone(
  context: VaultContext,
  judging: Parameters<typeof judge>[2],
): Promise<Judgement> {
  try {
    return await context.store.write(async (trx): Promise<never> => {
      await endOverdue(context, trx);
      throw new Undone(await judge(context, trx, judging));
    });
  } catch (error) {
    if (error instanceof Undone) return error.judged;
    throw error;
  }
}

function costOf(
  request: TaskRequest,
  judged: Judgement,
  args: { readonly resolution: SemanticResolution; readonly governance: GovernanceState },
): DryRunCost {
  const { resolution, governance } = args;
  const { combined_privacy_class: privacyClass } = resolution;
  const { charge } = judged;
  return {
    price_micro: priceMicro(request, resolution, governance),
    charged_micro: request.epsilon_micro,
    rounds: roundsOfRequest(request),
    allowance_micro: allowanceMicro(governance.policy, request.usage_scope, privacyClass),
    privacy_class: privacyClass,
    grant_id: "code" in judged ? judged.grantId : judged.plan.grant_id,
    records: charge.records,
    subjects: charge.subjects.size,
    exhausted: charge.exhausted,
    frozen: charge.frozen,
  };
}
