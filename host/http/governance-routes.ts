import { base64, fromBase64, policySchema, type Policy } from "#protocol";
import type { FastifyInstance } from "fastify";
import { z } from "zod";

import { addActorRoutes, type ActorRoutesContext } from "./actor-routes.ts";
import { addCandidateRoutes, type CandidateRoutesContext } from "./candidate-routes.ts";
import {
  epochSchema,
  governanceStateSchema,
  policyVersionSchema,
  proposalSchema,
  wholeProposalSchema,
  type EpochView,
  type GovernanceView,
  type PolicyVersionView,
  type ProposalStanding,
  type WholeProposal,
} from "./governance-views.ts";
import { addRoute, both, fromBody, fromPath, fromQuery, json, nothing } from "./route.ts";
import { signedBody } from "./task-views.ts";

/** A part of a list and where the next part begins; null after the last. */
export interface Page<T> {
  readonly entries: readonly T[];
  readonly next: number | null;
}

/** Where a part of a list begins, and how long it is at most. */
export interface PageAt {
  readonly after: number;
  readonly limit: number;
}

/** What the public routes about governance need of the coordinator. */
export interface GovernanceRoutesContext extends ActorRoutesContext, CandidateRoutesContext {
  readonly state: () => GovernanceView;
  readonly policies: () => PolicyVersionView[];
  /** @throws RefusedError GOVERNANCE_POLICY_UNKNOWN */
  readonly policy: (policyVersionId: string) => PolicyVersionView & { readonly policy: Policy };
  readonly epochs: (at: PageAt) => Promise<Page<EpochView>>;
  readonly events: (at: PageAt) => Page<Uint8Array>;
  /** The signed note over the whole log, with the cosignatures there are. */
  readonly checkpoint: () => string;
  /** The last first. */
  readonly proposals: () => Promise<ProposalStanding[]>;
  /** @throws RefusedError GOVERNANCE_PROPOSAL_UNKNOWN */
  readonly proposal: (proposalId: string) => Promise<WholeProposal>;
  /** Takes the event that opens a proposal. */
  readonly open: (event: Uint8Array) => Promise<WholeProposal>;
  readonly vote: (proposalId: string, signedVote: Uint8Array) => Promise<WholeProposal>;
}

/** Entries of one part of a list: epochs are short, an event can hold a whole registration. */
const EPOCHS_MAX = 1_000;
const EVENTS_MAX = 100;

const named = z.object({ id: z.string().max(128) });
const next = z.int().nullable();
const pageQuery = (limitMax: number) =>
  z.object({
    after: z.coerce.number().int().min(0).default(0),
    limit: z.coerce.number().int().min(1).max(limitMax).default(limitMax),
  });

/** `/v1/governance/...`: all of it is public, and what is sent is signed by a voter. */
export function addGovernanceRoutes(
  server: FastifyInstance,
  context: GovernanceRoutesContext,
): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/state",
    summary: "Says where governance stands: versions, epoch, voters and processes.",
    takes: nothing,
    gives: json(governanceStateSchema),
    handle: async () => context.state(),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/policies",
    summary: "Lists every policy version there has been.",
    takes: nothing,
    gives: json(z.object({ policies: z.array(policyVersionSchema) })),
    handle: async () => ({ policies: context.policies() }),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/policies/:id",
    summary: "Gives a policy version with its document.",
    takes: fromPath(named),
    gives: json(policyVersionSchema.extend({ policy: policySchema })),
    handle: async ({ id }) => context.policy(id),
  });
  addLogRoutes(server, context);
  addProposalRoutes(server, context);
  addActorRoutes(server, context);
  addCandidateRoutes(server, context);
}

function addLogRoutes(server: FastifyInstance, context: GovernanceRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/epochs",
    summary: "Lists epochs from number `after` on.",
    takes: fromQuery(pageQuery(EPOCHS_MAX)),
    gives: json(z.object({ epochs: z.array(epochSchema), next })),
    handle: async (at) => {
      const page = await context.epochs(at);
      return { epochs: [...page.entries], next: page.next };
    },
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/events",
    summary: "Gives each `governance-event` of the log from number `after` on, in base64.",
    takes: fromQuery(pageQuery(EVENTS_MAX)),
    gives: json(z.object({ events: z.array(z.string()), next })),
    handle: async (at) => {
      const page = context.events(at);
      return { events: page.entries.map(base64), next: page.next };
    },
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/checkpoint",
    summary: "Gives the signed checkpoint of the log with the cosignatures there are.",
    takes: nothing,
    gives: json(z.object({ checkpoint: z.string() })),
    handle: async () => ({ checkpoint: context.checkpoint() }),
  });
}

function addProposalRoutes(server: FastifyInstance, context: GovernanceRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/proposals",
    summary: "Lists the newest proposals, the last first.",
    takes: nothing,
    gives: json(z.object({ proposals: z.array(proposalSchema) })),
    handle: async () => ({ proposals: await context.proposals() }),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/proposals/:id",
    summary: "Gives a proposal with its decision and votes.",
    takes: fromPath(named),
    gives: json(wholeProposalSchema),
    handle: async ({ id }) => context.proposal(id),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/governance/proposals",
    summary: "Opens a proposal by a `governance-event` of type proposal_opened.",
    takes: fromBody(signedBody),
    gives: json(wholeProposalSchema, 202),
    handle: async ({ signed }) => context.open(fromBase64(signed)),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/governance/proposals/:id/votes",
    summary: "Casts a signed `governance-vote`, which is final.",
    takes: both(fromPath(named), fromBody(signedBody)),
    gives: json(wholeProposalSchema, 202),
    handle: async ([{ id }, { signed }]) => context.vote(id, fromBase64(signed)),
  });
}
