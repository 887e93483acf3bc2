import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import type { Vault } from "../../../host/sovereignty/index.ts";
import { hex, sha256 } from "../../../protocol/index.ts";
import { customersWith, inEpoch, ingestIgnoring } from "../../helpers/pool-sources.ts";
import { describePlaces } from "../../helpers/store-places.ts";
import {
  consent,
  decoded,
  newFixture,
  newFolder,
  requestOf,
  stocked,
  type Fixture,
} from "./vault-fixture.ts";

describePlaces((places) => {
  async function ask(fixture: Fixture, name: string): Promise<string> {
    const { signed } = await requestOf(fixture, name);
    const answer = await fixture.vault.decide(signed, fixture.governance);
    const { outcome } = decoded(fixture, answer);
    return outcome.decision === "reserved" ? "reserved" : outcome.code;
  }

  test("[DS-5] [PB-2] a Vault decides from what it has stored, and the same after it was opened again", async () => {
    const directory = path.join(newFolder(), "vault");
    const fixture = await newFixture({ directory, store: places.newPlace() });
    await stocked(fixture, 12);
    const names = Array.from({ length: 6 }, (_, index) => `r${index}`);
    const codes = await Promise.all(names.map((name) => ask(fixture, name)));
    expect(codes.filter((code) => code === "reserved")).toHaveLength(2);
    const before = await stateOf(fixture.vault);
    const vault = await fixture.reopen();
    expect(await stateOf(vault)).toEqual(before);
    await consent(vault, "marketing", ["c-1"]);
    expect(vault.log.size).toBeGreaterThan(before.events);
  });

  test("[LA-1] what no attribute takes is in the pool, the same after it was opened again", async () => {
    const directory = path.join(newFolder(), "vault");
    const fixture = await newFixture({ directory, store: places.newPlace() });
    const ignore = ["score"];
    await ingestIgnoring(fixture, customersWith(60, "score", String), { epochId: 3, ignore });
    await ingestIgnoring(fixture, customersWith(50, "score", String), { epochId: 5, ignore });
    const governance = inEpoch(fixture.governance, 6);
    const pool = await fixture.vault.attributes.list("customers", governance);
    expect(pool.attributes).toMatchObject([{ column: "score", epochs_present: 2 }]);
    const vault = await fixture.reopen();
    expect(await vault.attributes.list("customers", governance)).toEqual(pool);
  });

  test("[PL-7] a new store beside batches is refused, every time, and costs no batch", async () => {
    const directory = path.join(newFolder(), "vault");
    const secretsFile = path.join(newFolder(), "secrets.cbor");
    const store = places.newPlace();
    const fixture = await newFixture({ directory, secretsFile, store });
    await stocked(fixture, 12);
    const { records } = await fixture.vault.status();
    await fixture.vault.close();
    const batches = filesIn(directory);
    expect(batches.size).toBeGreaterThan(0);
    const empty = places.newPlace();
    const otherSecrets = path.join(newFolder(), "secrets.cbor");
    const refusal = {
      code: "INTERNAL_STORE_UNAVAILABLE",
      message: expect.stringContaining(`the one that knows the ${batches.size} batches`),
    };
    for (const file of [secretsFile, secretsFile, otherSecrets]) {
      const opening = newFixture({ directory, secretsFile: file, store: empty });
      await expect(opening).rejects.toMatchObject(refusal);
      expect(filesIn(directory)).toEqual(batches);
    }
    expect(fs.existsSync(otherSecrets)).toBe(false);
    const { vault } = await newFixture({ directory, secretsFile, store });
    expect((await vault.status()).records).toBe(records);
  });

  function filesIn(directory: string): Map<string, string> {
    const folder = path.join(directory, "batches");
    return new Map(
      fs.readdirSync(folder).map((name) => {
        return [name, hex(sha256(fs.readFileSync(path.join(folder, name))))];
      }),
    );
  }

  async function stateOf(vault: Vault) {
    return {
      status: await vault.status(),
      root: hex(vault.log.root()),
      events: vault.log.size,
    };
  }
});
