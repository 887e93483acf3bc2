import { deviceCheck, ok, wanting, type Check, type Finding } from "./findings.ts";
import type { Machine } from "./machine.ts";

const PARENT = "nitro-parent";
const ALLOCATOR = "/etc/nitro_enclaves/allocator.yaml";
const HUGEPAGES = "/sys/kernel/mm/hugepages";
/** An enclave with Node and a model of 150 MB did not start with 512 MiB and did with 1 GiB (measured under QEMU). */
const ENCLAVE_MEMORY_MIB_MIN = 1024;
/** AWS gives an enclave whole cores: two of the parent's CPUs at least, on x86. */
const ENCLAVE_CPUS_MIN = 2;
const KIB_PER_MIB = 1024;

const START_ALLOCATOR = "sudo systemctl enable --now nitro-enclaves-allocator.service";

/** What an EC2 instance that starts enclaves needs. */
export const NITRO_PARENT_CHECKS: readonly Check[] = [
  deviceCheck(PARENT, "/dev/nitro_enclaves", {
    check: "Nitro Enclaves driver",
    absent:
      "launch the instance with enclave support (--enclave-options Enabled=true) on a Nitro type, then sudo modprobe nitro_enclaves",
    denied: "sudo usermod -aG ne $USER, then log in again",
  }),
  nitroCli,
  allocator,
  hugepages,
  deviceCheck(PARENT, "/dev/vsock", {
    check: "vsock",
    absent: "sudo modprobe vsock",
    denied: "let this user read and write /dev/vsock",
  }),
  socat,
  kmsRegion,
  kmsCredentials,
];

/** What the inside of an enclave has. */
export const INSIDE_ENCLAVE_CHECKS: readonly Check[] = [
  deviceCheck("inside-enclave", "/dev/nsm", {
    check: "Nitro Secure Module",
    absent: "this is no enclave, or its kernel lacks the nsm driver",
    denied: "let the init program hand it to this user",
  }),
  deviceCheck("inside-enclave", "/dev/vsock", {
    check: "vsock",
    absent: "build the enclave's kernel with vsockets",
    denied: "let the init program hand it to this user",
  }),
];

function nitroCli(machine: Machine): Finding {
  const check = "nitro-cli";
  const found = machine.program("nitro-cli");
  if (found !== null) return ok(PARENT, check, found);
  const remedy = "sudo dnf install aws-nitro-enclaves-cli";
  return wanting("missing", { role: PARENT, check, detail: "not on PATH", remedy });
}

function allocator(machine: Machine): Finding {
  const check = "allocator";
  const text = machine.read(ALLOCATOR);
  if (text === null) {
    const remedy = `install aws-nitro-enclaves-cli and write memory_mib and cpu_count to ${ALLOCATOR}`;
    return wanting("missing", { role: PARENT, check, detail: `no ${ALLOCATOR}`, remedy });
  }
  const memory = setting(text, "memory_mib");
  const cpus = setting(text, "cpu_count");
  const hasPool = /^cpu_pool:\s*\S/m.test(text);
  const detail = `${memory ?? "no"} MiB and ${hasPool ? "a pool of" : (cpus ?? "no")} CPUs for enclaves`;
  const enough =
    (memory ?? 0) >= ENCLAVE_MEMORY_MIB_MIN && (hasPool || (cpus ?? 0) >= ENCLAVE_CPUS_MIN);
  if (enough) return ok(PARENT, check, detail);
  return wanting("missing", {
    role: PARENT,
    check,
    detail,
    remedy: `set memory_mib to ${ENCLAVE_MEMORY_MIB_MIN} or more for each enclave and cpu_count to ${ENCLAVE_CPUS_MIN} or more in ${ALLOCATOR}, then sudo systemctl restart nitro-enclaves-allocator.service`,
  });
}

function setting(text: string, name: string): number | null {
  const match = new RegExp(`^${name}:\\s*(\\d{1,9})\\s*(?:#.*)?$`, "m").exec(text);
  return match?.[1] === undefined ? null : Number(match[1]);
}

/** The allocator reserves memory as huge pages of any size. */
function hugepages(machine: Machine): Finding {
  const check = "huge pages";
  const mib = machine.list(HUGEPAGES).reduce((sum, name) => {
    const size = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    const count = Number(machine.read(`${HUGEPAGES}/${name}/nr_hugepages`) ?? 0);
    return sum + (size * count) / KIB_PER_MIB;
  }, 0);
  const wanted = setting(machine.read(ALLOCATOR) ?? "", "memory_mib") ?? ENCLAVE_MEMORY_MIB_MIN;
  const detail = `${mib} MiB reserved of ${wanted} MiB`;
  if (mib >= wanted) return ok(PARENT, check, detail);
  return wanting("missing", {
    role: PARENT,
    check,
    detail,
    remedy: `${START_ALLOCATOR}; if it fails for want of memory, start it right after boot`,
  });
}

/** It carries the enclave's vsock port to the unix socket that nodes connect to. */
function socat(machine: Machine): Finding {
  const check = "socat";
  const found = machine.program("socat");
  if (found !== null) return ok(PARENT, check, found);
  const remedy = "sudo dnf install socat";
  return wanting("missing", { role: PARENT, check, detail: "not on PATH", remedy });
}

function kmsRegion({ env }: Machine): Finding {
  const check = "key service";
  const endpoint = env["AWS_ENDPOINT_URL_KMS"] ?? env["AWS_ENDPOINT_URL"] ?? "";
  const region = env["AWS_REGION"] ?? env["AWS_DEFAULT_REGION"] ?? "";
  if (endpoint !== "") return ok(PARENT, check, "its address is set by AWS_ENDPOINT_URL");
  if (region !== "") return ok(PARENT, check, "its region is set by AWS_REGION");
  return wanting("warning", {
    role: PARENT,
    check,
    detail: "neither AWS_REGION nor an endpoint is set",
    remedy: "export AWS_REGION, or give the node's configuration the region of its key",
  });
}

/** Which ways to credentials are open; never what they are. */
function kmsCredentials(machine: Machine): Finding {
  const check = "AWS credentials";
  const { env } = machine;
  const isSet = (name: string): boolean => (env[name] ?? "") !== "";
  const ways = [
    isSet("AWS_ACCESS_KEY_ID") && isSet("AWS_SECRET_ACCESS_KEY") ? "environment" : null,
    isSet("AWS_PROFILE") ? "profile" : null,
    isSet("AWS_WEB_IDENTITY_TOKEN_FILE") ? "web identity" : null,
    isSet("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ? "container" : null,
    machine.read(`${env["HOME"] ?? "/root"}/.aws/credentials`) === null ? null : "file",
  ].filter((way) => way !== null);
  if (ways.length > 0) return ok(PARENT, check, `from ${ways.join(", ")}; not tried here`);
  return wanting("warning", {
    role: PARENT,
    check,
    detail: "none in environment or home; an instance role may give them, which is not asked here",
    remedy: "attach an IAM role to the instance whose policy allows kms:Decrypt on the key",
  });
}
