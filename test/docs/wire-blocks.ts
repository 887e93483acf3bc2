import type { z } from "zod";

import {
  executionResultBundleSchema,
  sealedOutcomeSchema,
  sliceResultBundleSchema,
} from "../../protocol/bundles.ts";
import { batchHeaderSchema } from "../../protocol/batch.ts";
import { challengeSchema, challengeTargetSchema } from "../../protocol/challenge.ts";
import {
  enclaveRequestSchema,
  enclaveResponseSchema,
  peerSchema,
  previousStateSchema,
  slicePresentationSchema,
} from "../../protocol/channel.ts";
import {
  deliverySchema,
  deliveryShareSchema,
  parsedReceiptSchema,
  taskResultSchema,
} from "../../protocol/delivery.ts";
import { eventSchema } from "../../protocol/event-log.ts";
import {
  logExcerptSchema,
  outcomeDigestsSchema,
  reducedMessageSchema,
} from "../../protocol/evidence-bundle.ts";
import {
  derivationRuleSchema,
  queryAttributeSchema,
} from "../../protocol/semantics/derivation-rule.ts";
import { localAttributeCandidateSchema } from "../../protocol/semantics/local-candidate.ts";
import { vaultAttributeSchema } from "../../protocol/semantics/vault-attribute.ts";
import { queryGranularitySchema } from "../../protocol/semantics/granularity.ts";
import * as fields from "../../protocol/fields.ts";
import * as governance from "../../protocol/governance/governance-objects.ts";
import {
  actorRegistrationSchema,
  keyRotationSchema,
} from "../../protocol/governance/actor-objects.ts";
import { governanceSnapshotSchema } from "../../protocol/governance/governance-snapshot.ts";
import { nodeAnswerSchema, nodeCallSchema } from "../../protocol/node-call.ts";
import { policySchema, referenceValueSchema } from "../../protocol/governance/policy.ts";
import {
  attributeNameSchema,
  recordSchema,
  recordSchemaNameSchema,
} from "../../protocol/record.ts";
import {
  crossDomainApprovalSchema,
  registryTransitionSchema,
  semanticRegistrationSchema,
} from "../../protocol/semantics/registration.ts";
import { roundMessageSchema } from "../../protocol/round-message.ts";
import * as semantics from "../../protocol/semantics/semantics.ts";
import {
  enclaveRole,
  sessionManifestSchema,
  sliceReferenceSchema,
} from "../../protocol/session.ts";
import * as settlement from "../../protocol/settlement.ts";
import * as envelope from "../../protocol/task-envelope.ts";
import * as parameters from "../../protocol/task-parameters.ts";
import { taskRequestSchema } from "../../protocol/task-request.ts";
import { vaultDecisionSchema } from "../../protocol/vault-decision.ts";
import * as orders from "../../protocol/work-order.ts";
import { workItemSchema } from "../../protocol/work.ts";
import * as witness from "../../protocol/witness.ts";
import { ERROR_CODES } from "../../protocol/error-codes.ts";
import { cddlOf } from "./cddl.ts";

type Named = readonly (readonly [name: string, schema: z.ZodType])[];

/** What others are made of comes before them. */
const SIMPLE: Named = [
  ["id", fields.identifier],
  ["bytes32", fields.bytes32],
  ["unix-ms", fields.unixMs],
  ["micro-epsilon", fields.microEpsilon],
  ["short-text", fields.shortText],
  ["usage-scope", fields.usageScope],
  ["task-class", fields.taskClass],
  ["actor-role", fields.actorRole],
  ["platform", fields.platformName],
  ["box-key", fields.boxPublicKey],
  ["enclave-role", enclaveRole],
  ["attribute-name", attributeNameSchema],
  ["record-schema-name", recordSchemaNameSchema],
];

const COMPOUND: Named = [
  ["operand", parameters.operandSchema],
  ["predicate", parameters.predicateSchema],
  ["feature", parameters.featureSchema],
  ["parse-parameters", parameters.parseParametersSchema],
  ["query-parameters", parameters.queryParametersSchema],
  ["compute-parameters", parameters.computeParametersSchema],
  ["train-parameters", parameters.trainParametersSchema],
  ["task-parameters", parameters.taskParametersSchema],
  ["task-request", taskRequestSchema],
  ["task-dry-run", taskRequestSchema],
  ["vault-decision", vaultDecisionSchema],
  ["attribute-composition", envelope.attributeCompositionSchema],
  ["coordination-envelope", envelope.coordinationEnvelopeSchema],
  ["iteration-policy", envelope.iterationPolicySchema],
  ["task-envelope", envelope.taskEnvelopeSchema],
  ["session-manifest", sessionManifestSchema],
  ["slice-reference", sliceReferenceSchema],
  ["work-order", orders.workOrderSchema],
  ["sealed-order", orders.sealedOrderSchema],
  ["contribution", orders.contributionSchema],
  ["round-secret", orders.roundSecretSchema],
  ["slice-result-bundle", sliceResultBundleSchema],
  ["execution-result-bundle", executionResultBundleSchema],
  ["sealed-outcome", sealedOutcomeSchema],
  ["peer", peerSchema],
  ["slice-presentation", slicePresentationSchema],
  ["previous-state", previousStateSchema],
  ["enclave-request", enclaveRequestSchema],
  ["enclave-response", enclaveResponseSchema],
  ["round-message", roundMessageSchema],
  ["node-call", nodeCallSchema],
  ["node-answer", nodeAnswerSchema],
  ["work-item", workItemSchema],
  ["witness-question", witness.witnessQuestionSchema],
  ["witness-answer", witness.witnessAnswerSchema],
  ["head-question", witness.headQuestionSchema],
  ["head-statement", witness.headStatementSchema],
  ["restart-statement", witness.restartStatementSchema],
  ["consumption-record", settlement.consumptionRecordSchema],
  ["accounting-entry", settlement.accountingEntrySchema],
  ["settlement-entry", settlement.settlementEntrySchema],
  ["settlement-root", settlement.settlementRootSchema],
  ["settlement-proof", settlement.settlementProofSchema],
  ["payout-instruction", settlement.payoutInstructionSchema],
  ["challenge-target", challengeTargetSchema],
  ["challenge", challengeSchema],
  ["delivery-share", deliveryShareSchema],
  ["parsed-receipt", parsedReceiptSchema],
  ["task-result", taskResultSchema],
  ["delivery", deliverySchema],
  ["reference-value", referenceValueSchema],
  ["class-constraints", policySchema.shape.classes.shape.parse],
  ["rate-limit", policySchema.shape.admission.shape.rate_limits.shape.parse],
  ["governance-process", policySchema.shape.governance.shape.processes.shape.actor],
  ["policy", policySchema],
  ["query-granularity", queryGranularitySchema],
  ["domain", semantics.domainSchema],
  ["canonical-attribute", semantics.canonicalAttributeSchema],
  ["query-attribute", queryAttributeSchema],
  ["derivation-rule", derivationRuleSchema],
  ["record-scope", semantics.recordScopeSchema],
  ["semantic-registry", semantics.semanticRegistrySchema],
  ["registry-transition", registryTransitionSchema],
  ["semantic-registration", semanticRegistrationSchema],
  ["cross-domain-approval", crossDomainApprovalSchema],
  ["local-attribute-candidate", localAttributeCandidateSchema],
  ["vault-attribute", vaultAttributeSchema],
  ["actor", governance.actorSchema],
  ["artifact", governance.artifactSchema],
  ["genesis", governance.genesisSchema],
  ["governed-decision", governance.governedDecisionSchema],
  ["governance-statement", governance.governanceStatementSchema],
  ["actor-registration", actorRegistrationSchema],
  ["key-rotation", keyRotationSchema],
  ["governance-vote", governance.governanceVoteSchema],
  ["governance-event", governance.governanceEventSchema],
  ["governance-snapshot", governanceSnapshotSchema],
  ["event", eventSchema],
  ["record", recordSchema],
  ["batch-header", batchHeaderSchema],
  ["outcome-digests", outcomeDigestsSchema],
  ["reduced-message", reducedMessageSchema],
  ["log-excerpt", logExcerptSchema],
];

/** Everything that crosses a boundary, by the name that the pages give it. */
export const WIRE_SCHEMAS: Named = [...SIMPLE, ...COMPOUND];

/** `name = type` for everything that crosses a boundary, as `docs/wire.md` has to have it. */
export function wireBlocks(): ReadonlyMap<string, string> {
  const codes = ERROR_CODES.map((code) => JSON.stringify(code)).join(" / ");
  const names = new Map([[codes, "error-code"]]);
  const blocks = new Map<string, string>();
  for (const [name, schema] of WIRE_SCHEMAS) {
    const text = cddlOf(schema, names);
    blocks.set(name, `${name} = ${text}`);
    names.set(text.replaceAll(/\s+/g, " "), name);
  }
  return blocks;
}
