import {
  base64,
  exceptionSchema,
  hex,
  identifier,
  type CandidateReport,
  type CandidateSubject,
  type CandidateWindow,
} from "#protocol";
import type { FastifyInstance } from "fastify";
import { z } from "zod";

import type { KeptCandidate } from "../governance/index.ts";
import { candidateReportAnswer, candidatesAnswer } from "./candidate-views.ts";
import { addRoute, fromQuery, json } from "./route.ts";

/** What the public routes about candidates need of the coordinator. */
export interface CandidateRoutesContext {
  /** See `Candidates`. */
  readonly candidates: (at: {
    readonly attributeId: string | null;
    readonly after: number;
    readonly limit: number;
  }) => Promise<readonly KeptCandidate[]>;
  readonly candidateReport: (
    subject: CandidateSubject,
    window: CandidateWindow,
  ) => Promise<CandidateReport>;
}

const CANDIDATES_MAX = 100;
const position = z.coerce.number().pipe(z.int().min(0));

const listQuery = z.object({
  attribute_id: identifier.nullable().default(null),
  after: position.default(0),
  limit: z.coerce.number().pipe(z.int().min(1).max(CANDIDATES_MAX)).default(CANDIDATES_MAX),
});
const reportQuery = z.object({
  ...{ domain_id: identifier, attribute_id: identifier },
  ...{ first_epoch: position, last_epoch: position },
  /** The approved proposal that lets the attribute have another window. */
  exception: exceptionSchema.nullable().default(null),
});

/** `/v1/governance/candidates`: what Vaults tell each other of columns that no attribute takes (LA-2). */
export function addCandidateRoutes(server: FastifyInstance, context: CandidateRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/candidates",
    summary: "Lists each `local-attribute-candidate` that Vaults have handed in, in their order.",
    takes: fromQuery(listQuery),
    gives: json(candidatesAnswer),
    handle: async ({ attribute_id: attributeId, after, limit }) => {
      const found = await context.candidates({ attributeId, after, limit: limit + 1 });
      const page = found.slice(0, limit);
      const next = found.length > limit ? (page.at(-1)?.position ?? null) : null;
      return { candidates: page.map(viewOf), next };
    },
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/candidates/report",
    summary: "Says what the candidates of one attribute and window come to together.",
    takes: fromQuery(reportQuery),
    gives: json(candidateReportAnswer),
    handle: async ({ domain_id, attribute_id, exception, ...window }) => {
      const subject = { domainId: domain_id, attributeId: attribute_id, exception };
      const { evidence, evidence_digest, ...report } = await context.candidateReport(
        subject,
        window,
      );
      return { ...report, evidence: evidence.map(hex), evidence_digest: hex(evidence_digest) };
    },
  });
}

function viewOf({ candidate, digest, signed, receivedMs }: KeptCandidate) {
  const { vault_id, domain_id, attribute_id, local_id, window, type } = candidate;
  const { noised_rows, epochs_present } = candidate;
  return {
    ...{ vault_id, domain_id, attribute_id, local_id, window, type, noised_rows, epochs_present },
    ...{ received_ms: receivedMs, digest: hex(digest), signed: base64(signed) },
  };
}
