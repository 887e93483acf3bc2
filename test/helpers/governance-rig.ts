import {
  ballotStatements,
  governanceStatements,
  openBallots,
  openEpochRegister,
  openGovernance,
  type Ballots,
  type EpochRegister,
  type Governance,
  type GovernanceSchema,
  type RequireDisputed,
} from "../../host/governance/index.ts";
import { openStore, type Store, type StorePlace } from "../../host/store/index.ts";
import type { SigningKey } from "../../protocol/index.ts";
import type { TestNetwork } from "./network.ts";

/** The coordinator's governance over a real store: the log, the votes, and the epochs. */
export interface GovernanceRig {
  readonly store: Store<GovernanceSchema>;
  readonly governance: Governance;
  readonly ballots: Ballots;
  readonly epochs: EpochRegister;
}

/** Opens governance of `network` over the store at `at`; `signingKey` is the coordinator's unless given. */
export async function openGovernanceRig(args: {
  readonly network: TestNetwork;
  readonly at: StorePlace;
  readonly nowMs: () => number;
  readonly signingKey?: SigningKey;
  /** Absent: every task has a challenge to decide about. */
  readonly requireDisputed?: RequireDisputed;
}): Promise<GovernanceRig> {
  const { network, at, nowMs, signingKey = network.coordinator.signing } = args;
  const store = await openStore<GovernanceSchema>({
    at,
    migrations: [
      { version: 1, statements: governanceStatements },
      { version: 2, statements: ballotStatements },
    ],
  });
  try {
    const { genesisBytes } = network;
    const governance = await openGovernance({
      ...{ store, genesisBytes, signingKey, nowMs },
      requireDisputed: args.requireDisputed ?? (() => Promise.resolve()),
    });
    const ballots = openBallots({ store, governance, nowMs });
    const epochs = await openEpochRegister({ store, governance });
    return { store, governance, ballots, epochs };
  } catch (error) {
    await store.close();
    throw error;
  }
}
