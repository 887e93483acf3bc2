import type { TaskEnvelope, TaskRequest } from "../../../../protocol/index.ts";
import { beginning, envelopeOf, requestOf, type Fixture } from "../vault-fixture.ts";

/** A request that the Vault was asked to admit. */
export interface Asked {
  readonly request: TaskRequest;
  readonly signed: Uint8Array;
  /** The Vault's signed decision. */
  readonly decision: Uint8Array;
}

/** Has the Vault decide on a request; `name` makes it another one. */
export async function ask(
  fixture: Fixture,
  name: string,
  changes: Partial<TaskRequest> = {},
): Promise<Asked> {
  const { request, signed } = await requestOf(fixture, name, {
    epsilon_micro: 1_000_000,
    ...changes,
  });
  const decision = await fixture.vault.decide(signed, fixture.governance);
  return { request, signed, decision };
}

/** Begins round 0 of an admitted request. */
export async function begin(fixture: Fixture, asked: Asked): Promise<TaskEnvelope> {
  const { vault, governance } = fixture;
  const envelope = envelopeOf(fixture, asked, asked.decision);
  const plan = await vault.prepareSlice(envelope, governance, { round: 0, attempt: 0 });
  await vault.beginExecution(beginning(fixture, envelope, plan));
  return envelope;
}

/** Admits a request, begins its round and settles it at its estimate. */
export async function runTask(fixture: Fixture, name: string): Promise<TaskEnvelope> {
  const envelope = await begin(fixture, await ask(fixture, name));
  await fixture.vault.settle(envelope, []);
  return envelope;
}
