import { LimitError, RefusedError, hex, sha256, type GovernanceState } from "#protocol";
import type { Store } from "../store/index.ts";
import type { BlobSchema } from "./queries.ts";

/** The largest model or step graph, bytes. */
export const ARTIFACT_BYTES_MAX = 16 * 1024 * 1024;

/** Models that tasks name by digest, and the log excerpts nodes hand in for a task's evidence. */
export class TaskBlobs {
  readonly #store: Store<BlobSchema>;

  constructor(store: Store<BlobSchema>) {
    this.#store = store;
  }

  /**
   * Keeps a model or step graph that governance registered. The same bytes again change nothing.
   *
   * @throws {@link LimitError} SCHEMA_TOO_LARGE; {@link RefusedError} EXECUTION_WORKLOAD_UNREGISTERED
   */
  async putArtifact(bytes: Uint8Array, state: GovernanceState): Promise<void> {
    if (bytes.length > ARTIFACT_BYTES_MAX) {
      throw new LimitError(
        { code: "SCHEMA_TOO_LARGE", bytes: bytes.length, maxBytes: ARTIFACT_BYTES_MAX },
        `artifact: expected at most ${ARTIFACT_BYTES_MAX} bytes, got ${bytes.length}`,
      );
    }
    const digest = hex(sha256(bytes));
    if (!state.artifacts.has(digest)) throw unregistered(digest);
    await this.#store.write((trx) =>
      trx
        .insertInto("artifact")
        .values({ digest, bytes })
        .onConflict((conflict) => conflict.column("digest").doNothing())
        .execute(),
    );
  }

  /** @throws {@link RefusedError} EXECUTION_WORKLOAD_UNREGISTERED when it was never uploaded. */
  async artifact(digest: Uint8Array): Promise<Uint8Array> {
    const row = await this.#store.db
      .selectFrom("artifact")
      .select("bytes")
      .where("digest", "=", hex(digest))
      .executeTakeFirst();
    if (row === undefined) throw unregistered(hex(digest));
    return row.bytes;
  }

  /** Keeps the newest excerpt of an actor's log for a task. */
  async putExcerpt(taskId: string, actorId: string, excerpt: Uint8Array): Promise<void> {
    await this.#store.write((trx) =>
      trx
        .insertInto("log_excerpt")
        .values({ task_id: taskId, actor_id: actorId, excerpt })
        .onConflict((conflict) =>
          conflict.columns(["task_id", "actor_id"]).doUpdateSet({ excerpt }),
        )
        .execute(),
    );
  }

  /** Excerpts of a task, in order of actor. */
  async excerpts(
    taskId: string,
  ): Promise<{ readonly actorId: string; readonly excerpt: Uint8Array }[]> {
    const rows = await this.#store.db
      .selectFrom("log_excerpt")
      .select(["actor_id", "excerpt"])
      .where("task_id", "=", taskId)
      .orderBy("actor_id")
      .execute();
    return rows.map((row) => ({ actorId: row.actor_id, excerpt: row.excerpt }));
  }
}

function unregistered(digest: string): RefusedError {
  return new RefusedError(
    { code: "EXECUTION_WORKLOAD_UNREGISTERED", digest },
    `artifact: expected one registered by governance and uploaded, got ${digest}`,
  );
}
