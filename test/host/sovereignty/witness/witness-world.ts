import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { createGovernanceEvent } from "../../../../host/governance/index.ts";
import { openVault, type Carried, type Vault } from "../../../../host/sovereignty/index.ts";
import {
  KEY_ROTATION,
  applyGovernanceEvent,
  genesisState,
  signingKeyFromSeed,
  type GovernanceDecision,
  type GovernanceState,
  type Policy,
  type SigningKey,
} from "../../../../protocol/index.ts";
import {
  NETWORK_TIME_MS,
  createNetwork,
  testSeed,
  type TestActor,
  type TestNetwork,
} from "../../../helpers/network.ts";
import { OPEN_CUSTODY, counted } from "../vault-world.ts";

/** What becomes of the answers on their way: a coordinator may drop, repeat and make up. */
export type Carry = (answers: readonly Carried[]) => readonly Carried[];

const honestly: Carry = (answers) => answers;

/** A folder for the Vaults of one world. */
export function newWorldFolder(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), "symphony-witness-"));
}

/** Several real Vaults of one network in folders of their own, and a carrier between them. */
export class WitnessWorld {
  readonly network: TestNetwork;
  governance: GovernanceState;
  /** Of every Vault. */
  nowMs = NETWORK_TIME_MS;
  readonly folder: string;
  readonly vaults = new Map<string, Vault>();
  /** Of Vaults that have given their first one up. */
  readonly #signing = new Map<string, SigningKey>();
  #nonces = 0;
  #copies = 0;

  private constructor(network: TestNetwork, folder: string) {
    this.network = network;
    this.governance = genesisState(network.genesisBytes);
    this.folder = folder;
  }

  /** Opens every Vault of a network and has all of them asked after; the folder of an earlier world goes on. */
  static async start(
    options: {
      readonly vaultCount?: number;
      readonly policy?: (policy: Policy) => Policy;
      readonly folder?: string;
    } = {},
  ): Promise<WitnessWorld> {
    const network = await createNetwork(options);
    const folder = options.folder ?? newWorldFolder();
    const world = new WitnessWorld(network, folder);
    for (const { actorId } of network.vaults) await world.open(actorId);
    for (const { actorId } of network.vaults) await world.confirm(actorId);
    return world;
  }

  vault(vaultId: string): Vault {
    const vault = this.vaults.get(vaultId);
    if (vault === undefined) throw new Error(`${vaultId}: expected it to be open`);
    return vault;
  }

  async open(vaultId: string): Promise<Vault> {
    const actor = this.#actor(vaultId);
    const vault = await openVault({
      directory: path.join(this.folder, vaultId),
      vaultId,
      network: this.network.genesis.network,
      signingKey: this.signingOf(vaultId),
      formerKeys: this.formerKeysOf(vaultId),
      boxKey: actor.box,
      custody: OPEN_CUSTODY,
      nowMs: () => this.nowMs,
      random: counted(vaultId),
    });
    this.vaults.set(vaultId, vault);
    return vault;
  }

  signingOf(vaultId: string): SigningKey {
    return this.#signing.get(vaultId) ?? this.#actor(vaultId).signing;
  }

  /** What lies beside the Vault's seed: every key before the present one. */
  formerKeysOf(vaultId: string): readonly Uint8Array[] {
    const keys = this.governance.actors.get(vaultId)?.keys ?? [];
    return keys.slice(0, -1).map(({ signingKey }) => signingKey);
  }

  /** Has a Vault's key decided to be another: by itself, or by governance, for which the old one never counted. */
  rotate(vaultId: string, how: "actor_key_rotated" | "actor_key_replaced"): void {
    const previous = this.signingOf(vaultId);
    const next = signingKeyFromSeed(
      testSeed(`${vaultId} key ${this.formerKeysOf(vaultId).length + 1}`),
    );
    const statement = {
      version: 1 as const,
      genesis_digest: this.network.genesisDigest,
      actor_id: vaultId,
      previous_key: previous.publicKey,
      signing_key: next.publicKey,
      box_key: null,
    };
    const rotation = { actor_id: vaultId, signed_rotation: KEY_ROTATION.sign(statement, next) };
    const decision: GovernanceDecision =
      how === "actor_key_rotated"
        ? { type: how, ...rotation }
        : { type: how, ...rotation, previous_until_epoch: null };
    const keys = how === "actor_key_rotated" ? [previous] : this.network.governanceKeys;
    const state = this.governance;
    const event = createGovernanceEvent({ state, decision, keys, timeMs: NETWORK_TIME_MS });
    this.governance = applyGovernanceEvent(state, event);
    this.#signing.set(vaultId, next);
  }

  async close(vaultId: string): Promise<void> {
    await this.vault(vaultId).close();
    this.vaults.delete(vaultId);
  }

  /** Closes a Vault, copies its folder, and opens it again, confirmed. @returns the copy's folder */
  async backup(vaultId: string): Promise<string> {
    await this.close(vaultId);
    this.#copies += 1;
    const copy = path.join(this.folder, `${vaultId}-copy-${this.#copies}`);
    fs.cpSync(path.join(this.folder, vaultId), copy, { recursive: true });
    await this.open(vaultId);
    await this.confirm(vaultId);
    return copy;
  }

  /** Puts a copy in the place of a Vault's folder and opens it; unconfirmed. */
  async restore(vaultId: string, copy: string): Promise<Vault> {
    await this.close(vaultId);
    const folder = path.join(this.folder, vaultId);
    fs.rmSync(folder, { recursive: true });
    fs.cpSync(copy, folder, { recursive: true });
    return this.open(vaultId);
  }

  /** Asks the others for their heads over a fresh nonce, and hands over what `carry` makes of the answers. */
  async confirm(vaultId: string, carry: Carry = honestly): Promise<Vault["witness"]["standing"]> {
    const { witness } = this.vault(vaultId);
    const { governance } = this;
    this.#nonces += 1;
    const nonce = counted(`nonce ${this.#nonces}`)(32);
    const question = witness.headQuestion(nonce, governance);
    const answers = await this.#askOthers(vaultId, (other) =>
      other.witness.tellHead(question, governance),
    );
    await witness.confirm(carry(answers), { nonce, governance });
    return witness.standing;
  }

  /** Asks the others to cosign the head, again with other proofs while a witness says so. */
  async cosign(vaultId: string, carry: Carry = honestly): Promise<"waiting" | "cosigned"> {
    const { witness } = this.vault(vaultId);
    for (let flight = 0; flight < 3; flight += 1) {
      const asked = witness.ask(this.governance);
      const answers = await this.#askOthers(vaultId, async (other) => {
        const { answer } = await other.witness.cosignHead(asked.question, this.governance);
        return answer;
      });
      const outcomes = [];
      for (const answer of carry(answers)) {
        outcomes.push(await witness.take(asked, answer, this.governance));
      }
      if (outcomes.includes("cosigned")) return "cosigned";
      if (!outcomes.includes("again")) return "waiting";
    }
    return "waiting";
  }

  /** Adds an event to a Vault's log. */
  async grow(vaultId: string, name: string): Promise<void> {
    await this.vault(vaultId).grant({
      grant_id: name,
      actor_id: this.network.submitter.actorId,
      task_class: "query",
      domain_id: "customer",
      record_scope: null,
      usage_scope: null,
      not_before_ms: null,
      not_after_ms: null,
    });
  }

  async end(): Promise<void> {
    for (const vaultId of [...this.vaults.keys()]) await this.close(vaultId);
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  #actor(vaultId: string): TestActor {
    const actor = this.network.vaults.find((each) => each.actorId === vaultId);
    if (actor === undefined) throw new Error(`${vaultId}: expected a Vault of the network`);
    return actor;
  }

  async #askOthers(
    vaultId: string,
    ask: (other: Vault) => Promise<Uint8Array>,
  ): Promise<Carried[]> {
    const answers: Carried[] = [];
    for (const [actorId, other] of this.vaults) {
      if (actorId === vaultId) continue;
      const answer = await ask(other).catch(() => undefined);
      if (answer !== undefined) answers.push({ actorId, answer });
    }
    return answers;
  }
}
