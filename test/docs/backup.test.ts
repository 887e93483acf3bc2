import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { hex } from "../../protocol/index.ts";
import { symphony } from "../helpers/spoken.ts";
import { operate } from "../host/http/vault/operated.ts";
import { freshRandom, localKeys } from "../host/sovereignty/sealed-vault.ts";
import { newFixture, newFolder, stocked } from "../host/sovereignty/vault-fixture.ts";
import { testSeed } from "../helpers/network.ts";

const PAGE = path.join(import.meta.dirname, "../../docs/backup.md");

/** The commands in the page's indented blocks. */
function commandsOf(page: string): string[][] {
  return [...page.matchAll(/^ {4}symphony (.*)$/gm)].map(([, command = ""]) => command.split(" "));
}

test("[PL-1] the commands of docs/backup.md do what the page says", async () => {
  const folder = newFolder();
  const directory = path.join(folder, "vault");
  const custody = localKeys(path.join(folder, "vault-keys.cbor"));
  const fixture = await newFixture({ directory, custody, random: freshRandom });
  await stocked(fixture);
  await operate(fixture);
  const seed = path.join(folder, "signing.seed");
  fs.writeFileSync(seed, hex(testSeed(`${fixture.actor.actorId} signing`)));
  const restored = {
    ...{ role: "vault", actor_id: fixture.actor.actorId, directory: "restored" },
    ...{ signing_seed_file: "signing.seed", box_seed_file: "box.seed" },
    ...{
      genesis_file: "genesis.cbor",
      trust_file: "trust.json",
      coordinator_url: "http://localhost",
    },
    operator_listen: { address: "127.0.0.1", port: 0 },
    key_custody: { kind: "local", file: "restored-keys.cbor" },
    secrets_file: "restored-secrets.cbor",
  };
  fs.writeFileSync(path.join(folder, "restored.json"), JSON.stringify(restored));
  const said: string[] = [];
  let id = "";
  for (const words of commandsOf(fs.readFileSync(PAGE, "utf8"))) {
    const spoken = words.map((word, index) => {
      if (word === "ID") return id;
      if (word === "p-1") return "c-3";
      return /^(vault|backup-1.*|restored\.json)$/.test(word) && index > 0
        ? path.join(folder, word)
        : word;
    });
    if (words[1] === "restore") {
      // What a lost machine takes with it; the register was kept.
      fs.renameSync(
        path.join(directory, "vault-secrets.cbor.backups"),
        path.join(folder, "restored-secrets.cbor.backups"),
      );
    }
    const { exit, out, err } = await symphony(...spoken);
    expect({ words, exit, err: err.replace(/\d+ of \d+ (batches|files)\n/g, "") }).toEqual({
      ...{ words, exit: 0, err: "" },
    });
    id = /^backup ([0-9a-f]{32})/.exec(out)?.[1] ?? id;
    said.push(out);
  }
  const [made, listed, verified, back, erased, after, ended] = said;
  expect(made).toMatch(/^backup [0-9a-f]{32}: \d+ bytes, the log up to event \d+\n$/);
  expect(listed).toContain(`${id}  whole`);
  expect(verified).toMatch(/: \d+ files, \d+ bytes, whole\n$/);
  expect(back).toContain("is in place");
  expect(fs.existsSync(path.join(folder, "restored", "vault.db"))).toBe(true);
  expect(JSON.parse(erased ?? "")).toMatchObject({ backups: { expired: 1, outstanding: 0 } });
  expect(after).toContain(`${id}  destroyed`);
  expect(ended).toBe(`backup ${id}: destroyed\n`);
});
