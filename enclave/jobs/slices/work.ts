import type { VerifiedArtifact } from "../artifact.ts";
import type { InputRows } from "../inputs.ts";
import type { VerifiedTask } from "../task.ts";

/** Everything one Vault's part of one round is computed from. */
export interface SliceWork {
  readonly task: VerifiedTask;
  readonly vaultId: string;
  readonly rows: InputRows;
  readonly artifact: VerifiedArtifact | null;
  /** Key of the tokens of this round, 32 bytes. */
  readonly tokenKey: Uint8Array;
  /** The Vault's noise share: here only the seed of the order of training rows. */
  readonly noiseShare: Uint8Array;
  /** Content of the state this round starts from; null in the first. */
  readonly state: Uint8Array | null;
  readonly clockMs: () => number;
}
