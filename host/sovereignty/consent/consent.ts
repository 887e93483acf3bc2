import { consentPurpose, type ConsentPurpose } from "#protocol";

import { Pages, type HeldPages, type Undo } from "../ledger/pages.ts";
import { lowsOf } from "../ledger/page-members.ts";
import { PAGE_ORDINALS, type SubjectSet } from "../ledger/subject-set.ts";

/** What a data subject, or the operator on their behalf, decided for one purpose (CO-1, CO-2). */
export type ConsentDecision =
  /** Until `expiresMs`, Unix milliseconds, not included; null says without end. */
  | { readonly state: "granted"; readonly expiresMs: number | null }
  | { readonly state: "withdrawn" };

/** What a subject's consent for a purpose is at some time; `none` until there was a decision. */
export type ConsentState = "none" | "granted" | "withdrawn" | "expired";

const NONE = 0;
const GRANTED = 1;
const WITHDRAWN = 2;

/** Consents for one purpose, to be written to a snapshot. */
export interface HeldConsents {
  readonly states: HeldPages<Uint8Array<ArrayBuffer>>;
  readonly expiresMs: HeldPages<Float64Array<ArrayBuffer>>;
}

/** Consent by purpose and subject, as the decisions so far leave it. In memory; never leaves the Vault (CO-3). */
export class Consents {
  readonly #purposes = new Map<ConsentPurpose, PurposeConsents>();

  /** Consents as a snapshot had them. */
  static restored(
    purposes: ReadonlyMap<
      ConsentPurpose,
      {
        readonly states: ReadonlyMap<number, Uint8Array<ArrayBuffer>>;
        readonly expiresMs: ReadonlyMap<number, Float64Array<ArrayBuffer>>;
      }
    >,
  ): Consents {
    const consents = new Consents();
    for (const [purpose, { states, expiresMs }] of purposes) {
      const own = consents.#of(purpose);
      for (const [page, values] of states) own.states.put(page, values);
      for (const [page, values] of expiresMs) own.expiresMs.put(page, values);
    }
    return consents;
  }

  /** Takes a decision of all `subjects`; a later one replaces it. */
  apply(purpose: ConsentPurpose, subjects: SubjectSet, decision: ConsentDecision): Undo {
    return this.#of(purpose).apply(subjects, decision);
  }

  /** The state of one subject's consent at `nowMs`. */
  stateOf(purpose: ConsentPurpose, ordinal: number, nowMs: number): ConsentState {
    return this.#purposes.get(purpose)?.stateOf(ordinal, nowMs) ?? "none";
  }

  /** Answers for one subject after another whether their consent is in force at `nowMs`. */
  isGranted(purpose: ConsentPurpose, nowMs: number): (ordinal: number) => boolean {
    const consents = this.#purposes.get(purpose);
    if (consents === undefined) return () => false;
    return (ordinal) => consents.stateOf(ordinal, nowMs) === "granted";
  }

  /**
   * Changes with every decision for the purpose, and never comes back to a number it had: with {@link nextExpiryMs} it
   * tells how long an answer holds.
   */
  versionOf(purpose: ConsentPurpose): number {
    return this.#purposes.get(purpose)?.version ?? 0;
  }

  /** When the next consent for the purpose that is in force at `nowMs` expires; null when none does. */
  nextExpiryMs(purpose: ConsentPurpose, nowMs: number): number | null {
    const next = this.#purposes.get(purpose)?.overview(nowMs).nextExpiryMs ?? Infinity;
    return next === Infinity ? null : next;
  }

  /** Subjects whose consent is in force at `nowMs`, of each purpose. */
  counts(nowMs: number): { readonly usageScope: ConsentPurpose; readonly granted: number }[] {
    return consentPurpose.options.flatMap((usageScope) => {
      const consents = this.#purposes.get(usageScope);
      if (consents === undefined || consents.states.numbers().length === 0) return [];
      return [{ usageScope, granted: consents.overview(nowMs).granted }];
    });
  }

  /** For a snapshot. The pages are held until each is released. */
  hold(): ReadonlyMap<ConsentPurpose, HeldConsents> {
    return new Map(
      [...this.#purposes].map(([purpose, { states, expiresMs }]) => [
        purpose,
        { states: states.hold(), expiresMs: expiresMs.hold() },
      ]),
    );
  }

  #of(purpose: ConsentPurpose): PurposeConsents {
    const known = this.#purposes.get(purpose);
    if (known !== undefined) return known;
    const consents = new PurposeConsents();
    this.#purposes.set(purpose, consents);
    return consents;
  }
}

/** What holds of a page's consents during [fromMs, nextExpiryMs). */
interface Overview {
  readonly granted: number;
  readonly fromMs: number;
  readonly nextExpiryMs: number;
}

class PurposeConsents {
  readonly states = new Pages(() => new Uint8Array(PAGE_ORDINALS));
  /** Only of pages with a consent that ends; Infinity for one that does not. */
  readonly expiresMs = new Pages(() => new Float64Array(PAGE_ORDINALS).fill(Infinity));
  readonly #overviews = new Map<number, Overview>();
  version = 0;

  apply(subjects: SubjectSet, decision: ConsentDecision): Undo {
    const pages = subjects.pageNumbers();
    const undoStates = this.states.remember(pages);
    const undoExpiry = this.expiresMs.remember(pages);
    const state = decision.state === "granted" ? GRANTED : WITHDRAWN;
    const endsMs = decision.state === "granted" ? (decision.expiresMs ?? Infinity) : Infinity;
    for (const members of subjects.pages()) {
      const { page } = members;
      const lows = lowsOf(members);
      const states = this.states.write(page);
      for (const low of lows) states[low] = state;
      if (endsMs === Infinity && this.expiresMs.read(page) === undefined) continue;
      const expiresMs = this.expiresMs.write(page);
      for (const low of lows) expiresMs[low] = endsMs;
    }
    this.#changed(pages);
    return () => {
      undoStates();
      undoExpiry();
      this.#changed(pages);
    };
  }

  stateOf(ordinal: number, nowMs: number): ConsentState {
    const page = Math.floor(ordinal / PAGE_ORDINALS);
    const low = ordinal % PAGE_ORDINALS;
    switch (this.states.read(page)?.[low] ?? NONE) {
      case GRANTED:
        return nowMs < (this.expiresMs.read(page)?.[low] ?? Infinity) ? "granted" : "expired";
      case WITHDRAWN:
        return "withdrawn";
      default:
        return "none";
    }
  }

  /** Looks only at pages that have changed, or of which a consent has expired, since it was last asked. */
  overview(nowMs: number): Omit<Overview, "fromMs"> {
    let granted = 0;
    let nextExpiryMs = Infinity;
    for (const page of this.states.numbers()) {
      const known = this.#overviews.get(page);
      const holds = known !== undefined && known.fromMs <= nowMs && nowMs < known.nextExpiryMs;
      const overview = holds ? known : this.#overviewOf(page, nowMs);
      this.#overviews.set(page, overview);
      granted += overview.granted;
      nextExpiryMs = Math.min(nextExpiryMs, overview.nextExpiryMs);
    }
    return { granted, nextExpiryMs };
  }

  #overviewOf(page: number, nowMs: number): Overview {
    const states = this.states.read(page) ?? new Uint8Array(0);
    const expiresMs = this.expiresMs.read(page);
    let granted = 0;
    let nextExpiryMs = Infinity;
    for (let low = 0; low < states.length; low += 1) {
      if (states[low] !== GRANTED) continue;
      const endsMs = expiresMs?.[low] ?? Infinity;
      if (endsMs <= nowMs) continue;
      granted += 1;
      if (endsMs < nextExpiryMs) nextExpiryMs = endsMs;
    }
    return { granted, fromMs: nowMs, nextExpiryMs };
  }

  #changed(pages: readonly number[]): void {
    this.version += 1;
    for (const page of pages) this.#overviews.delete(page);
  }
}
