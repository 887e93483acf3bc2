import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";

import { ROLES, type Check, type Finding, type Role } from "./findings.ts";
import { ANY_CHECKS, SIMULATOR_CHECKS, SNP_CHECKS, TDX_CHECKS } from "./host.ts";
import { thisMachine, type Machine } from "./machine.ts";
import { INSIDE_ENCLAVE_CHECKS, NITRO_PARENT_CHECKS } from "./nitro.ts";
import { vaultFindings } from "./vault.ts";

export const DOCTOR_HELP = `symphony doctor [--role ROLE] [--vault DIR] [--json]

Says what this machine can be in a network, what it lacks, and what to do about it. Changes nothing, prints no
secrets, and asks no server but the Vault named. Exits 1 when something is missing that every part needs or, with --role
or --vault, that this role or Vault needs.

  --role ROLE   only simulator, nitro-parent, inside-enclave, snp-guest or tdx-guest, and what every part needs
  --vault DIR   the running Vault whose folder this is: whether it may work, what keeps it, and its backups
  --json        one JSON object instead of lines
`;

const CHECKS: Readonly<Record<(typeof ROLES)[number], readonly Check[]>> = {
  any: ANY_CHECKS,
  simulator: SIMULATOR_CHECKS,
  "nitro-parent": NITRO_PARENT_CHECKS,
  "inside-enclave": INSIDE_ENCLAVE_CHECKS,
  "snp-guest": SNP_CHECKS,
  "tdx-guest": TDX_CHECKS,
};
const TITLES: Readonly<Record<Role, string>> = {
  any: "every part",
  simulator: "simulator",
  "nitro-parent": "nitro parent (an EC2 instance that starts enclaves)",
  "inside-enclave": "inside an enclave",
  "snp-guest": "snp guest",
  "tdx-guest": "tdx guest",
  vault: "vault",
};
const MARKS = { ok: "✓", warning: "!", missing: "✗" } as const;

/** `symphony doctor`. @returns the exit code */
export async function runDoctor(
  argv: readonly string[],
  io: CliIo,
  machine: Machine = thisMachine(),
): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      role: { type: "string" },
      vault: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const named = rolesOf(values.role);
  const machineRoles = values.role === undefined ? ROLES : named;
  const vaultRoles: readonly Role[] = values.vault === undefined ? [] : ["vault"];
  const shown = [...machineRoles, ...vaultRoles];
  const needed = [...named, ...vaultRoles];
  const findings = [
    ...machineRoles.flatMap((role) => CHECKS[role].map((check) => check(machine))),
    ...(values.vault === undefined ? [] : await vaultFindings(values.vault, machine.nowMs)),
  ];
  const isMissing = (role: Role): boolean =>
    findings.some((finding) => finding.role === role && finding.state === "missing");
  const ok = !needed.some(isMissing);
  const roles = shown.map((role) => ({ role, ready: !isMissing(role) && !isMissing("any") }));
  io.stdout(values.json ? `${JSON.stringify({ ok, roles, findings })}\n` : format(shown, findings));
  return ok ? EXIT.ok : EXIT.refused;
}

function rolesOf(name: string | undefined): readonly (typeof ROLES)[number][] {
  if (name === undefined) return ["any"];
  const role = ROLES.find((each) => each === name && each !== "any");
  if (role !== undefined) return ["any", role];
  throw new UsageError(`--role: expected one of ${ROLES.slice(1).join(", ")}, got ${name}`);
}

function format(roles: readonly Role[], findings: readonly Finding[]): string {
  const lines = roles.flatMap((role) => [
    TITLES[role],
    ...findings.filter((finding) => finding.role === role).flatMap(formatFinding),
  ]);
  return lines.map((line) => `${line}\n`).join("");
}

function formatFinding({ check, state, detail, remedy }: Finding): readonly string[] {
  const line = `  ${MARKS[state]} ${check}: ${detail}`;
  return remedy === null ? [line] : [line, `      remedy: ${remedy}`];
}
