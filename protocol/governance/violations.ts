import { hex } from "../bytes.ts";
import { parseCheckpoint, verifyCheckpoint } from "../checkpoint.ts";
import { actorLogOrigin } from "../evidence-bundle.ts";
import { CONSUMPTION_RECORD } from "../settlement.ts";
import { parseCose } from "../signing.ts";
import type { ActorDecision } from "./actor-objects.ts";
import { logKeyOf, taskKeyOf } from "./actor-keys.ts";
import { eventFault } from "./event-fault.ts";
import { governanceOrigin } from "./governance-objects.ts";
import type { GovernanceState, RegisteredActor, Slash } from "./governance-state.ts";

type Decision<Type extends ActorDecision["type"]> = Extract<ActorDecision, { readonly type: Type }>;

/** Stake to be taken, and whose it is. */
export type SlashOf = Slash & { readonly actorId: string };

/**
 * Verifies a violation that needs no judge, and says what it costs: the penalty of the policy version named, one that
 * has been active.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a record that proves nothing, PROOF_SIGNATURE_INVALID for
 * one that the actor did not sign
 */
export function verifyViolation(
  state: GovernanceState,
  decision: Decision<"violation_proven">,
): SlashOf {
  const { actor_id: actorId, policy_version_id: versionId, signed_record: signed } = decision;
  const actor = accused(state, actorId);
  const version = state.policies.get(versionId);
  if (version === undefined || version.status === "draft") {
    throw eventFault("policy_version_id", "a version that has been active", versionId);
  }
  const { epoch_id: epochId } = CONSUMPTION_RECORD.decode(parseCose(signed).payload);
  const record = CONSUMPTION_RECORD.verify(signed, taskKeyOf(actor, signed, epochId));
  if (record.vault_id !== actorId || !record.flagged) {
    throw eventFault("signed_record", "the actor's own record, flagged", "another");
  }
  const amountMinor = version.policy.economics.violation_penalty_minor;
  // One record of one task: signing it again makes no second violation.
  const evidence = hex(record.envelope_digest);
  return { actorId, condition: "budget_exceeded", evidence, amountMinor };
}

/**
 * What governance takes by its own judgement; two heads it judges are verified first.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for heads that do not disagree, PROOF_CHECKPOINT_INVALID for
 * heads that the actor did not sign
 */
export function slashFor(state: GovernanceState, decision: Decision<"actor_slashed">): SlashOf {
  const { actor_id: actorId, amount_minor: amountMinor, grounds } = decision;
  const actor = accused(state, actorId);
  const evidence = (): string => {
    switch (grounds.condition) {
      case "equivocation":
        return forkedHead(state, actor, grounds.checkpoints);
      case "result_undelivered":
        return grounds.task_id;
      case "attestation_invalid":
        return hex(grounds.evidence_digest);
    }
  };
  return { actorId, condition: grounds.condition, evidence: evidence(), amountMinor };
}

/** A log that forked is punished once for each size at which two heads of it disagree. */
function forkedHead(
  { genesis }: GovernanceState,
  actor: RegisteredActor,
  [first, second]: readonly [string, string],
): string {
  const { origin, size } = parseCheckpoint(first);
  const own = [actorLogOrigin(genesis.network, actor.actor_id)];
  if (actor.actor_id === genesis.coordinator_id) own.push(governanceOrigin(genesis.network));
  if (!own.includes(origin)) throw eventFault("grounds.checkpoints", "a log of the actor", origin);
  const heads = [headOf(first, origin, actor), headOf(second, origin, actor)];
  const roots = new Set(heads.map((head) => hex(head.root)));
  const forked = roots.size === 2 && heads.every((head) => head.size === size);
  if (!forked) throw eventFault("grounds.checkpoints", "two roots of one size", "others");
  return `${origin} ${size}`;
}

function headOf(note: string, origin: string, actor: RegisteredActor) {
  const log = logKeyOf(actor, note, 0);
  return verifyCheckpoint(note, { origin, log, witnesses: [], quorum: 0 });
}

function accused({ actors }: GovernanceState, actorId: string): RegisteredActor {
  const actor = actors.get(actorId);
  if (actor !== undefined) return actor;
  throw eventFault("actor_id", "a registered actor", "another");
}
