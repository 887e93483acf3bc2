import {
  appraiseSession,
  createChainCache,
  reappraiseSession,
  type SessionClaim,
  type TrustAnchor,
} from "#attestation";
import {
  RefusedError,
  SESSION_MANIFEST,
  SymphonyError,
  decodeCbor,
  encodeCbor,
  parseWith,
  type GovernanceState,
} from "#protocol";
import { z } from "zod";

/** A session as its evidence was asked for: enough to appraise it, now or later. */
export type SessionRecord = Pick<SessionClaim, "evidence" | "manifest" | "role" | "nonce">;

const recordsSchema = z
  .array(
    z.strictObject({
      role: z.enum(["slice", "aggregate"]),
      manifest: z.instanceof(Uint8Array),
      evidence: z.instanceof(Uint8Array),
      nonce: z.instanceof(Uint8Array),
    }),
  )
  .min(1)
  .max(2);

/** How often running sessions are judged again, milliseconds. */
const WATCH_MS = 500;

/**
 * The enclave sessions that one piece of work relies on. What was accepted once is judged again, under the newest
 * governance and at the time it is then: before each release, and while enclaves run. So a measurement, a platform
 * or a validity window that ends, ends them (ADR 18).
 */
export class LiveSessions {
  readonly #context: {
    readonly anchors: readonly TrustAnchor[];
    readonly newest: () => GovernanceState;
    readonly nowMs: () => number;
  };
  readonly #accepted: SessionRecord[] = [];
  /** A slice and an aggregator, judged again and again. */
  readonly #chainCache = createChainCache({ entriesMax: 2 });

  /** @param context.newest - The newest governance that this node knows. */
  constructor(context: {
    readonly anchors: readonly TrustAnchor[];
    readonly newest: () => GovernanceState;
    readonly nowMs: () => number;
  }) {
    this.#context = context;
  }

  /** What was accepted so far, in order; to archive. */
  get accepted(): readonly SessionRecord[] {
    return this.#accepted;
  }

  /** Appraises a session and relies on it from now on. @throws as `appraiseSession` */
  accept(session: SessionRecord): void {
    appraiseSession(this.#claim(session));
    this.#accepted.push(session);
  }

  /** Before a secret is released: every session is still accepted, its evidence fresh. @throws as `appraiseSession` */
  requireFresh(): void {
    for (const session of this.#accepted) appraiseSession(this.#claim(session));
  }

  /** Every session is still accepted, however old its evidence. @throws as `reappraiseSession` */
  requireLive(): void {
    for (const session of this.#accepted) reappraiseSession(this.#claim(session));
  }

  /** Calls `end` once, as soon as a session is accepted no longer. @returns what stops the watch. */
  watch(end: (reason: SymphonyError) => void): () => void {
    const timer = setInterval(() => {
      try {
        this.requireLive();
      } catch (error) {
        clearInterval(timer);
        if (!(error instanceof SymphonyError)) throw error;
        end(error);
      }
    }, WATCH_MS);
    return () => clearInterval(timer);
  }

  #claim(session: SessionRecord): SessionClaim {
    const { anchors, newest, nowMs } = this.#context;
    const at = { mode: "live", nowMs: nowMs(), chainCache: this.#chainCache } as const;
    return { ...session, governance: newest(), anchors, at };
  }
}

/** Sessions as bytes that a Vault keeps with what it charged for them. */
export function encodeSessions(sessions: readonly SessionRecord[]): Uint8Array {
  return encodeCbor(
    sessions.map(({ role, manifest, evidence, nonce }) => ({
      role,
      manifest: SESSION_MANIFEST.encode(manifest),
      evidence,
      nonce,
    })),
  );
}

/**
 * Refuses to act on the outcome of sessions that were revoked since. Their certificates and validity windows are judged
 * at the time they signed, for which they have not changed; revocations at any time.
 *
 * @param archived - See {@link encodeSessions}; one for each round.
 * @throws As `appraiseSession`; {@link RefusedError} DELIVERY_REFUSED for no sessions at all.
 */
export function requireUnrevoked(
  archived: readonly Uint8Array[],
  judge: { readonly governance: GovernanceState; readonly anchors: readonly TrustAnchor[] },
): void {
  if (archived.length === 0) {
    throw new RefusedError(
      { code: "DELIVERY_REFUSED" },
      "delivery: expected the sessions that gave the result, got none on record",
    );
  }
  for (const bytes of archived) {
    for (const { manifest, ...session } of parseWith(
      recordsSchema,
      decodeCbor(bytes),
      "sessions",
    )) {
      const claim = { ...session, ...judge, manifest: SESSION_MANIFEST.decode(manifest) };
      appraiseSession({ ...claim, at: { mode: "replay" } });
    }
  }
}
