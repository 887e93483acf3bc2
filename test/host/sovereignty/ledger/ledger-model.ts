import { PAGE_RULES, type PageRules } from "../../../../host/sovereignty/ledger/amounts.ts";
import { Balances } from "../../../../host/sovereignty/ledger/balances.ts";
import {
  Ledger,
  type HeldLedger,
  type LedgerEntry,
  type LedgerStep,
} from "../../../../host/sovereignty/ledger/ledger.ts";
import type { Undo } from "../../../../host/sovereignty/ledger/pages.ts";
import {
  PAGE_ORDINALS,
  subjectSetOf,
  type SubjectSet,
} from "../../../../host/sovereignty/ledger/subject-set.ts";
import { hex, type UsageScope } from "../../../../protocol/index.ts";
import {
  EMPTY,
  after,
  consumedBy,
  reservedOf,
  type NaiveLedger,
  type NaiveStep,
  type NaiveWorld,
} from "./naive-ledger.ts";

const SCOPES = ["marketing", "training"] as const satisfies readonly UsageScope[];
const RECORDS = ["customers", "visits"] as const;

/** Who there is, and how their pages are kept. */
interface World extends NaiveWorld {
  readonly scopes: readonly UsageScope[];
  readonly rules: PageRules;
}

/**
 * At the edges of a page, and on another. A whole page takes much longer to look at than a sequence to run: most
 * sequences have short ones. They are also too short for pages to collect many changes: some keep fewer.
 */
function worldOf(draw: Draw): World {
  const ordinals = draw(WHOLE_ONE_IN) === 0 ? PAGE_ORDINALS : 16;
  const changesKept = draw(2) === 0 ? draw(FEW_CHANGES) : PAGE_RULES.changesKept;
  return {
    scopes: SCOPES.slice(0, 1 + draw(SCOPES.length)),
    subjects: [0, 1, 2, ordinals - 1, PAGE_ORDINALS],
    records: RECORDS,
    rules: { ordinals, changesKept },
    ...LIMITS,
  };
}

const WHOLE_ONE_IN = 64;
const FEW_CHANGES = 3;
const ACTORS = 3;
const IDS = 4;
const STEPS_MAX = 24;
const LIMITS = { allowance: 100, recordAllowance: 250 };

/** Whole numbers in [0, below), the same for the same seed. */
export type Draw = (below: number) => number;

/** Mulberry32. */
export function drawFrom(seed: number): Draw {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below) >>> 0;
  };
}

/** Something that one of several actors tries next. */
function drawStep(draw: Draw, { scopes, subjects }: World): NaiveStep {
  const id = `a${draw(ACTORS)}-${draw(IDS)}`;
  const scope = scopes[draw(scopes.length)] ?? "marketing";
  const epsilon = draw(61);
  const chosen = draw(20);
  if (chosen < 7) {
    const record = RECORDS[draw(RECORDS.length)] ?? "customers";
    return { kind: "reserve", id, scope, record, subjects: someSubjects(draw, subjects), epsilon };
  }
  if (chosen < 11) return { kind: "executing", id, round: draw(2) };
  if (chosen < 14) return { kind: "commit", id, epsilon };
  if (chosen < 16) return { kind: "release", id };
  if (chosen < 17 && draw(4) === 0) return { kind: "replenish", scope, epoch: draw(6), epsilon };
  if (chosen < 19) {
    const kind = draw(2) === 0 ? "freeze" : "thaw";
    return { kind, scope, subjects: someSubjects(draw, subjects).slice(0, 2) };
  }
  return draw(16) === 0 ? { kind: "write_off", scope } : { kind: "release", id };
}

function someSubjects(draw: Draw, subjects: readonly number[]): number[] {
  const members = 1 + draw(2 ** subjects.length - 1);
  return subjects.filter((_, index) => (members & (1 << index)) !== 0);
}

/** What is on disk: an entry, or who was frozen or thawed. */
type Kept = LedgerEntry | Extract<NaiveStep, { kind: "freeze" | "thaw" }>;

interface Pending {
  readonly kept: Kept;
  readonly undo: Undo;
  readonly before: NaiveLedger;
}

/** One run: steps of several actors, in groups of writes that commit, fail or are cut off by a crash. */
class Run {
  #ledger: Ledger;
  #naive = EMPTY;
  #kept: Kept[] = [];
  #pending: Pending[] = [];
  #durable = EMPTY;
  #snapshot: { readonly held: HeldLedger; readonly kept: number } | undefined;
  readonly #draw: Draw;
  readonly #world: World;

  constructor(draw: Draw) {
    this.#draw = draw;
    this.#world = worldOf(draw);
    this.#ledger = new Ledger(this.#world.rules);
  }

  async run(): Promise<void> {
    for (let left = this.#draw(STEPS_MAX); left > 0; left -= 1) {
      this.#try(drawStep(this.#draw, this.#world));
      const event = this.#draw(16);
      if (event < 6) this.#commit();
      else if (event === 6) this.#fail(1);
      else if (event === 7) this.#fail(this.#pending.length);
      else if (event === 8) await this.#crash();
      else if (event === 9) this.#hold();
    }
    this.#compare(this.#ledger, this.#naive);
    if (this.#draw(4) === 0) await this.#crash();
  }

  #try(step: NaiveStep): void {
    const before = this.#naive;
    const next = after(before, step, this.#world);
    if (step.kind === "reserve") {
      // That an ended reservation does not begin again is for the table of entries to see to.
      if (before.ended.includes(step.id)) return;
      const { exhausted, frozen, recordScope } = this.#ledger.shortfall(demandOf(step));
      const fits = exhausted === 0 && frozen === 0 && !recordScope;
      const free = before.open[step.id] === undefined;
      if (free) require(fits === (next !== null), `admission of ${step.id}`);
      if (free && !fits) return;
    }
    let undo: Undo;
    try {
      undo = this.#apply(step);
    } catch (cause) {
      if (next === null) return;
      throw cause;
    }
    require(next !== null, `refusal of ${step.kind}`);
    this.#pending.push({ kept: entryOf(step), undo, before });
    this.#naive = next ?? before;
  }

  #apply(step: NaiveStep): Undo {
    const kept = entryOf(step);
    if (kept.kind !== "freeze" && kept.kind !== "thaw") return this.#ledger.apply(kept);
    return this.#ledger.setFrozen(
      scopeOf(kept.scope),
      setOf(kept.subjects),
      kept.kind === "freeze",
    );
  }

  #commit(): void {
    for (const { kept, undo } of this.#pending.splice(0)) {
      undo.kept?.();
      this.#kept.push(kept);
    }
    this.#durable = this.#naive;
  }

  /** The last writes fail, the very last first. */
  #fail(writes: number): void {
    for (const { undo, before } of this.#pending
      .splice(this.#pending.length - writes)
      .toReversed()) {
      undo();
      this.#naive = before;
    }
    this.#compare(this.#ledger, this.#naive);
  }

  #hold(): void {
    if (this.#pending.length > 0) return;
    this.#snapshot = { held: this.#ledger.hold(), kept: this.#kept.length };
  }

  /** The process is gone: what was not committed never was. */
  async #crash(): Promise<void> {
    this.#pending = [];
    this.#naive = this.#durable;
    const replayed = await caughtUp(new Ledger(this.#world.rules), this.#kept);
    this.#compare(replayed, this.#durable);
    const ledger = this.#snapshot === undefined ? replayed : await this.#fromSnapshot();
    this.#compare(ledger, this.#durable);
    // The summary looks at whole pages, which takes most of the time.
    if (this.#draw(256) === 0) requireSame(ledger.summary(), replayed.summary());
    this.#ledger = ledger;
    this.#snapshot = undefined;
  }

  async #fromSnapshot(): Promise<Ledger> {
    if (this.#snapshot === undefined) return new Ledger();
    const { held, kept } = this.#snapshot;
    const { rules } = this.#world;
    const balances = Array.from(held.balances, ([scope, { totals, consumed, frozen }]) => {
      const values = consumed.pages.map(
        (page) =>
          [page, consumed.valuesOf(page, new Float64Array(rules.ordinals)).slice()] as const,
      );
      const pages = { consumed: new Map(values), frozen: frozen.pages };
      return [scope, Balances.restored(totals, pages, rules)] as const;
    });
    const restored = { ...held, balances: new Map(balances) };
    const sets = setsOf(this.#kept);
    const loadSet = async (digest: string) => setIn(sets, digest);
    const ledger = await Ledger.restored(restored, loadSet, rules);
    return await caughtUp(ledger, this.#kept.slice(kept), sets);
  }

  #compare(ledger: Ledger, naive: NaiveLedger): void {
    for (const scope of this.#world.scopes) {
      for (const subject of this.#world.subjects) {
        const consumed = consumedBy(naive, scope, subject);
        const reserved = reservedOf(naive, scope, subject);
        require(ledger.consumedMicro(scope, subject) === consumed, `consumption of ${subject}`);
        require(ledger.reservedMicro(scope, subject) === reserved, `reservation of ${subject}`);
      }
      for (const record of RECORDS) {
        const { consumed, reserved } = ledger.recordScope(scope, record);
        require(consumed === consumedBy(naive, scope, record), `consumption of ${record}`);
        require(reserved === reservedOf(naive, scope, record), `reservation of ${record}`);
      }
    }
    const names = ledger.open().map(({ reservationId }) => reservationId);
    require(names.toSorted().join() === Object.keys(naive.open).toSorted().join(), "open ones");
  }
}

/** Runs the sequence of `seed`. @throws Error where the ledger and the naive one differ */
export async function runSequence(seed: number): Promise<void> {
  // Many steps are refused; where in the code is of no use.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    await new Run(drawFrom(seed)).run();
  } catch (cause) {
    throw new Error(`sequence ${seed}: ${String(cause)}`, { cause });
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** What a reservation asks of a ledger. */
export function demandOf(step: Extract<NaiveStep, { kind: "reserve" }>) {
  return {
    usageScope: scopeOf(step.scope),
    recordScope: step.record,
    subjects: setOf(step.subjects),
    epsilonMicro: step.epsilon,
    allowanceMicro: LIMITS.allowance,
    recordScopeAllowanceMicro: LIMITS.recordAllowance,
  };
}

function entryOf(step: NaiveStep): Kept {
  switch (step.kind) {
    case "reserve": {
      const { usageScope, recordScope, subjects, epsilonMicro } = demandOf(step);
      const rest = { usageScope, recordScope, subjects, epsilonMicro, expiresMs: 1 };
      return { kind: "reserve", reservationId: step.id, ...rest };
    }
    case "executing":
      return { kind: step.kind, reservationId: step.id, round: step.round, epsilonMicro: 1 };
    case "commit":
      return { kind: step.kind, reservationId: step.id, epsilonMicro: step.epsilon };
    case "release":
      return { kind: step.kind, reservationId: step.id };
    case "replenish": {
      const { kind, epoch: epochId, epsilon: epsilonMicro } = step;
      return { kind, usageScope: scopeOf(step.scope), epochId, epsilonMicro };
    }
    case "write_off": {
      const amounts = { epsilonMicro: LIMITS.allowance, recordScopeMicro: LIMITS.recordAllowance };
      return { kind: step.kind, usageScope: scopeOf(step.scope), ...amounts };
    }
    case "freeze":
    case "thaw":
      return step;
  }
}

/** As a start reads the log after what it knows. */
async function caughtUp(
  ledger: Ledger,
  kept: readonly Kept[],
  sets: ReadonlyMap<string, SubjectSet> = setsOf(kept),
): Promise<Ledger> {
  async function* steps(): AsyncGenerator<LedgerStep> {
    for (const each of kept) {
      if (each.kind === "freeze" || each.kind === "thaw") {
        const subjects = setOf(each.subjects);
        ledger.setFrozen(scopeOf(each.scope), subjects, each.kind === "freeze");
      } else if (each.kind === "reserve") {
        const { subjects, ...rest } = each;
        yield { ...rest, setDigest: hex(subjects.digest) };
      } else {
        yield each;
      }
    }
  }
  await ledger.replay(steps(), async (digest) => setIn(sets, digest));
  return ledger;
}

function setsOf(kept: readonly Kept[]): Map<string, SubjectSet> {
  const sets = new Map<string, SubjectSet>();
  for (const each of kept) {
    if (each.kind === "reserve") sets.set(hex(each.subjects.digest), each.subjects);
  }
  return sets;
}

function setIn(sets: ReadonlyMap<string, SubjectSet>, digest: string): SubjectSet {
  const set = sets.get(digest);
  if (set === undefined) throw new Error("a set that no reservation has");
  return set;
}

const madeSets = new Map<string, SubjectSet>();

function setOf(subjects: readonly number[]): SubjectSet {
  const set = madeSets.get(subjects.join()) ?? subjectSetOf(subjects);
  madeSets.set(subjects.join(), set);
  return set;
}

function scopeOf(name: string): UsageScope {
  return SCOPES.find((each) => each === name) ?? "marketing";
}

function requireSame(left: unknown, right: unknown): void {
  require(JSON.stringify(left) === JSON.stringify(right), "the same summary");
}

function require(holds: boolean, what: string): void {
  if (!holds) throw new Error(`expected ${what} as the naive ledger has it`);
}
