interface Deadline {
  readonly name: string;
  readonly dueMs: number;
}

/** Stale entries are thrown away when there are more of them than of the others, and more than this. */
const STALE_KEPT = 1_024;

/**
 * Names in the order of their deadlines: a binary heap, in which the first is at hand and adding one costs the logarithm of
 * their number. What is over or was put off is not looked for: it is left out when it comes up.
 */
export class Deadlines {
  /** Each is due no earlier than the one at half its place. */
  #heap: Deadline[] = [];
  readonly #current: (name: string) => number | undefined;
  readonly #names: () => Iterable<string>;

  /**
   * @param current - When a name is due now; undefined for one that is not due any more.
   * @param names - Every name that is due some time.
   */
  constructor(current: (name: string) => number | undefined, names: () => Iterable<string>) {
    this.#current = current;
    this.#names = names;
  }

  /** Takes note of a name that is due, or due at another time than before; `openCount` names are due some time. */
  add(name: string, openCount: number): void {
    if (this.#heap.length > 2 * openCount + STALE_KEPT) return this.#rebuild();
    const dueMs = this.#current(name);
    if (dueMs !== undefined) this.#push({ name, dueMs });
  }

  /** The name that is due first, if that is at `nowMs` or before. */
  firstDue(nowMs: number): string | undefined {
    for (let [first] = this.#heap; first !== undefined; [first] = this.#heap) {
      const isStale = this.#current(first.name) !== first.dueMs;
      if (!isStale) return first.dueMs <= nowMs ? first.name : undefined;
      this.#dropFirst();
    }
    return undefined;
  }

  #rebuild(): void {
    this.#heap = [];
    for (const name of this.#names()) {
      const dueMs = this.#current(name);
      if (dueMs !== undefined) this.#push({ name, dueMs });
    }
  }

  #push(entry: Deadline): void {
    const heap = this.#heap;
    let at = heap.length;
    for (let up = (at - 1) >> 1; at > 0; up = (at - 1) >> 1) {
      const parent = heap[up];
      if (parent === undefined || parent.dueMs <= entry.dueMs) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = entry;
  }

  #dropFirst(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const right = heap[left + 1];
      const isRight = right !== undefined && right.dueMs < (heap[left]?.dueMs ?? Infinity);
      const down = isRight ? left + 1 : left;
      const child = heap[down];
      if (child === undefined || child.dueMs >= last.dueMs) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
  }
}
