import { encodeCbor, sha384, utf8 } from "../../../../protocol/index.ts";
import { encodePcrs } from "../../../../sim/cose.ts";
import { forgePcrs } from "../../../attestation/forge.ts";
import { pcrs, withFields } from "./c-payload.ts";
import type { Case } from "./case.ts";

/** A module_id, and PCR4 as its instance would have it. */
function named(moduleId: string, instanceId: string): Uint8Array {
  const pcr4 = sha384(new Uint8Array(48), utf8(instanceId));
  return withFields({
    module_id: encodeCbor(moduleId),
    pcrs: encodePcrs(forgePcrs().set(4, pcr4)),
  });
}

/** Category C: what a document calls itself, and PCR4, which measures the instance. */
export function cIdentity(): readonly Case[] {
  const refused = { stage: "appraise", code: "TEE_IDENTITY_MISMATCH" } as const;
  const instance = "i-0123456789abcdef";
  const names: readonly (readonly [string, string])[] = [
    ["the module_id of a NitroTPM", `${instance}-tpm0000000000000000`],
    ["the module_id of an instance", instance],
    ["a module_id in upper case", `${instance.toUpperCase()}-ENC0123456789ABCDEF`],
    ["a module_id with an enclave id of 15 digits", `${instance}-enc0123456789abcde`],
    ["a module_id with an enclave id of 17 digits", `${instance}-enc0123456789abcdef0`],
    ["a module_id after something else", `x-${instance}-enc0123456789abcdef`],
    ["a module_id with an instance id of 7 digits", "i-0123456-enc0123456789abcdef"],
  ];
  return [
    ...names.map(([title, moduleId]) => ({
      title,
      document: named(moduleId, instance),
      ...refused,
      check: "module-id",
    })),
    {
      title: "the module_id of a NitroTPM, PCR4 of no instance",
      document: named(`${instance}-tpm0000000000000000`, ""),
      ...refused,
      check: "module-id",
    },
    {
      title: "PCR4 of another instance",
      document: named("i-0123456789abcdef-enc0123456789abcdef", "i-0123456789abcdee"),
      ...refused,
      check: "pcr4",
    },
    {
      title: "PCR4 of the module_id and not of the instance",
      document: named(
        "i-0123456789abcdef-enc0123456789abcdef",
        "i-0123456789abcdef-enc0123456789abcdef",
      ),
      ...refused,
      check: "pcr4",
    },
    { title: "no PCR4", document: pcrs((each) => each.delete(4)), ...refused, check: "pcr4" },
    {
      title: "PCR4 of zeros",
      document: pcrs((each) => each.set(4, new Uint8Array(48))),
      ...refused,
      check: "pcr4",
    },
  ];
}
