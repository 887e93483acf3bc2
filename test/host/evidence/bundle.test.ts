import { afterAll, beforeAll, expect, test } from "vitest";

import { verifyBundle, type Trust } from "../../../host/evidence/index.ts";
import { settleRun, closeRun, runTask, type SettledRun } from "../../helpers/evidence-rig.ts";

let settled: SettledRun;
let trust: Trust;

beforeAll(async () => {
  settled = await settleRun(await runTask());
  trust = {
    network: settled.run.network.genesis.network,
    genesisDigest: settled.run.network.genesisDigest,
    anchors: settled.run.anchors,
    simulated: true,
  };
});

afterAll(() => closeRun(settled.run));

test("a genuine file verifies", () => {
  const report = verifyBundle(settled.file, trust);
  console.log(report, settled.file.length);
  expect(report.ok).toBe(true);
});
