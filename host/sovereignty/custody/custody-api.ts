import { LimitError } from "#protocol";

import { backupsOf, type BackupApi } from "../backup/backup-api.ts";
import type { VaultContext } from "../vault-context.ts";
import type { WitnessApi } from "../witness/witness.ts";
import { eraseSubject, resumeErasures, type ErasureReport } from "./erasure.ts";
import {
  reencryptBatches,
  rotateKeys,
  type CustodyProgress,
  type KeyRunReport,
} from "./key-runs.ts";
import { replayable, type Replayability } from "./replayable.ts";
import { exportSubject, type SubjectLine } from "./subject-export.ts";
import { withSliceInputs, type ReleasedBatch, type SliceInputs } from "./slice-inputs.ts";

/** Pieces of long work that wait for the one that runs. */
const WAITING_MAX = 64;

type Report = (progress: CustodyProgress) => void;

/**
 * Keys and sealed batches of a Vault. Each call is described at the function that it stands for. Long work runs one
 * piece at a time, in the order asked for.
 *
 * All long work throws LimitError SCHEMA_TOO_LARGE when too much of it waits.
 */
export interface CustodyApi {
  withSliceInputs<T>(
    inputs: SliceInputs,
    use: (batches: readonly ReleasedBatch[]) => Promise<T>,
  ): Promise<T>;
  rotateKeys(report?: Report): Promise<KeyRunReport>;
  reencrypt(report?: Report): Promise<KeyRunReport>;
  eraseSubject(subject: string, report?: Report): Promise<ErasureReport>;
  resumeErasures(report?: Report): Promise<number>;
  exportSubject(subject: string): AsyncGenerator<SubjectLine>;
  replayable(taskId: string): Promise<Replayability>;
  readonly backups: BackupApi;
}

/** See {@link CustodyApi}. */
export function custodyOf(context: VaultContext, witness: WitnessApi): CustodyApi {
  const alone = oneAtATime();
  return {
    withSliceInputs: (inputs, use) => withSliceInputs({ context, witness }, inputs, use),
    rotateKeys: (report = silent) => alone(() => rotateKeys(context, report)),
    reencrypt: (report = silent) => alone(() => reencryptBatches(context, report)),
    eraseSubject: (subject, report = silent) => alone(() => eraseSubject(context, subject, report)),
    resumeErasures: (report = silent) => alone(() => resumeErasures(context, report)),
    exportSubject: (subject) => exportSubject(context, subject),
    replayable: (taskId) => replayable(context, taskId),
    backups: backupsOf(context, alone),
  };
}

function silent(): void {}

function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  return async (work) => {
    if (waiting >= WAITING_MAX) {
      throw new LimitError(
        { code: "SCHEMA_TOO_LARGE", max: WAITING_MAX },
        `custody: expected at most ${WAITING_MAX} pieces of work to wait`,
      );
    }
    waiting += 1;
    const next = last.then(work);
    last = next.catch(() => undefined);
    try {
      return await next;
    } finally {
      waiting -= 1;
    }
  };
}
