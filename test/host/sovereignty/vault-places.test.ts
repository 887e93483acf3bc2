import path from "node:path";

import { expect, test } from "vitest";

import type { Vault } from "../../../host/sovereignty/index.ts";
import { hex } from "../../../protocol/index.ts";
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

  async function stateOf(vault: Vault) {
    return {
      status: await vault.status(),
      root: hex(vault.log.root()),
      events: vault.log.size,
    };
  }
});
