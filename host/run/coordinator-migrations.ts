import { actorLogStatements } from "../evidence/actor-log.ts";
import {
  ballotStatements,
  candidateStatements,
  governanceStatements,
} from "../governance/index.ts";
import { queueStatements } from "../queue/index.ts";
import { settlementStatements } from "../settlement/index.ts";
import type { Migration } from "../store/index.ts";
import { controlStatements, taskStatements } from "../tasks/index.ts";

/** The schema of a coordinator's store, version by version. A version is never edited; what changes is a new one. */
export const COORDINATOR_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: (words) => [
      ...actorLogStatements(words),
      ...taskStatements(words),
      ...queueStatements(words),
      ...governanceStatements(words),
      ...settlementStatements(words),
    ],
  },
  { version: 2, statements: controlStatements },
  { version: 3, statements: ballotStatements },
  { version: 4, statements: candidateStatements },
];
