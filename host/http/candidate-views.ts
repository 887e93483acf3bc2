import { candidateWindowSchema, localTypeSchema, mappingSignalSchema } from "#protocol";
import { z } from "zod";

/** Candidates that Vaults have handed in. `signed` is COSE_Sign1 in base64, `digest` what the coordinator's log names. */
export const candidatesAnswer = z.object({
  candidates: z.array(
    z.object({
      ...{ vault_id: z.string(), domain_id: z.string(), attribute_id: z.string() },
      ...{ local_id: z.string(), window: candidateWindowSchema, type: localTypeSchema },
      ...{ noised_rows: z.number(), epochs_present: z.number(), received_ms: z.number() },
      ...{ digest: z.string(), signed: z.string() },
    }),
  ),
  /** `after` of the next part; null after the last. */
  next: z.int().nullable(),
});
/** What those of one attribute and window say together. It proposes nothing. */
export const candidateReportAnswer = z.object({
  window: candidateWindowSchema,
  ...{ vaults: z.array(z.string()).readonly(), domains: z.array(z.string()).readonly() },
  types: z.array(localTypeSchema).readonly(),
  ...{ coverage_percent: z.int(), noised_rows: z.number(), stability_percent: z.int() },
  signals: z.array(mappingSignalSchema).readonly(),
  ...{ evidence: z.array(z.string()), evidence_digest: z.string() },
});

export type CandidatesView = z.infer<typeof candidatesAnswer>;
export type CandidateReportView = z.infer<typeof candidateReportAnswer>;
