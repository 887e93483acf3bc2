import type { Machine } from "./machine.ts";

/** What a machine can be in a network; `any` is what each of them needs. */
export const ROLES = [
  "any",
  "simulator",
  "nitro-parent",
  "inside-enclave",
  "snp-guest",
  "tdx-guest",
] as const;

/** One of {@link ROLES}, a Vault that runs, or a node by its configuration. */
export type Role = (typeof ROLES)[number] | "vault" | "node";

/** One thing looked at: `missing` keeps the machine from its role, `warning` does not. */
export interface Finding {
  readonly role: Role;
  readonly check: string;
  readonly state: "ok" | "warning" | "missing";
  readonly detail: string;
  /** What to do; null when nothing is. */
  readonly remedy: string | null;
}

/** Something to look at on a machine. */
export type Check = (machine: Machine) => Finding;

/** A finding that all is well. */
export function ok(role: Role, check: string, detail: string): Finding {
  return { role, check, state: "ok", detail, remedy: null };
}

/** A finding that something is not as it should be, and what to do. */
export function wanting(
  state: "warning" | "missing",
  { role, check, detail, remedy }: Omit<Finding, "state"> & { readonly remedy: string },
): Finding {
  return { role, check, state, detail, remedy };
}

/** A device file that its role cannot do without. */
export function deviceCheck(
  role: Role,
  file: string,
  { check, absent, denied }: Readonly<Record<"check" | "absent" | "denied", string>>,
): Check {
  return (machine) => {
    switch (machine.access(file)) {
      case "ok":
        return ok(role, check, `${file} can be read and written`);
      case "denied":
        return wanting("missing", {
          role,
          check,
          detail: `${file} is there, but this user may not read and write it`,
          remedy: denied,
        });
      case "absent":
        return wanting("missing", { role, check, detail: `${file} is absent`, remedy: absent });
    }
  };
}
