import type { BoxKeyPair, SigningKey } from "#protocol";

import type { ActorLog } from "../evidence/actor-log.ts";
import type { Store } from "../store/index.ts";
import type { BatchGate } from "./custody/batch-gate.ts";
import type { BatchFiles } from "./records/batch-files.ts";
import type { RunningRuns } from "./records/running-runs.ts";
import type { Books } from "./ledger/books.ts";
import type { KeyCustody } from "./custody/key-custody.ts";
import type { VaultSchema } from "./schema.ts";
import type { ScopeSelections } from "./tasks/scope-selections.ts";
import type { VaultSecrets } from "./custody/secrets.ts";

/** Where a Vault keeps what is no table. Absolute. */
export interface VaultPlaces {
  readonly directory: string;
  readonly secretsFile: string;
  /** Which backups may be restored, beside the secrets: it outlives the store. */
  readonly registerFile: string;
}

/** Everything the parts of one Vault share. */
export interface VaultContext {
  readonly vaultId: string;
  readonly places: VaultPlaces;
  readonly signingKey: SigningKey;
  /** Public keys by which the Vault signed before, oldest first. */
  readonly formerKeys: readonly Uint8Array[];
  readonly boxKey: BoxKeyPair;
  /** Box keys that results were sealed to before. */
  readonly formerBoxKeys: readonly BoxKeyPair[];
  readonly custody: KeyCustody;
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
  readonly store: Store<VaultSchema>;
  readonly log: ActorLog;
  readonly secrets: VaultSecrets;
  readonly books: Books;
  readonly files: BatchFiles;
  readonly selections: ScopeSelections;
  readonly gate: BatchGate;
  readonly running: RunningRuns;
}
