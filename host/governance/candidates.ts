import {
  ConflictError,
  LOCAL_ATTRIBUTE_CANDIDATE,
  LimitError,
  RefusedError,
  SymphonyError,
  WINDOW_EPOCHS_MAX,
  aggregateCandidates,
  equalBytes,
  parseCose,
  verifyCandidate,
  windowEpochsOf,
  type CandidateReport,
  type CandidateSubject,
  type CandidateWindow,
  type GovernanceState,
  type LocalAttributeCandidate,
} from "#protocol";

import type { ActorLog, ActorLogSchema } from "../evidence/actor-log.ts";
import type { Store } from "../store/index.ts";
import {
  candidatesAfter,
  candidatesOfWindow,
  countCandidates,
  forgetCandidates,
  insertCandidate,
  readCandidate,
  resignCandidate,
  type CandidateRow,
  type GovernanceSchema,
} from "./queries.ts";

/** Candidates of one Vault that are kept, and the epochs after which one is forgotten; the log has its digest for good. */
const CANDIDATES_OF_VAULT_MAX = 1_024;
const REMEMBERED_EPOCHS = 2 * WINDOW_EPOCHS_MAX;
/** Candidates of one attribute and window that are looked at together: what `aggregateCandidates` takes. */
const REPORTED_MAX = 256;

/** A candidate as a Vault handed it in. */
export interface KeptCandidate {
  /** Grows with each. */
  readonly position: number;
  readonly candidate: LocalAttributeCandidate;
  readonly digest: Uint8Array;
  readonly signed: Uint8Array;
  readonly receivedMs: number;
}

/** The candidates that Vaults have handed in, which the coordinator's log names (LA-2). They decide nothing. */
export interface Candidates {
  /**
   * Takes a Vault's candidate; again, it changes nothing but under which of its keys it is signed.
   *
   * @throws {@link RefusedError} DERIVATION_CANDIDATE_REFUSED for one that is not the caller's own or whose window has not
   * ended; {@link ConflictError} COORDINATION_CONFLICT for another of the same column and window;
   * {@link LimitError} POLICY_LIMIT_EXCEEDED for more than 1 024 of one Vault; as `verifyCandidate`
   */
  take(actorId: string, signed: Uint8Array): Promise<void>;
  /** Those after `after`, in the order they came, at most `limit`; of one attribute, or of any when null. */
  list(at: {
    readonly attributeId: string | null;
    readonly after: number;
    readonly limit: number;
  }): Promise<KeptCandidate[]>;
  /**
   * What the candidates of one attribute and window say together; those whose Vaults are no longer active, or sign with
   * another key by now, are left out.
   *
   * @throws as `aggregateCandidates`
   */
  report(subject: CandidateSubject, window: CandidateWindow): Promise<CandidateReport>;
}

/** Opens the candidates kept in `store`. */
export function openCandidates(args: {
  readonly store: Store<GovernanceSchema & ActorLogSchema>;
  readonly log: ActorLog;
  readonly governance: () => GovernanceState;
  readonly nowMs: () => number;
}): Candidates {
  const { store, governance } = args;
  return {
    take: (actorId, signed) => take(args, actorId, signed),
    list: async (at) => (await candidatesAfter(store.db, at)).map(keptOf),
    report: async (subject, window) => {
      const state = governance();
      const rows = await candidatesOfWindow(store.db, {
        ...{ attributeId: subject.attributeId, window, limit: REPORTED_MAX },
      });
      const signed = rows.map((row) => row.signed).filter((each) => stands(state, each));
      return aggregateCandidates(state, subject, signed);
    },
  };
}

async function take(
  { store, log, governance, nowMs }: Parameters<typeof openCandidates>[0],
  actorId: string,
  signed: Uint8Array,
): Promise<void> {
  const state = governance();
  const candidate = verifyCandidate(state, signed);
  if (candidate.vault_id !== actorId) throw refused("candidate", "one of the calling Vault");
  requireEnded(state, candidate.window);
  const digest = LOCAL_ATTRIBUTE_CANDIDATE.digest(candidate);
  await store.write(async (trx) => {
    const known = await readCandidate(trx, candidate);
    if (known !== undefined) {
      if (!equalBytes(known.digest, digest)) throw another();
      return resignCandidate(trx, known.position, signed.slice());
    }
    const { vault_id, local_id, attribute_id, domain_id, window } = candidate;
    await forgetCandidates(trx, vault_id, state.epoch.epochId - REMEMBERED_EPOCHS);
    if ((await countCandidates(trx, vault_id)) >= CANDIDATES_OF_VAULT_MAX) throw tooMany();
    await insertCandidate(trx, {
      ...{ vault_id, local_id, attribute_id, domain_id, ...window, digest },
      ...{ signed: signed.slice(), received_ms: nowMs() },
    });
    await log.append(trx, {
      ...{ type: "local_attribute.candidate", taskId: null },
      body: { vault_id, domain_id, attribute_id, local_id, window, digest },
    });
  });
}

/** Whether it is one of the domain's windows is judged with the attribute that it is for: an exception may allow another. */
function requireEnded({ epoch }: GovernanceState, window: CandidateWindow): void {
  const count = windowEpochsOf(window);
  if (count >= 1 && count <= WINDOW_EPOCHS_MAX && window.last_epoch < epoch.epochId) return;
  throw refused("window", "epochs that have ended, 64 at most");
}

function stands(state: GovernanceState, signed: Uint8Array): boolean {
  try {
    verifyCandidate(state, signed);
    return true;
  } catch (error) {
    if (error instanceof SymphonyError) return false;
    throw error;
  }
}

function keptOf({ position, digest, signed, received_ms }: CandidateRow): KeptCandidate {
  const candidate = LOCAL_ATTRIBUTE_CANDIDATE.decode(parseCose(signed).payload);
  return { position, candidate, digest, signed, receivedMs: received_ms };
}

function refused(field: string, expected: string): RefusedError {
  return new RefusedError(
    { code: "DERIVATION_CANDIDATE_REFUSED", field, expected },
    `${field}: expected ${expected}, got another`,
  );
}

function another(): ConflictError {
  return new ConflictError(
    { code: "COORDINATION_CONFLICT", field: "candidate" },
    "candidate: expected the one that was handed in for this column and window, got another",
  );
}

function tooMany(): LimitError {
  return new LimitError(
    { code: "POLICY_LIMIT_EXCEEDED", max: CANDIDATES_OF_VAULT_MAX },
    `candidates: expected at most ${CANDIDATES_OF_VAULT_MAX} of one Vault, got another`,
  );
}
