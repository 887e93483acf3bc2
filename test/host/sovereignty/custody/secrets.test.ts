import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { openSecrets } from "../../../../host/sovereignty/custody/secrets.ts";

test("secrets that are kept apart from the Vault get a folder that their owner alone may enter", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-secrets-"));
  onTestFinished(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, "apart", "vault-secrets.cbor");
  const { fingerprint } = openSecrets(file, (bytes) => new Uint8Array(bytes));
  const modeOf = (name: string): string => (fs.statSync(name).mode % 0o1000).toString(8);
  expect([modeOf(path.dirname(file)), modeOf(file)]).toEqual(["700", "600"]);
  expect(openSecrets(file, () => new Uint8Array(0)).fingerprint).toEqual(fingerprint);
});
