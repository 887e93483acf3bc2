import { z } from "zod";

import {
  ROUND_MESSAGE,
  TASK_ENVELOPE,
  TASK_REQUEST,
  VAULT_DECISION,
  parseCose,
  type RoundMessage,
  type TaskState,
  type VaultDecision,
} from "../../protocol/index.ts";
import type { LiveCoordinator } from "./live-coordinator.ts";
import { customerData } from "./network-data.ts";
import { testDecision } from "./network-task.ts";
import type { TestActor } from "./network.ts";

/** What a Vault of a live coordinator has been asked about a task: whether it admits it. */
export interface AskedVault {
  readonly vault: TestActor;
  readonly workId: string;
  readonly signedRequest: Uint8Array;
}

/** Waits until each of `vaults` is asked about a task, over the nodes' listener. Other work stays undone. */
export async function askedOf(
  live: LiveCoordinator,
  taskId: string,
  vaults: readonly TestActor[] = live.network.vaults,
): Promise<AskedVault[]> {
  const asked: AskedVault[] = [];
  for (const vault of vaults) {
    for (;;) {
      const { work_id: workId, task_id, work } = await live.work(vault);
      if (work.kind !== "admit" || task_id !== taskId) continue;
      asked.push({ vault, workId, signedRequest: work.signed_request });
      break;
    }
  }
  return asked;
}

/** What each Vault says; null for one that says nothing. */
export type Answering = (decision: VaultDecision, vault: TestActor) => Uint8Array | null;

/** A Vault's own word. */
export const ownWord: Answering = (decision, vault) => VAULT_DECISION.sign(decision, vault.signing);

/** Answers as Vaults that reserved would, over data made up. */
export async function answerAll(
  live: LiveCoordinator,
  asked: readonly AskedVault[],
  answering: Answering = ownWord,
): Promise<void> {
  const data = customerData(
    asked.map(({ vault }) => vault.actorId),
    10,
  );
  for (const [index, { vault, workId, signedRequest }] of asked.entries()) {
    const own = data[index];
    if (own === undefined) throw new Error("expected data of each Vault");
    const request = TASK_REQUEST.decode(parseCose(signedRequest).payload);
    const answer = answering(testDecision(request, vault, own), vault);
    await live.node(vault).complete(workId, { answer, code: null });
  }
}

const moveSchema = z.object({ task_id: z.string(), to: z.string() });

/** Waits until a task, or the sub-task of one of its rounds, has come to a state. */
export async function reached(
  live: LiveCoordinator,
  taskId: string,
  state: TaskState,
): Promise<void> {
  const parent = taskId.replace(/\.r\d+$/, "");
  const signal = AbortSignal.timeout(60_000);
  for await (const { body } of live.client.events(parent, { signal })) {
    const { data } = moveSchema.safeParse(body);
    if (data?.task_id === taskId && data.to === state) return;
  }
  throw new Error(`${taskId}: expected it to be ${state}`);
}

/** Says something about a round of a dispatched task, as one who takes part in it. */
export async function say(
  live: LiveCoordinator,
  sender: TestActor,
  about: {
    readonly taskId: string;
    readonly round?: number;
    readonly body: RoundMessage["body"];
  },
): Promise<void> {
  const { taskId, round = 0, body } = about;
  const envelope = TASK_ENVELOPE.decode(await live.client.envelope(taskId));
  const message = ROUND_MESSAGE.sign(
    {
      envelope_digest: TASK_ENVELOPE.digest(envelope),
      ...{ round, attempt: 0, sender: sender.actorId, body },
    },
    sender.signing,
  );
  await live.node(sender).board(taskId, round).post(message);
}
