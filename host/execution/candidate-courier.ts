import { ConflictError, SymphonyError } from "#protocol";
import type { AttributesApi, ShareReference } from "../sovereignty/index.ts";
import type { Coordinator, NodeEvent } from "./node-loop.ts";

/** How long it waits before it looks again, and before it tries again what could not be carried; milliseconds. */
const LOOK_MS = 250;
const AGAIN_MS = 5_000;

/** What the courier needs. */
export interface CandidateCourierContext {
  readonly attributes: Pick<AttributesApi, "waiting" | "endShare" | "waitingShares">;
  readonly coordinator: Pick<Coordinator, "candidate">;
  readonly nowMs: () => number;
  readonly report: (event: NodeEvent) => void;
  readonly signal: AbortSignal;
}

/**
 * Hands the candidates that a Vault's operator lets go to the coordinator (LA-2), until the signal aborts. One that the
 * coordinator refuses is refused for good; while the coordinator is away, or does not listen, they wait.
 */
export async function carryCandidates(context: CandidateCourierContext): Promise<void> {
  const { attributes, nowMs, signal } = context;
  let notBeforeMs = 0;
  while (!signal.aborted) {
    if (attributes.waiting() && nowMs() >= notBeforeMs) {
      const isCarried = await carryAll(context);
      notBeforeMs = isCarried ? 0 : nowMs() + AGAIN_MS;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** @returns False when something still waits. */
export async function carryAll(
  context: Omit<CandidateCourierContext, "nowMs" | "signal">,
): Promise<boolean> {
  const { attributes } = context;
  for (;;) {
    const shares = await attributes.waitingShares();
    if (shares.length === 0) return true;
    for (const { reference, signed } of shares) {
      if (!(await carry(context, reference, signed))) return false;
    }
  }
}

async function carry(
  { attributes, coordinator, report }: Omit<CandidateCourierContext, "nowMs" | "signal">,
  reference: ShareReference,
  signed: Uint8Array,
): Promise<boolean> {
  try {
    await coordinator.candidate(signed);
    await attributes.endShare(reference, null);
    return true;
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    report({ event: "work_failed", kind: "candidate", code: error.code });
    // Whoever answers a call says what it thinks of it; all else may go better another time.
    const isJudged = error instanceof ConflictError;
    if (isJudged) await attributes.endShare(reference, error.code);
    return isJudged;
  }
}
