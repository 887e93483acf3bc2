import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterEach } from "vitest";

import type { KeyCustody, Vault } from "../../../host/sovereignty/index.ts";
import type { StorePlace } from "../../../host/store/index.ts";
import type { Policy } from "../../../protocol/index.ts";
import { openFixture, type Fixture } from "./vault-world.ts";

export {
  CUSTOMER_HEADER,
  OPEN_CUSTODY,
  PNG,
  QUERY,
  beginning,
  bytesIn,
  consent,
  counted,
  customerCsv,
  decoded,
  envelopeOf,
  grantAll,
  ingestReceipt,
  openFixture,
  parseRequest,
  recordsIn,
  requestOf,
  reservedOf,
  stocked,
  targetOf,
  type Fixture,
  type Reserved,
} from "./vault-world.ts";

const folders: string[] = [];
const vaults: Vault[] = [];

afterEach(async () => {
  for (const vault of vaults.splice(0)) await vault.close();
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

/** A folder that is removed after the test. */
export function newFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-vault-"));
  folders.push(folder);
  return folder;
}

/** A new Vault that is closed and removed after the test. */
export async function newFixture(
  options: {
    readonly directory?: string;
    readonly policy?: (policy: Policy) => Policy;
    readonly custody?: KeyCustody;
    readonly secretsFile?: string;
    readonly store?: StorePlace;
    readonly random?: (bytes: number) => Uint8Array;
  } = {},
): Promise<Fixture> {
  const directory = options.directory ?? path.join(newFolder(), "vault");
  return await openFixture({ ...options, directory, opened: (vault) => vaults.push(vault) });
}
