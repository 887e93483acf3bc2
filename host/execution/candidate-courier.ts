import { setTimeout } from "node:timers/promises";

import { ConflictError, SymphonyError, type ErrorCode } from "#protocol";
import type { AttributesApi, WaitingShare } from "../sovereignty/index.ts";
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
    await pause(LOOK_MS, signal);
  }
}

/** @returns False when something still waits. */
export async function carryAll(
  context: Omit<CandidateCourierContext, "nowMs" | "signal">,
): Promise<boolean> {
  try {
    for (;;) {
      const shares = await context.attributes.waitingShares();
      if (shares.length === 0) return true;
      for (const share of shares) await carry(context, share);
    }
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    context.report({ event: "work_failed", kind: "candidate", code: error.code });
    return false;
  }
}

async function carry(
  { attributes, coordinator, report }: Omit<CandidateCourierContext, "nowMs" | "signal">,
  { reference, signed }: WaitingShare,
): Promise<void> {
  let code: ErrorCode | null = null;
  try {
    await coordinator.candidate(signed);
  } catch (error) {
    // Whoever answers a call says what it thinks of it; all else, a coordinator's own trouble too, may go better later.
    if (!(error instanceof ConflictError) || error.code.startsWith("INTERNAL_")) throw error;
    ({ code } = error);
    report({ event: "work_failed", kind: "candidate", code });
  }
  await attributes.endShare(reference, code);
}

/** Ends after `ms`, or once the signal aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal }).catch(() => undefined);
}
