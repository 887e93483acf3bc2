import { z } from "zod";

import { equalBytes } from "./bytes.ts";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { VerificationError } from "./errors.ts";
import { bytes32, bytesUpTo, identifier, natural } from "./fields.ts";
import { digestOfBytes } from "./hash.ts";
import { defineObject, parseWith } from "./object.ts";
import { openBodies, signedObject } from "./round-message.ts";
import type { SigningKey } from "./signing.ts";

const MIB = 1024 * 1024;

/** The largest `<task_id>.symphony` file. A train of 100 rounds over 8 Vaults takes about half of it. */
export const EVIDENCE_BYTES_MAX = 64 * MIB;

/** Digests of a sealed outcome: of its ciphertext, and of each sealed share of its key, in order of Vault. */
export const outcomeDigestsSchema = z.strictObject({
  ciphertext: bytes32,
  shares: z.array(z.strictObject({ vault_id: identifier, digest: bytes32 })).max(64),
});

/**
 * The evidence form of a round message: what it says to an outsider, with sealed matter replaced by its digest.
 *
 * It is not signed by its sender, because the sender signed the sealed matter too. Everything in it is signed or
 * attested on its own, or is hashed into something that is.
 */
export const reducedMessageSchema = z.strictObject({
  envelope_digest: bytes32,
  sender: identifier,
  round: natural,
  attempt: natural,
  body: z.discriminatedUnion("kind", [
    ...openBodies,
    z.strictObject({ kind: z.literal("contribution"), order: signedObject }),
    z.strictObject({
      kind: z.literal("slice_result"),
      order: signedObject.nullable(),
      bundle: signedObject,
      sealed_output_digest: bytes32,
      /** Of a sole task; null for a slice. */
      outcome: outcomeDigestsSchema.nullable(),
    }),
    z.strictObject({
      kind: z.literal("round_result"),
      bundle: signedObject,
      outcome: outcomeDigestsSchema,
    }),
  ]),
});

export type OutcomeDigests = z.infer<typeof outcomeDigestsSchema>;
export type ReducedMessage = z.infer<typeof reducedMessageSchema>;

/**
 * What one actor's log says of a task: the events, where they stand, a checkpoint, and of a Vault's log an earlier head
 * that other Vaults cosigned before a key was sealed.
 *
 * `heads` prove earlier sizes of the log to be prefixes of the checkpoint: one for each size that a work order or a
 * consumption record of this actor names.
 */
export const logExcerptSchema = z.strictObject({
  actor_id: identifier,
  checkpoint: z.string().max(64 * 1024),
  events: z
    .array(
      z.strictObject({ sequence: natural, event: bytesUpTo(MIB), proof: z.array(bytes32).max(64) }),
    )
    .max(10_000),
  /** With a proof that it is a prefix of `checkpoint`; null for logs that nobody witnesses. */
  cosigned: z
    .strictObject({ checkpoint: z.string().max(64 * 1024), proof: z.array(bytes32).max(64) })
    .nullable(),
  heads: z.array(z.strictObject({ size: natural, proof: z.array(bytes32).max(64) })).max(1_000),
});

export type LogExcerpt = z.infer<typeof logExcerptSchema>;
export const LOG_EXCERPT = defineObject("log-excerpt", logExcerptSchema, 4 * MIB);

/** Origin line of one actor's log. */
export function actorLogOrigin(network: string, actorId: string): string {
  return `symphony.log/${network}/${actorId}`;
}

const signedList = z.array(signedObject).max(1_000);

/** What each section holds, in the order in which a verifier reads them. */
const SECTIONS = {
  /** GovernanceSnapshot. */
  governance: bytesUpTo(16 * MIB),
  /** TaskEnvelope. */
  envelope: bytesUpTo(MIB / 2),
  /** Signed VaultDecisions. */
  decisions: signedList,
  messages: z.array(reducedMessageSchema).max(100_000),
  /** Signed ConsumptionRecords. */
  consumption: signedList,
  /** Signed Challenges. */
  challenges: signedList,
  /** SettlementProof. */
  settlement: bytesUpTo(128 * 1024),
  /** Signed DeliveryShares. */
  delivery: signedList,
  logs: z.array(logExcerptSchema).max(128),
} as const;

const evidenceSchema = z.strictObject(SECTIONS);

/** Everything an auditor needs of one task, taken apart and still untrusted. */
export type Evidence = z.infer<typeof evidenceSchema>;

/** The name of a section of {@link Evidence}. */
export type EvidenceSection = keyof Evidence;

/** Every section, in the order in which a verifier reads them. */
export const EVIDENCE_SECTIONS: readonly EvidenceSection[] = [
  "governance",
  "envelope",
  "decisions",
  "messages",
  "consumption",
  "challenges",
  "settlement",
  "delivery",
  "logs",
];

const sealSchema = z.strictObject({
  version: z.literal(1),
  task_id: identifier,
  body_digest: bytes32,
  /** Digest of the canonical bytes of each section, in order: a damaged file can say where. */
  sections: z.array(z.strictObject({ name: identifier, digest: bytes32 })).max(16),
});

const EVIDENCE_SEAL = defineObject("evidence-seal", sealSchema, 16 * 1024);

const EVIDENCE_FILE = defineObject(
  "evidence-bundle",
  z.strictObject({
    format: z.literal("symphony-evidence"),
    version: z.literal(1),
    body: bytesUpTo(EVIDENCE_BYTES_MAX),
    seal: bytesUpTo(64 * 1024),
  }),
  EVIDENCE_BYTES_MAX,
);

/** Canonical bytes of each section: what the file holds and the seal covers. */
export type EvidenceParts = Readonly<Record<EvidenceSection, Uint8Array>>;

/** An evidence file taken apart as far as bytes go. Nothing in it is authentic. */
export interface EvidenceFile {
  readonly evidence: Evidence;
  readonly parts: EvidenceParts;
  readonly body: Uint8Array;
  readonly seal: Uint8Array;
}

/**
 * Writes the evidence of a task as one file: canonical CBOR of format, version, body and seal, where the seal is the
 * coordinator's COSE_Sign1 over the digests of the body and of each section.
 *
 * @throws MalformedError SCHEMA_MALFORMED naming the field; LimitError SCHEMA_TOO_LARGE
 */
export function encodeEvidence(args: {
  readonly evidence: Evidence;
  readonly taskId: string;
  readonly coordinatorKey: SigningKey;
}): Uint8Array {
  const evidence = parseWith(evidenceSchema, args.evidence, "evidence");
  const parts = partsOf(evidence);
  const body = encodeCbor({ ...parts });
  const seal = EVIDENCE_SEAL.sign(
    {
      version: 1,
      task_id: args.taskId,
      body_digest: digestOfBytes("evidence-body", body),
      sections: sectionDigests(parts),
    },
    args.coordinatorKey,
  );
  return EVIDENCE_FILE.encode({ format: "symphony-evidence", version: 1, body, seal });
}

/**
 * Takes an evidence file apart.
 *
 * @throws {@link MalformedError} PROOF_BUNDLE_MALFORMED, naming the field, or SCHEMA_CBOR_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export function parseEvidence(bytes: Uint8Array): EvidenceFile {
  const { body, seal } = EVIDENCE_FILE.decode(bytes);
  const parts = parseWith(
    z.strictObject({
      governance: z.instanceof(Uint8Array),
      envelope: z.instanceof(Uint8Array),
      decisions: z.instanceof(Uint8Array),
      messages: z.instanceof(Uint8Array),
      consumption: z.instanceof(Uint8Array),
      challenges: z.instanceof(Uint8Array),
      settlement: z.instanceof(Uint8Array),
      delivery: z.instanceof(Uint8Array),
      logs: z.instanceof(Uint8Array),
    }),
    decodeCbor(body, EVIDENCE_BYTES_MAX),
    "evidence",
    "PROOF_BUNDLE_MALFORMED",
  );
  const decoded = Object.fromEntries(
    EVIDENCE_SECTIONS.map((name) => [name, decodeCbor(parts[name], EVIDENCE_BYTES_MAX)]),
  );
  const evidence = parseWith(evidenceSchema, decoded, "evidence", "PROOF_BUNDLE_MALFORMED");
  return { evidence, parts, body, seal };
}

/**
 * Verifies that the coordinator sealed exactly this file for this task.
 *
 * @throws {@link VerificationError} PROOF_SIGNATURE_INVALID, or PROOF_COMMITMENT_MISMATCH naming the section that is
 * not what was sealed.
 */
export function verifyEvidenceSeal(
  file: EvidenceFile,
  expected: { readonly coordinatorKey: Uint8Array; readonly taskId: string },
): void {
  const seal = EVIDENCE_SEAL.verify(file.seal, expected.coordinatorKey);
  const actual = sectionDigests(file.parts);
  const broken = EVIDENCE_SECTIONS.find((name, index) => {
    const [sealed, found] = [seal.sections[index], actual[index]];
    const named = sealed?.name === name && found?.name === name;
    return !named || !equalBytes(sealed.digest, found.digest);
  });
  if (broken !== undefined) throw notSealed(`section ${broken}`);
  if (seal.task_id !== expected.taskId) throw notSealed("task");
  if (!equalBytes(seal.body_digest, digestOfBytes("evidence-body", file.body))) {
    throw notSealed("body");
  }
}

function partsOf(evidence: Evidence): EvidenceParts {
  return {
    governance: encodeCbor(evidence.governance),
    envelope: encodeCbor(evidence.envelope),
    decisions: encodeCbor(evidence.decisions),
    messages: encodeCbor(evidence.messages),
    consumption: encodeCbor(evidence.consumption),
    challenges: encodeCbor(evidence.challenges),
    settlement: encodeCbor(evidence.settlement),
    delivery: encodeCbor(evidence.delivery),
    logs: encodeCbor(evidence.logs),
  };
}

function sectionDigests(parts: EvidenceParts): { name: string; digest: Uint8Array }[] {
  return EVIDENCE_SECTIONS.map((name) => ({
    name,
    digest: digestOfBytes("evidence-section", parts[name]),
  }));
}

function notSealed(subject: string): VerificationError {
  return new VerificationError(
    { code: "PROOF_COMMITMENT_MISMATCH", subject },
    `evidence ${subject}: expected what the coordinator sealed, got other bytes`,
  );
}
