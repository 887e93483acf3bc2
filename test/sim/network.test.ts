import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { createDemoNetwork } from "../../sim/demo/prepare.ts";
import { SIM_ACTORS } from "../../sim/network/create.ts";
import { startSimNetwork } from "../../sim/network/start.ts";
import { livePlan } from "../helpers/live-plan.ts";

const repositoryRoot = path.resolve(import.meta.dirname, "../..");

test("a network of which one process cannot start leaves none of the others", async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-network-"));
  onTestFinished(() => fs.rmSync(directory, { recursive: true, force: true }));
  const plan = livePlan({});
  await createDemoNetwork({ directory, repositoryRoot, plan, nowMs: Date.now() });
  // Fails at once, long before the Vaults that start beside it are up.
  const aggregator = path.join(directory, SIM_ACTORS.aggregator);
  fs.rmSync(aggregator, { recursive: true });
  fs.writeFileSync(aggregator, "no folder");
  const pids: number[] = [];
  const starting = startSimNetwork({
    ...{ repositoryRoot, directory, isolation: "none" },
    tell: (line) => pids.push(Number(/pid (\d+)/.exec(line)?.[1])),
  });
  await expect(starting).rejects.toThrow("EEXIST");
  // The key service, the coordinator, and each Vault.
  expect(pids).toHaveLength(2 + plan.vaults.length);
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
});
