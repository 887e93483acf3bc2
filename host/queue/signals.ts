/** Wakes long polls. Holds nothing but waiters, each with a deadline. */
export class Signals {
  readonly #waiters = new Map<string, Set<() => void>>();

  /** Resolves when `topic` is notified, or after `waitMs` milliseconds. */
  wait(topic: string, waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(topic) ?? new Set();
      this.#waiters.set(topic, waiters);
      const finish = (): void => {
        clearTimeout(timer);
        waiters.delete(finish);
        if (waiters.size === 0) this.#waiters.delete(topic);
        resolve();
      };
      const timer = setTimeout(finish, waitMs);
      timer.unref();
      waiters.add(finish);
    });
  }

  /** Wakes everyone waiting for `topic`. */
  notify(topic: string): void {
    for (const wake of this.#waiters.get(topic) ?? []) wake();
  }
}
