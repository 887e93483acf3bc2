import type { LogExcerpt } from "#protocol";

import type { ActorLog } from "./actor-log.ts";

/**
 * What a log says of one task: its committed events with inclusion proofs under the present checkpoint, and a
 * consistency proof from the size right after each of them, which work orders and consumption records name.
 *
 * @param cosigned - A checkpoint of this log with cosignatures, over at least the task's last event; the log's own
 * present checkpoint when absent.
 */
export async function excerptOf(
  log: ActorLog,
  taskId: string,
  cosigned?: { readonly note: string; readonly size: number },
): Promise<LogExcerpt> {
  const { note, size } = cosigned ?? { note: log.checkpoint(), size: log.size };
  const entries = await log.entriesForTask(taskId);
  const covered = entries.filter((entry) => entry.sequence < size);
  return {
    actor_id: log.actorId,
    checkpoint: note,
    events: covered.map(({ sequence, event }) => ({
      sequence,
      event,
      proof: log.inclusionProof(sequence, size),
    })),
    heads: covered.map(({ sequence }) => ({
      size: sequence + 1,
      proof: log.consistencyProof(sequence + 1, size),
    })),
  };
}
