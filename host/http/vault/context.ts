import type { CanonicalAttribute, GovernanceState, RecordScope } from "#protocol";

import type { Vault } from "../../sovereignty/index.ts";

/** What the operator's listener needs of its Vault node. */
export interface VaultRoutesContext {
  readonly vault: Vault;
  /** 64 hex digits that a caller must present. */
  readonly token: string;
  /** The newest governance that the node knows: the genesis until it has taken work. */
  readonly governance: () => GovernanceState;
  /** The registered scope and its attributes. @throws RefusedError DERIVATION_UNRESOLVED */
  readonly scope: (scopeId: string) => {
    readonly recordScope: RecordScope;
    readonly attributes: readonly CanonicalAttribute[];
  };
}
