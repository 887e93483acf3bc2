import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { EXIT } from "#cli";
import {
  TaskClient,
  followTask,
  openDelivery,
  parseTrust,
  readSeed,
  resultLine,
  resultView,
  verifyBundle,
} from "#host";
import {
  TASK_REQUEST,
  UnavailableError,
  boxKeyPairFromSeed,
  signingKeyFromSeed,
  type TaskRequest,
  type TaskResult,
} from "#protocol";
import type { SimProcess } from "../process.ts";
import type { DemoPlan, PlannedContext, PlannedReport, PlannedTask } from "../network/plan.ts";
import { SIM_ACTORS } from "../network/create.ts";
import { startSimNetwork, type RunningNetwork } from "../network/start.ts";
import { chooseIsolation } from "./isolation.ts";
import { generatedPlan } from "./generated.ts";
import { genuinePlan } from "./genuine.ts";
import { clearDemoDirectory, createDemoNetwork, fillVaults, registerModels } from "./prepare.ts";

/** What one task of the demo came to. */
interface DemoOutcome {
  readonly task: PlannedTask;
  readonly taskId: string;
  readonly state: string;
  readonly result: TaskResult | undefined;
  readonly bundleFile: string | undefined;
  readonly verified: boolean;
  readonly ms: number;
}

/** `symphony demo`: exit code 0 when every task was delivered and its evidence verified. */
export async function runDemo(argv: readonly string[], sim: SimProcess): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      dir: { type: "string", default: "symphony-demo" },
      data: { type: "string" },
      keep: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      "insecure-no-isolation": { type: "boolean", default: false },
    },
  });
  const tell = (line: string): void => {
    if (!values.json) sim.io.stdout(`${line}\n`);
  };
  const startedMs = sim.nowMs();
  const directory = resolve(values.dir);
  const plan = values.data === undefined ? generatedPlan() : genuinePlan(resolve(values.data));
  tell(`Symphony demo: SIMULATED enclaves, ${plan.vaults.length} organisations, in ${directory}`);
  const isolation = await chooseIsolation(values["insecure-no-isolation"], tell);
  await clearDemoDirectory(directory);
  const { repositoryRoot, nowMs } = sim;
  await createDemoNetwork({ directory, repositoryRoot, plan, nowMs: nowMs() });
  const network = await startSimNetwork({ repositoryRoot, directory, isolation });
  try {
    const demo = { network, plan, sim, tell, startedMs };
    const outcomes = await unlessStopped(runTasks(demo), sim.signal);
    const report = await plan.report?.(outcomes);
    summarise(outcomes, { ...demo, report, json: values.json });
    if (values.keep) await untilStopped(network, sim, tell);
    return outcomes.every(({ verified }) => verified) ? EXIT.ok : EXIT.refused;
  } finally {
    await network.stop();
  }
}

interface Demo {
  readonly network: RunningNetwork;
  readonly plan: DemoPlan;
  readonly sim: SimProcess;
  readonly tell: (line: string) => void;
  readonly startedMs: number;
}

/** What `work` comes to, unless the demo is asked to stop: then what fails for want of its processes is no bug. */
async function unlessStopped<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const asked = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(stopped()), { once: true });
  });
  return await Promise.race([work, asked]).catch((error: unknown) => {
    throw signal.aborted ? stopped() : error;
  });
}

function stopped(): UnavailableError {
  return new UnavailableError({ code: "COORDINATION_UNAVAILABLE" }, "demo: was asked to stop");
}

async function runTasks(demo: Demo): Promise<DemoOutcome[]> {
  const { network, plan, sim, tell } = demo;
  tell(
    `${network.processes.size} processes are up; the coordinator answers at ${network.publicUrl}`,
  );
  const client = new TaskClient(network.publicUrl);
  await registerModels({ network, client, plan, nowMs: sim.nowMs });
  const context = await fillVaults({ network, plan, tell });
  const outcomes: DemoOutcome[] = [];
  for (const task of plan.tasks) {
    if (sim.signal.aborted) throw stopped();
    const outcome = await runTask(task, context, demo);
    outcomes.push(outcome);
    if (outcomes.length === 1 && outcome.verified) {
      tell(`  first verified result after ${seconds(sim.nowMs() - demo.startedMs)}`);
    }
  }
  return outcomes;
}

async function runTask(
  task: PlannedTask,
  context: PlannedContext,
  { network, sim, tell }: Demo,
): Promise<DemoOutcome> {
  const startedMs = sim.nowMs();
  tell(`\n${task.taskClass}: ${task.title}`);
  const client = new TaskClient(network.publicUrl);
  const home = join(network.directory, "submitter");
  const signingKey = signingKeyFromSeed(await readSeed(join(home, "signing.seed")));
  const deliveryKey = await boxKeyPairFromSeed(await readSeed(join(home, "box.seed")));
  const request: TaskRequest = {
    version: 1,
    request_id: sim.random(16),
    genesis_digest: network.genesisDigest,
    actor_id: SIM_ACTORS.submitter,
    task_class: task.taskClass,
    record_scope: task.scope,
    usage_scope: task.usageScope,
    vault_ids: [...task.vaultIds],
    parameters: task.parameters(context),
    vault_attributes: [],
    epsilon_micro: task.epsilonMicro,
    budget_lock_minor: task.taskClass === "parse" ? 0 : 20_000,
    delivery_key: deliveryKey.publicKey,
    created_ms: sim.nowMs(),
    task_timeout_ms: 5 * 60_000,
  };
  const { task_id: taskId } = await client.submit(TASK_REQUEST.sign(request, signingKey));
  const ended = await followTask(client, taskId, (line) => tell(`  ${line}`));
  const base = { task, taskId, state: ended.state };
  if (ended.state !== "completed" || !ended.delivered) {
    tell(`  ended ${ended.state}: ${ended.reason ?? "no reason given"}`);
    const ms = sim.nowMs() - startedMs;
    return { ...base, result: undefined, bundleFile: undefined, verified: false, ms };
  }
  const governance = await client.governance(network.genesisDigest);
  const delivery = await client.delivery(taskId);
  const result = await openDelivery({ delivery, deliveryKey, governance });
  tell(`  result: ${resultLine(result)}`);
  await keepResult(network.directory, taskId, result);
  const evidence = await checkEvidence(client, network.directory, taskId, tell);
  return { ...base, result, ...evidence, ms: sim.nowMs() - startedMs };
}

async function keepResult(directory: string, taskId: string, result: TaskResult): Promise<void> {
  const folder = join(directory, "results");
  await mkdir(folder, { recursive: true });
  const text = `${JSON.stringify(resultView(result), null, 2)}\n`;
  await writeFile(join(folder, `${taskId}.json`), text);
  if (result.result.kind === "model") {
    await writeFile(join(folder, `${taskId}.onnx`), result.result.model);
  }
}

async function checkEvidence(
  client: TaskClient,
  directory: string,
  taskId: string,
  tell: (line: string) => void,
): Promise<{ readonly bundleFile: string; readonly verified: boolean }> {
  const folder = join(directory, "evidence");
  await mkdir(folder, { recursive: true });
  const bundle = await client.evidence(taskId);
  const bundleFile = join(folder, `${taskId}.symphony`);
  await writeFile(bundleFile, bundle);
  const trust = parseTrust(await readFile(join(directory, "trust.json"), "utf8"));
  const report = verifyBundle(bundle, trust);
  const failed = report.checks.find(({ ok }) => !ok);
  tell(
    failed === undefined
      ? `  evidence verified: ${report.checks.length} checks, ${bundle.length} bytes`
      : `  evidence NOT verified: ${failed.check}: ${failed.detail}`,
  );
  return { bundleFile, verified: report.ok };
}

function summarise(
  outcomes: readonly DemoOutcome[],
  {
    sim,
    network,
    startedMs,
    report,
    json,
    tell,
  }: Demo & { readonly report: PlannedReport | undefined; readonly json: boolean },
): void {
  const totalMs = sim.nowMs() - startedMs;
  if (json) {
    const tasks = outcomes.map(({ task, taskId, state, result, bundleFile, verified, ms }) => ({
      task_class: task.taskClass,
      task_id: taskId,
      state,
      verified,
      ms,
      evidence: bundleFile ?? null,
      result: result === undefined ? null : resultView(result),
    }));
    sim.io.stdout(
      `${JSON.stringify({ SIMULATED: true, total_ms: totalMs, tasks, ...report?.facts })}\n`,
    );
    return;
  }
  tell("\nSummary (SIMULATED: no hardware protected any of this)");
  for (const { task, state, verified, ms, result } of outcomes) {
    const line = result === undefined ? state : resultLine(result);
    tell(
      `  ${verified ? "✓" : "✗"} ${task.taskClass.padEnd(8)} ${seconds(ms).padStart(7)}  ${line}`,
    );
  }
  const example = outcomes.find(({ bundleFile }) => bundleFile !== undefined)?.bundleFile ?? "FILE";
  tell(`  whole demo ${seconds(totalMs)}`);
  for (const line of report?.lines ?? []) tell(line);
  tell(`\nCheck the evidence yourself, with nothing running:`);
  tell(`  node bin/symphony.js verify ${example} --trust ${join(network.directory, "trust.json")}`);
}

async function untilStopped(
  network: RunningNetwork,
  sim: SimProcess,
  tell: (line: string) => void,
): Promise<void> {
  tell(`\nThe network goes on at ${network.publicUrl}; Ctrl-C stops it.`);
  await new Promise<void>((stop) => {
    if (sim.signal.aborted) stop();
    sim.signal.addEventListener("abort", () => stop(), { once: true });
  });
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
