import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { aggregatorConfigSchema, readConfig, storePlaceOf } from "../../../host/run/config.ts";

const CONFIG = {
  role: "aggregator",
  actor_id: "aggregator-1",
  directory: "data",
  signing_seed_file: "signing.seed",
  genesis_file: "genesis.cbor",
  trust_file: "trust.json",
  coordinator_url: "http://127.0.0.1:1",
};

function write(config: object): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-config-"));
  onTestFinished(() => fs.rmSync(folder, { recursive: true }));
  fs.writeFileSync(path.join(folder, "config.json"), JSON.stringify(config));
  fs.writeFileSync(path.join(folder, "store.url"), "postgresql://u:secret@localhost/d\n");
  return folder;
}

test("without a store a node keeps its state in a file of its directory", async () => {
  const folder = write(CONFIG);
  const config = await readConfig(path.join(folder, "config.json"), aggregatorConfigSchema);
  const file = path.join(folder, "data", "aggregator.db");
  expect(await storePlaceOf(config, "aggregator.db")).toEqual({ kind: "sqlite", file });
});

test("a store is a schema of the server whose URL a file of its own names", async () => {
  const folder = write({ ...CONFIG, store: { url_file: "store.url", schema: "aggregator" } });
  const config = await readConfig(path.join(folder, "config.json"), aggregatorConfigSchema);
  expect(await storePlaceOf(config, "aggregator.db")).toEqual({
    kind: "postgres",
    url: "postgresql://u:secret@localhost/d",
    schema: "aggregator",
  });
});

test.for<{ title: string; store: object }>([
  { title: "no schema", store: { url_file: "store.url" } },
  { title: "the URL itself", store: { url: "postgresql://u:secret@localhost/d", schema: "s" } },
])("refuses a store with $title", async ({ store }) => {
  const folder = write({ ...CONFIG, store });
  const read = readConfig(path.join(folder, "config.json"), aggregatorConfigSchema);
  await expect(read).rejects.toMatchObject({ code: "SCHEMA_CONFIG_MALFORMED" });
  await expect(read).rejects.not.toThrow(/secret/);
});
