import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { followTask, runNode, type EnclaveLauncher } from "../../host/index.ts";
import {
  TaskClient,
  type SymphonyClient,
  type Task,
  type VaultClient,
} from "../../host/client/index.ts";
import { plainJson } from "../../host/http/index.ts";
import type { TaskResult } from "../../protocol/index.ts";
import { chooseIsolation } from "../../sim/demo/isolation.ts";
import {
  createDemoNetwork,
  fillVaults,
  operatorOf,
  registerModels,
} from "../../sim/demo/prepare.ts";
import { SIM_ACTORS } from "../../sim/network/create.ts";
import type { DemoPlan, PlannedContext, PlannedTask } from "../../sim/network/plan.ts";
import { startSimNetwork, type RunningNetwork } from "../../sim/network/start.ts";
import type { Isolation } from "../../sim/sandbox.ts";
import { clientIn } from "./spoken.ts";

export const REPOSITORY_ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** How a task stands at its end. */
export interface EndedTask {
  readonly taskId: string;
  readonly state: string;
  readonly reason: string | null;
  readonly delivered: boolean;
  /** Lines that `followTask` told. */
  readonly lines: readonly string[];
}

/** A Vault's privacy budget for one purpose as its operator sees it. */
export interface BudgetView {
  readonly consumedMicro: number;
  readonly reservedMicro: number;
  /** Reservations of all purposes that are open. */
  readonly open: { readonly reserved: number; readonly executing: number };
}

/** A node that runs in the test's own process, in place of one of the network's processes. */
export interface InProcessNode {
  /** What it reported to its operator. */
  readonly events: readonly Readonly<Record<string, unknown>>[];
  stop(): Promise<void>;
}

/** A simulated network that is up, its models registered, its Vaults filled, with a submitter. */
export interface LiveNetwork {
  readonly directory: string;
  readonly plan: DemoPlan;
  readonly network: RunningNetwork;
  readonly isolation: Isolation;
  /** The network as its submitter uses it. */
  readonly submitter: SymphonyClient;
  /** The coordinator's routes one by one. */
  readonly client: TaskClient;
  readonly context: PlannedContext;
  operator(vaultId: string): Promise<VaultClient>;
  /** Submits a planned task with the published client and returns its identifier. `change` edits it before. */
  submit(task: PlannedTask, change?: (task: Task) => Task): Promise<string>;
  follow(taskId: string): Promise<EndedTask>;
  run(task: PlannedTask, change?: (task: Task) => Task): Promise<EndedTask>;
  /** How a Vault's budget stands; most consumed and reserved of any subject. */
  budget(vaultId: string, usageScope: string): Promise<BudgetView>;
  /** The same, once no reservation is open. */
  settledBudget(vaultId: string, usageScope: string): Promise<BudgetView>;
  /** Opens a delivered task's result as the submitter. */
  open(taskId: string): Promise<TaskResult>;
  /** Stops a Vault or the aggregator and runs it in this process with another launcher, until stopped. */
  runInProcess(actorId: string, launcher: EnclaveLauncher): Promise<InProcessNode>;
  /** Ends an actor's process and adds to its configuration. `network.restart` starts it again. */
  configure(actorId: string, change: Readonly<Record<string, unknown>>): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts a simulated network of processes in a temporary folder, registers the plan's models and fills its Vaults.
 * Stop it in `afterAll`, whatever happened.
 */
export async function startLiveNetwork(plan: DemoPlan): Promise<LiveNetwork> {
  const directory = await mkdtemp(join(tmpdir(), "symphony-live-"));
  const isolation = await chooseIsolation(false, () => undefined);
  const repositoryRoot = REPOSITORY_ROOT;
  await createDemoNetwork({ directory, repositoryRoot, plan, nowMs: Date.now() });
  const network = await startSimNetwork({ repositoryRoot, directory, isolation });
  try {
    const client = new TaskClient(network.publicUrl);
    await registerModels({ network, client, plan, nowMs: Date.now });
    const context = await fillVaults({ network, plan, tell: () => undefined });
    const submitter = await clientIn(directory);
    return new Live({ directory, plan, network, isolation, submitter, client, context });
  } catch (error) {
    await network.stop();
    throw error;
  }
}

const SETTLED_MS_MAX = 60_000;

type LiveParts = Pick<
  LiveNetwork,
  "directory" | "plan" | "network" | "isolation" | "submitter" | "client" | "context"
>;

class Live implements LiveNetwork {
  readonly directory: string;
  readonly plan: DemoPlan;
  readonly network: RunningNetwork;
  readonly isolation: Isolation;
  readonly submitter: SymphonyClient;
  readonly client: TaskClient;
  readonly context: PlannedContext;
  readonly #inProcess = new Map<string, InProcessNode>();

  constructor(parts: LiveParts) {
    this.directory = parts.directory;
    this.plan = parts.plan;
    this.network = parts.network;
    this.isolation = parts.isolation;
    this.submitter = parts.submitter;
    this.client = parts.client;
    this.context = parts.context;
  }

  operator(vaultId: string): Promise<VaultClient> {
    return operatorOf(this.network, vaultId);
  }

  async submit(task: PlannedTask, change: (task: Task) => Task = (same) => same): Promise<string> {
    const plain: Task = {
      record_scope: task.scope,
      usage_scope: task.usageScope,
      vault_ids: [...task.vaultIds],
      parameters: plainJson(task.parameters(this.context)),
      epsilon_micro: task.epsilonMicro,
      budget_lock_minor: task.taskClass === "parse" ? 0 : 20_000,
      task_timeout_ms: 5 * 60_000,
    };
    return (await this.submitter.submit(change(plain))).task_id;
  }

  async follow(taskId: string): Promise<EndedTask> {
    const lines: string[] = [];
    const { state, reason, delivered } = await followTask(this.client, taskId, (line) => {
      lines.push(line);
    });
    return { taskId, state, reason, delivered, lines };
  }

  async run(task: PlannedTask, change?: (task: Task) => Task): Promise<EndedTask> {
    return this.follow(await this.submit(task, change));
  }

  async budget(vaultId: string, usageScope: string): Promise<BudgetView> {
    const status = await (await this.operator(vaultId)).status();
    const budget = status.budgets.find((each) => each.usageScope === usageScope);
    return {
      consumedMicro: budget?.consumedMaxMicro ?? 0,
      reservedMicro: budget?.reservedMaxMicro ?? 0,
      open: status.reservations,
    };
  }

  async settledBudget(vaultId: string, usageScope: string): Promise<BudgetView> {
    const deadlineMs = Date.now() + SETTLED_MS_MAX;
    for (;;) {
      const budget = await this.budget(vaultId, usageScope);
      const isOpen = budget.open.reserved + budget.open.executing > 0;
      if (!isOpen || Date.now() >= deadlineMs) return budget;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async open(taskId: string): Promise<TaskResult> {
    return this.submitter.result(taskId);
  }

  async runInProcess(actorId: string, launcher: EnclaveLauncher): Promise<InProcessNode> {
    await this.#end(actorId);
    const path = join(this.directory, actorId, "config.json");
    const stop = new AbortController();
    const events: Readonly<Record<string, unknown>>[] = [];
    let done: Promise<void> = Promise.resolve();
    await new Promise<void>((ready, fail) => {
      const environment = {
        nowMs: Date.now,
        random: (bytes: number) => new Uint8Array(randomBytes(bytes)),
        report: (event: Readonly<Record<string, unknown>>) => {
          events.push(event);
          if (event["event"] === "ready") ready();
        },
        signal: stop.signal,
      };
      const role = actorId === SIM_ACTORS.aggregator ? "aggregator" : "vault";
      done = runNode({ role, configFile: path, launcherFor: () => launcher }, environment);
      done.catch(fail);
    });
    const node: InProcessNode = {
      events,
      stop: async () => {
        this.#inProcess.delete(actorId);
        stop.abort();
        await done;
      },
    };
    this.#inProcess.set(actorId, node);
    return node;
  }

  async configure(actorId: string, change: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#end(actorId);
    const path = join(this.directory, actorId, "config.json");
    const config: unknown = JSON.parse(await readFile(path, "utf8"));
    if (typeof config !== "object" || config === null) throw new Error(`${path}: expected a map`);
    await writeFile(path, JSON.stringify({ ...config, ...change }), { mode: 0o600 });
  }

  async #end(actorId: string): Promise<void> {
    await this.#inProcess.get(actorId)?.stop();
    const running = this.network.processes.get(actorId);
    running?.kill();
    await running?.exited;
  }

  async stop(): Promise<void> {
    await Promise.all([
      ...[...this.#inProcess.values()].map((node) => node.stop()),
      this.network.stop(),
    ]);
    await rm(this.directory, { recursive: true, force: true });
  }
}
