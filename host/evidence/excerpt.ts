import { parseCheckpoint, type LogExcerpt } from "#protocol";

import type { ActorLog } from "./actor-log.ts";

/**
 * What a log says of one task: its committed events with inclusion proofs under the present checkpoint, and a
 * consistency proof from the size right after each of them, which work orders and consumption records name.
 *
 * @param cosigned - The newest head of this log that other Vaults cosigned; absent when nobody witnesses it.
 */
export async function excerptOf(
  log: ActorLog,
  taskId: string,
  cosigned?: { readonly note: string; readonly size: number },
): Promise<LogExcerpt> {
  const entries = await log.entriesForTask(taskId);
  const checkpoint = log.checkpoint();
  const { size } = parseCheckpoint(checkpoint);
  const covered = entries.filter((entry) => entry.sequence < size);
  return {
    actor_id: log.actorId,
    checkpoint,
    cosigned:
      cosigned === undefined
        ? null
        : { checkpoint: cosigned.note, proof: log.consistencyProof(cosigned.size, size) },
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
