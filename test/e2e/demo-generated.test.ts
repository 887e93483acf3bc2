import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import {
  parseTrust,
  verifyBundle,
  type Trust,
  type VerificationReport,
} from "../../host/evidence/index.ts";
import { generateDemoCompanies, generateDemoReceipts } from "../../sim/data/index.ts";
import { accuraciesOfModel } from "../../sim/demo/accuracy.ts";
import { generatedPlan } from "../../sim/demo/generated.ts";
import { createDemoNetwork } from "../../sim/demo/prepare.ts";
import { distinct, exactHistogram, laplaceReach, logistic, rowsOf } from "../helpers/demo-truth.ts";
import { trainParametersOf } from "../helpers/demo-plan.ts";
import { runSymphony, type Ended } from "../helpers/symphony-process.ts";

const ROOT = join(import.meta.dirname, "../..");
const CLASSES = ["parse", "query", "compute", "train"] as const;
/** Flips tried in each evidence file. */
const FLIPS = 200;

interface Bundle {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly report: VerificationReport;
  /** What `results` holds of it. */
  readonly result: Readonly<Record<string, unknown>>;
}

let folder: string;
let ended: Ended;
let trust: Trust;
let trustFile: string;
const bundles = new Map<string, Bundle>();

async function readBundle(directory: string, name: string): Promise<Bundle> {
  const file = join(directory, "evidence", name);
  const bytes = new Uint8Array(await readFile(file));
  const result = join(directory, "results", name.replace(/\.symphony$/, ".json"));
  return {
    file,
    bytes,
    report: verifyBundle(bytes, trust),
    result: JSON.parse(await readFile(result, "utf8")),
  };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "symphony-demo-"));
  ended = await runSymphony(["demo"], { cwd: folder });
  if (ended.code !== 0) throw new Error(`demo: exit ${ended.code}\n${ended.stdout}${ended.stderr}`);
  const directory = join(folder, "symphony-demo");
  trustFile = join(directory, "trust.json");
  trust = parseTrust(await readFile(trustFile, "utf8"));
  for (const name of await readdir(join(directory, "evidence"))) {
    const bundle = await readBundle(directory, name);
    bundles.set(bundle.report.task_class ?? name, bundle);
  }
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function bundleOf(taskClass: string): Bundle {
  const bundle = bundles.get(taskClass);
  if (bundle === undefined) throw new Error(`${taskClass}: expected a bundle, got none`);
  return bundle;
}

function detailOf(taskClass: string, check: string): string {
  return bundleOf(taskClass).report.checks.find((each) => each.check === check)?.detail ?? "";
}

describe("symphony demo", () => {
  test("exits 0 and says how far each task is", () => {
    const { code, stdout, stderr } = ended;
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const said = (words: string): number => stdout.split(words).length - 1;
    for (const words of ["admitted by its Vaults", "settled in epoch", "delivered:", "completed"]) {
      expect([words, said(words)]).toEqual([words, CLASSES.length]);
    }
    // One Vault for parse, three for query and compute, three in each of five rounds of training.
    expect(said("attested its enclave")).toBe(1 + 3 + 3 + 15);
    expect(said("finished its slice")).toBe(1 + 3 + 3 + 15);
    expect(said("aggregator aggregated")).toBe(1 + 1 + 5);
    for (const taskClass of CLASSES) {
      expect(stdout).toMatch(new RegExp(`✓ ${taskClass} +[0-9.]+ s`));
    }
  });

  test("says how long it took", async (context) => {
    const first = Number(/first verified result after ([0-9.]+) s/.exec(ended.stdout)?.[1]);
    const whole = Number(/whole demo ([0-9.]+) s/.exec(ended.stdout)?.[1]);
    await context.annotate(`first verified result after ${first} s, whole demo ${whole} s`);
    expect(first).toBeGreaterThan(0);
    expect(whole).toBeGreaterThan(first);
  });

  test("[RT-3] says SIMULATED wherever a result, its evidence or its trust is shown", async () => {
    for (const taskClass of CLASSES) expect(bundleOf(taskClass).result["SIMULATED"]).toBe(true);
    expect(ended.stdout).toMatch(/^Symphony demo: SIMULATED/);
    expect(ended.stdout.match(/^ {2}result: .*\[SIMULATED\]$/gm)).toHaveLength(CLASSES.length);
    expect(JSON.parse(await readFile(trustFile, "utf8"))).toMatchObject({ simulated: true });
    for (const { report } of bundles.values()) expect(report.simulated).toBe(true);
  });

  test("leaves nothing running and no key readable by others", async () => {
    expect(await commandLinesWith(folder)).toEqual([]);
    const listing = spawnSync("find", [folder, "-name", "*.seed", "-perm", "/077"], {
      encoding: "utf8",
    });
    expect(listing.stdout).toBe("");
  });
});

describe("the four results", () => {
  const customers = generateDemoCompanies().map(({ csv }) => rowsOf(csv));

  test("[TC-6] parse reads one receipt right, in one Vault, for nothing", () => {
    const [truth] = generateDemoReceipts(1);
    expect(bundleOf("parse").result).toMatchObject({
      kind: "receipt",
      receipt: {
        merchant: { value: truth?.spec.merchant.toUpperCase() },
        date: { value: truth?.spec.date },
        total: { value: truth?.spec.total },
      },
    });
    expect(detailOf("parse", "vault decisions")).toBe("1 reserved, 0 declined");
    expect(detailOf("parse", "consumption")).toBe("greenleaf-grocers 0 micro-epsilon");
  });

  test("[PL-4] query counts an audience over three companies and names nobody", async (context) => {
    const matching = customers.flat().filter((row) => {
      const age = Number(row.get("age"));
      return age >= 30 && age < 50 && Number(row.get("balance")) >= 2_000;
    });
    const exact = distinct(matching, "email");
    const { result } = bundleOf("query");
    const line = `query: ${String(result["size"])} released, ${exact} exact`;
    await context.annotate(line);
    console.log(line);
    expect(result).toMatchObject({ kind: "audience", capped: false });
    // One person moves the union by 1, and by 4 more where it lifts one of three Vaults to the local threshold of 5.
    expect(Math.abs(Number(result["size"]) - exact)).toBeLessThanOrEqual(laplaceReach(13));
    expect(Object.keys(result).toSorted()).toEqual([
      "SIMULATED",
      "audience_handle",
      "capped",
      "kind",
      "partial_coverage",
      "size",
      "task_class",
    ]);
    const evidence = Buffer.from(bundleOf("query").bytes).toString("latin1");
    expect(evidence).not.toContain("@example.org");
  });

  test("[TC-3] query charges its epsilon to every Vault, and the evidence says so", () => {
    expect(detailOf("query", "consumption").split(", ")).toEqual(
      ["greenleaf-grocers", "harbour-bank", "northline-telecom"].map(
        (vaultId) => `${vaultId} 1000000 micro-epsilon`,
      ),
    );
  });

  test("[RT-4] compute releases a histogram near the exact one", async (context) => {
    const scores = customers.flat().map((row) =>
      logistic(
        [-0.6, -0.8, -1.1, 0.2],
        [
          { value: Number(row.get("age")), mean: 50, scale: 18 },
          { value: Number(row.get("balance")), mean: 3_000, scale: 2_500 },
          { value: Number(row.get("visits")), mean: 20, scale: 15 },
        ],
      ),
    );
    const edges = [0, 200_000, 400_000, 600_000, 800_000, 1_000_001];
    const exact = exactHistogram(scores, edges);
    const counts: unknown = bundleOf("compute").result["counts"];
    const line = `compute: ${JSON.stringify(counts)} released, ${exact.join()} exact`;
    await context.annotate(line);
    console.log(line);
    expect(counts).toHaveLength(exact.length);
    // A person may be in three Vaults, in each of which it can lift five to the local threshold.
    const reach = laplaceReach(15);
    for (const [bin, count] of (Array.isArray(counts) ? counts : []).entries()) {
      // A bin is withheld below the threshold of 20 and what its noise may hide.
      if (count === null) expect(exact[bin]).toBeLessThan(20 + 2 * reach);
      else expect(Math.abs(Number(count) - (exact[bin] ?? 0))).toBeLessThanOrEqual(reach);
    }
  });

  test("[TC-5] train is delivered because its last round moved the model less than the threshold", () => {
    const detail = detailOf("train", "acceptance criteria");
    expect(detail).toMatch(
      /^train, 5 rounds, the last moved the model by [1-9][0-9]* of at most 1000000 micro$/,
    );
  });

  test("[RT-4] train delivers a model that answers better than always the same", async (context) => {
    const { result, file } = bundleOf("train");
    expect(result).toMatchObject({ kind: "model", format: "onnx", rounds: 5 });
    expect(
      bundleOf("train").report.checks.filter(({ check }) => check.startsWith("round ")),
    ).toHaveLength(5);
    const path = file.replace("/evidence/", "/results/").replace(/\.symphony$/, ".onnx");
    const centres = generateDemoCompanies().map(({ csv }) => ({ csv, testCsv: csv }));
    const task = { parameters: trainParametersOf(generatedPlan()), subject: "email" };
    const model = new Uint8Array(await readFile(path));
    const accuracies = await accuraciesOfModel(model, centres, task);
    const line = `train: accuracy ${accuracies.map((each) => each.toFixed(3)).join(", ")}`;
    await context.annotate(line);
    console.log(line);
    const churned = customers.flat().filter((row) => row.get("churned") === "1").length;
    const constant = Math.max(churned, customers.flat().length - churned) / customers.flat().length;
    expect(Math.min(...accuracies)).toBeGreaterThan(constant);
  });
});

describe("symphony verify", () => {
  const cut = spawnSync("unshare", ["-rn", "true"]).status === 0 ? ["unshare", "-rn"] : [];

  test.for(CLASSES)("[PL-5] accepts the evidence of %s with nothing running", async (taskClass) => {
    const { file } = bundleOf(taskClass);
    const words = ["verify", file, "--trust", trustFile];
    const { code, stdout } = await runSymphony(words, { cwd: folder, prefix: cut });
    expect(stdout).toContain(`verified: ${taskClass} t-`);
    expect(stdout).not.toContain("✗");
    expect(stdout).toContain("SIMULATED");
    expect(code).toBe(0);
  });

  test.for(CLASSES)(`[PL-5] refuses %s with one byte flipped, at ${FLIPS} places`, (taskClass) => {
    const { bytes } = bundleOf(taskClass);
    const next = generator(taskClass);
    const unnoticed: number[] = [];
    for (let flip = 0; flip < FLIPS; flip += 1) {
      const at = next(bytes.length);
      const flipped = bytes.slice();
      flipped[at] = (bytes[at] ?? 0) ^ (1 + next(255));
      const { ok, failure, checks } = verifyBundle(flipped, trust);
      const last = checks.at(-1);
      const named = last?.ok === false && last.check === failure?.check;
      if (ok || !named) unnoticed.push(at);
    }
    expect(unnoticed).toEqual([]);
  });

  test("[PL-5] exits 1 and says what failed for a flipped byte", async () => {
    const next = generator("processes");
    for (const taskClass of ["parse", "query", "train"]) {
      const { bytes } = bundleOf(taskClass);
      const at = next(bytes.length);
      const path = join(folder, `flipped-${taskClass}.symphony`);
      const flipped = bytes.slice();
      flipped[at] = (bytes[at] ?? 0) ^ 1;
      await writeFile(path, flipped);
      const words = ["verify", path, "--trust", trustFile];
      const { code, stdout } = await runSymphony(words, { cwd: folder });
      expect([at, code]).toEqual([at, 1]);
      expect(stdout).toMatch(/^✗ [a-z ]+: [A-Z_]+: /m);
      expect(stdout).toContain("NOT verified: ");
    }
  });

  test("[PL-5] refuses the evidence of a network wholly made of other keys", async () => {
    const directory = join(folder, "other");
    await mkdir(directory);
    // The same plan under the same name, every key and root its own: to its verifier ours are an attacker's.
    const plan = generatedPlan();
    await createDemoNetwork({ directory, repositoryRoot: ROOT, plan, nowMs: Date.now() });
    const otherFile = join(directory, "trust.json");
    const other = parseTrust(await readFile(otherFile, "utf8"));
    const { file, bytes } = bundleOf("query");
    expect(verifyBundle(bytes, other).failure).toEqual({
      check: "governance",
      code: "GOVERNANCE_GENESIS_MISMATCH",
    });
    expect(verifyBundle(bytes, { ...trust, anchors: other.anchors }).failure).toMatchObject({
      check: "execution",
    });
    const words = ["verify", file, "--trust", otherFile];
    expect(await runSymphony(words, { cwd: folder })).toMatchObject({ code: 1 });
  });
});

describe("symphony demo, called wrongly or stopped", () => {
  test("ends by Ctrl-C in the middle of a task, says so and leaves nothing running", async () => {
    const cwd = join(folder, "stopped");
    await mkdir(cwd);
    const { code, stderr } = await runSymphony(["demo"], {
      cwd,
      interruptAt: "admitted by its Vaults",
    });
    expect(stderr).toContain("demo: was asked to stop");
    expect(code).toBe(3);
    expect(await commandLinesWith(cwd)).toEqual([]);
  });

  test.for([
    { title: "a folder without the sets", words: ["--data", "."], says: /found no heart-disease/ },
    {
      title: "a folder with something else in it",
      words: ["--dir", "."],
      says: /expected an empty/,
    },
    { title: "an option it has not", words: ["--fast"], says: /--fast/ },
  ])("exits 2 for $title", async ({ words, says }) => {
    const { code, stderr, stdout } = await runSymphony(["demo", ...words], { cwd: folder });
    expect(stderr).toMatch(says);
    expect({ code, stdout }).toMatchObject({ code: 2 });
  });
});

/** Command lines of the running processes that hold `text`; none where there is no /proc. */
async function commandLinesWith(text: string): Promise<string[]> {
  const names = await readdir("/proc").catch(() => []);
  const lines = await Promise.all(
    names
      .filter((name) => /^[0-9]+$/.test(name))
      .map(async (pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return lines.filter((line) => line.includes(text));
}

/** Numbers below a bound from a seed: the same places every time (a linear congruential generator, Knuth's MMIX). */
function generator(seed: string): (bound: number) => number {
  let state = BigInt(`0x${Buffer.from(seed).toString("hex")}`) & 0xffffffffffffffffn;
  return (bound) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(bound));
  };
}
