import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { AWS_NITRO_ROOT_G1 } from "#attestation";
import { GENESIS, MalformedError, genesisSchema, genesisState, hex, type Genesis } from "#protocol";

import { formatTrust } from "../../evidence/index.ts";
import { readGoverned } from "./governed-file.ts";

/** What came of writing a network's founding files. */
export interface Founded {
  readonly network: string;
  /** What every actor pins, hex. */
  readonly genesis_digest: string;
  readonly genesis_file: string;
  readonly trust_file: string;
}

/**
 * Writes the genesis that a person wrote in YAML or JSON as its canonical bytes, and the trust file of a network whose
 * hardware is AWS Nitro, into a folder that has neither.
 *
 * @throws MalformedError SCHEMA_JSON_MALFORMED, SCHEMA_CONFIG_MALFORMED, and as `genesisState`: a network that could do nothing
 */
export async function writeGenesis(file: string, folder: string): Promise<Founded> {
  const genesis = await readGoverned(file, genesisSchema, "genesis");
  requireHardware(genesis);
  const bytes = GENESIS.encode(genesis);
  const { genesisDigest } = genesisState(bytes);
  const { network } = genesis;
  const trust = formatTrust({ network, genesisDigest, anchors: [AWS_NITRO_ROOT_G1] });
  const founded = {
    network,
    genesis_digest: hex(genesisDigest),
    genesis_file: join(folder, "genesis.cbor"),
    trust_file: join(folder, "trust.json"),
  };
  await mkdir(folder, { recursive: true });
  await writeFile(founded.genesis_file, bytes, { flag: "wx" });
  await writeFile(founded.trust_file, trust, { flag: "wx" });
  return founded;
}

/** A simulated network is made by the simulator, with a root of its own. */
function requireHardware({ simulated, policy }: Genesis): void {
  const platforms: readonly string[] = policy.attestation.platforms;
  const others = platforms.filter((name) => name !== "aws-nitro");
  if (!simulated && others.length === 0) return;
  const [field, expected, got] = simulated
    ? ["simulated", "false", "true"]
    : ["policy.attestation.platforms", "aws-nitro alone", others.join(", ")];
  throw new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field },
    `genesis, ${field}: expected ${expected}, got ${got}`,
  );
}
