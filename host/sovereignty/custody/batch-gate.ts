/**
 * Lets many use the batches at once, or one change them. What waits to change goes before what comes to use later, so
 * neither waits without end. In this process only, which is the only one of its Vault.
 */
export class BatchGate {
  #using = 0;
  #changing = false;
  readonly #waiting: { readonly changes: boolean; readonly enter: () => void }[] = [];

  /** Runs `work` while nothing changes. */
  use<T>(work: () => Promise<T>): Promise<T> {
    return this.#pass(false, work);
  }

  /** Runs `work` alone. */
  change<T>(work: () => Promise<T>): Promise<T> {
    return this.#pass(true, work);
  }

  async #pass<T>(changes: boolean, work: () => Promise<T>): Promise<T> {
    await new Promise<void>((enter) => {
      this.#waiting.push({ changes, enter });
      this.#admit();
    });
    try {
      return await work();
    } finally {
      if (changes) this.#changing = false;
      else this.#using -= 1;
      this.#admit();
    }
  }

  #admit(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || this.#changing || (next.changes && this.#using > 0)) return;
      this.#waiting.shift();
      if (next.changes) this.#changing = true;
      else this.#using += 1;
      next.enter();
    }
  }
}
