import { equalBytes } from "./bytes.ts";
import { ConflictError } from "./errors.ts";

const MASK = "[secret]";

/**
 * Bytes that must not be printed, stored or outlive their use.
 *
 * Takes ownership of `bytes`: does not copy them, and overwrites them with zeroes on disposal, so the
 * caller must keep no other copy. Text, JSON and `inspect` show `[secret]`. Meant for `using`.
 */
export class Secret {
  readonly #bytes: Uint8Array;
  #disposed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Number of bytes; public. */
  get length(): number {
    return this.#bytes.length;
  }

  /**
   * Runs `f` on the bytes and returns what it returns. `f` must not keep the view.
   *
   * @throws {@link ConflictError} INTERNAL_UNEXPECTED after disposal.
   */
  use<T>(f: (bytes: Uint8Array) => T): T {
    if (this.#disposed) {
      throw new ConflictError(
        { code: "INTERNAL_UNEXPECTED" },
        "secret: expected a use before disposal, got one after it",
      );
    }
    return f(this.#bytes);
  }

  /** Whether `other` holds the same bytes, in time that depends only on the lengths. */
  equals(other: Uint8Array): boolean {
    return this.use((bytes) => equalBytes(bytes, other));
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#bytes.fill(0);
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.toPrimitive](): string {
    return MASK;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return MASK;
  }
}
