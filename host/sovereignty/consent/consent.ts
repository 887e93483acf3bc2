import type { UsageScope } from "#protocol";

import type { SubjectSet } from "../ledger/subject-set.ts";

/** What a data subject, or the operator on their behalf, decided for one purpose (CO-1, CO-2). */
export type ConsentDecision =
  /** Until `expiresMs`, Unix milliseconds, not included; null says without end. */
  | { readonly state: "granted"; readonly expiresMs: number | null }
  | { readonly state: "withdrawn" };

/** What a subject's consent for a purpose is at some time; `none` until there was a decision. */
export type ConsentState = "none" | "granted" | "withdrawn" | "expired";

const GRANTED = 1;
const WITHDRAWN = 2;

/** Consent by purpose and subject, as the decisions so far leave it. In memory; never leaves the Vault (CO-3). */
export class Consents {
  readonly #scopes = new Map<UsageScope, ScopeConsents>();

  /** Takes a decision of all `subjects`; a later one replaces it. */
  apply(usageScope: UsageScope, subjects: SubjectSet, decision: ConsentDecision): void {
    const scope = this.#scopes.get(usageScope) ?? { states: new Map(), expiresMs: new Map() };
    this.#scopes.set(usageScope, scope);
    subjects.forEach((ordinal) => {
      scope.states.set(ordinal, decision.state === "granted" ? GRANTED : WITHDRAWN);
      if (decision.state === "granted" && decision.expiresMs !== null) {
        scope.expiresMs.set(ordinal, decision.expiresMs);
      } else {
        scope.expiresMs.delete(ordinal);
      }
    });
  }

  /** The state of one subject's consent at `nowMs`. */
  stateOf(usageScope: UsageScope, ordinal: number, nowMs: number): ConsentState {
    const scope = this.#scopes.get(usageScope);
    const state = scope?.states.get(ordinal);
    if (scope === undefined || state === undefined) return "none";
    if (state === WITHDRAWN) return "withdrawn";
    return nowMs < (scope.expiresMs.get(ordinal) ?? Infinity) ? "granted" : "expired";
  }

  /** Subjects whose consent is in force at `nowMs`, of each purpose. */
  counts(nowMs: number): { readonly usageScope: UsageScope; readonly granted: number }[] {
    return [...this.#scopes].map(([usageScope, { states }]) => ({
      usageScope,
      granted: [...states.keys()].filter(
        (ordinal) => this.stateOf(usageScope, ordinal, nowMs) === "granted",
      ).length,
    }));
  }
}

interface ScopeConsents {
  readonly states: Map<number, number>;
  /** Only of consents that end. */
  readonly expiresMs: Map<number, number>;
}
