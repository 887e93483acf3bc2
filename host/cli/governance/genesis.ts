import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

import { AWS_NITRO_ROOT_G1 } from "#attestation";
import { EXIT, UsageError, type CliIo } from "#cli";
import { GENESIS, genesisState, hex } from "#protocol";

import { formatTrust } from "../../evidence/index.ts";
import { readAuthored } from "../authored-file.ts";
import type { NetworkFile } from "../network-files.ts";
import { readPublicKeys } from "../public-keys.ts";
import { lintPolicy } from "../policy/lint.ts";
import { readPolicy } from "../policy/policy-file.ts";
import { readRegistryDocument } from "../registry/document.ts";
import { foundingSchema, genesisOf, requireWorkable } from "./founding.ts";

export const GENESIS_HELP = `
  genesis FILE    found a network on hardware: write genesis.cbor and trust.json of the founding document FILE to the folder
                  --out, and network.json, with which commands take it as --dir. The same documents give the same genesis:
                  who joins does it too, and compares the digest`;

const FOUNDING_BOUND = { subject: "founding document", bytesMax: 1024 * 1024 };

interface GenesisOptions {
  readonly out?: string | undefined;
  /** Who submits from the folder. */
  readonly as?: string | undefined;
  readonly json: boolean;
}

/** `symphony governance genesis`. @throws UsageError, and MalformedError and VerificationError for what the files say */
export async function runGenesis(
  [file, ...more]: readonly (string | undefined)[],
  { out, as, json }: GenesisOptions,
  io: CliIo,
): Promise<number> {
  if (file === undefined || more.length > 0) throw new UsageError("genesis: expected one FILE");
  if (out === undefined) throw new UsageError("--out: expected a folder, got none");
  const { genesis, url, digest, bytes, findings } = await readFounding(file);
  const { network, actors } = genesis;
  const submitter = actors.find((actor) => actor.actor_id === (as ?? genesis.coordinator_id));
  if (submitter === undefined)
    throw new UsageError(`--as: expected an actor of ${file}, got ${as}`);
  const networkFile: NetworkFile = {
    ...{ network, simulated: false, coordinator_url: url, genesis_digest: hex(digest) },
    ...{ submitter_id: submitter.actor_id, vaults: [] },
  };
  const trust = { network, genesisDigest: digest, anchors: [AWS_NITRO_ROOT_G1] };
  await mkdir(out, { recursive: true });
  await placeText(join(out, "trust.json"), formatTrust(trust));
  await placeText(join(out, "network.json"), `${JSON.stringify(networkFile, null, 2)}\n`);
  // Last, so that a folder that has it has all; and never replaced.
  await writeFile(join(out, "genesis.cbor"), bytes, { flag: "wx" });
  io.stdout(
    json
      ? `${JSON.stringify({ network, genesis_digest: hex(digest), findings })}\n`
      : [
          `network ${network}`,
          `genesis ${hex(digest)}`,
          ...findings.map(({ path, message }) => `look again at policy ${path}: ${message}`),
          "",
        ].join("\n"),
  );
  return EXIT.ok;
}

/** Writes a file that was not there. One that has this text already is of a founding that was interrupted. */
async function placeText(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: "wx" });
  } catch (error) {
    if (!existsSync(file) || (await readFile(file, "utf8")) !== text) throw error;
  }
}

/** The genesis that a founding document and the files it names come to, and what is seldom meant in its policy. */
async function readFounding(file: string) {
  const founding = await readAuthored(file, foundingSchema, FOUNDING_BOUND);
  const near = (name: string): string => resolve(dirname(file), name);
  const [policy, semantics] = [
    await readPolicy(near(founding.policy)),
    await readRegistryDocument(near(founding.semantics), NOTHING_REGISTERED),
  ];
  const keys = new Map<string, Awaited<ReturnType<typeof readPublicKeys>>>();
  for (const name of [...founding.governance_keys, ...founding.actors.map((each) => each.keys)]) {
    keys.set(name, await readPublicKeys(near(name)));
  }
  const genesis = genesisOf(founding, { policy, semantics, keys });
  requireWorkable(genesis);
  const bytes = GENESIS.encode(genesis);
  const digest = genesisState(bytes).genesisDigest;
  const findings = lintPolicy(policy, genesis.opened_ms);
  return { genesis, url: founding.coordinator_url, digest, bytes, findings };
}

const NOTHING_REGISTERED = {
  semantic_version: "none",
  domains: [],
  attributes: [],
  query_attributes: [],
  derivation_rules: [],
  record_scopes: [],
};
