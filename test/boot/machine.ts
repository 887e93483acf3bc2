import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

import type { InsecureSimPlatform } from "../../sim/platform.ts";
import { startBackend } from "./vsock/backend.ts";

/** What to boot, and in what. */
export interface MachineOptions {
  /** An image file, and the memory that its build asked for. */
  readonly image: string;
  readonly memoryMib: number;
  /** Folder that test/boot/qemu/build.sh printed. */
  readonly qemu: string;
  /** Whether the machine's module signs, as one of `platform`. */
  readonly module: "stock" | "signing";
  readonly platform: InsecureSimPlatform;
  /** PCR 3 is over this text, PCR 4 over the platform's instance id. */
  readonly parentRole: string;
}

/** A machine whose `init` has given its sign of life. */
export interface Machine {
  readonly accelerator: Accelerator;
  /** From the start of QEMU to the heartbeat. */
  readonly readyMs: number;
  readonly moduleId: string;
  /** Whoever connects to this unix socket has a new enclave at the other end. */
  readonly enclaveSocket: string;
  /** What the machine printed last. */
  serial(): string;
  /** Ends the machine; safe to call again. Nothing is left of it then. */
  stop(): Promise<void>;
}

type Accelerator = "kvm" | "tcg";

const ENCLAVE_PORT = 5000;
const HEARTBEAT_PORT = 9000;
const HEARTBEAT = 0xb7;
const READY_MS_MAX = 180_000;
/** Until the kernel starts `init` where a processor does the work; many times what it takes. */
const KVM_MS_MAX = 10_000;
const SERIAL_CHARACTERS_MAX = 64 * 1024;

/**
 * Boots an image and waits for its heartbeat.
 *
 * KVM is used where a kernel gets as far as `init` on it, and QEMU's own translation elsewhere.
 *
 * @throws when no heartbeat comes in three minutes, or the machine ends before, with what it printed
 */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  for (const accelerator of accelerators()) {
    const run = new Run(accelerator);
    try {
      return await boot(run, options);
    } catch (error) {
      await run.stop();
      if (accelerator === "tcg") throw error;
    }
  }
  throw new Error("machine: expected an accelerator, got none");
}

/** Software that nests one virtual machine in another (kvm_pvm) passes for KVM until a kernel runs on it. */
function accelerators(): readonly Accelerator[] {
  if (fs.existsSync("/sys/module/kvm_pvm")) return ["tcg"];
  try {
    fs.accessSync("/dev/kvm", fs.constants.R_OK | fs.constants.W_OK);
    return ["kvm", "tcg"];
  } catch {
    return ["tcg"];
  }
}

async function boot(run: Run, options: MachineOptions): Promise<Machine> {
  const prefix = path.join(run.folder, "vsock");
  const vhost = path.join(run.folder, "vhost");
  const enclaveSocket = `${prefix}_${ENCLAVE_PORT}`;
  const moduleId = options.platform.moduleId(new Uint8Array(randomBytes(8)));
  const beaten = run.heartbeat(`${prefix}_${HEARTBEAT_PORT}`);
  run.add(await startBackend({ socket: vhost, prefix, ports: [ENCLAVE_PORT] }));
  const startedMs = performance.now();
  const { accelerator, folder } = run;
  const command = qemuCommand(options, { accelerator, folder, vhost, moduleId });
  // It ends with this process; and copies kernel and ramdisks into its temporary folder, for a moment.
  const qemu = run.add(
    spawn("setpriv", ["--pdeathsig", "KILL", ...command], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TMPDIR: folder },
    }),
  );
  const init = run.listen(qemu, "Run /init");
  if (accelerator === "kvm") await run.wait("a kernel that runs", KVM_MS_MAX, init);
  await run.wait("a heartbeat", READY_MS_MAX, beaten);
  return {
    accelerator,
    readyMs: performance.now() - startedMs,
    moduleId,
    enclaveSocket,
    serial: () => run.serial,
    stop: () => run.stop(),
  };
}

interface Place {
  readonly accelerator: Accelerator;
  readonly folder: string;
  readonly vhost: string;
  readonly moduleId: string;
}

function qemuCommand(options: MachineOptions, place: Place): readonly string[] {
  const { image, memoryMib, qemu, module, platform, parentRole } = options;
  const machine = [
    "nitro-enclave,vsock=vsock",
    `id=${place.moduleId}`,
    `parent-role=${parentRole}`,
    `parent-id=${platform.instanceId}`,
  ];
  const signing = ["-global", `virtio-nsm-device.identity=${identityFile(platform, place)}`];
  return [
    path.join(qemu, `qemu-${module}`),
    ...["-L", path.join(qemu, "firmware"), "-M", machine.join()],
    ...["-accel", place.accelerator, "-cpu", place.accelerator === "kvm" ? "host" : "max"],
    ...["-smp", "2", "-m", `${memoryMib}M`, "-kernel", image],
    ...["-chardev", `socket,id=vsock,path=${place.vhost}`],
    ...["-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio"],
    ...(module === "signing" ? signing : []),
  ];
}

/** A leaf of `platform` and all above it, as nsm-signing.patch reads them. */
function identityFile(platform: InsecureSimPlatform, { folder, moduleId }: Place): string {
  const { key, chain } = platform.issueLeaf({ moduleId, nowMs: Date.now() });
  const [leaf, ...above] = [...chain.slice(-1), ...chain.slice(0, -1)];
  const certificates = [leaf ?? new Uint8Array(0), ...above].map(
    (der) =>
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`,
  );
  const file = path.join(folder, "identity.pem");
  const text = [key.export({ format: "pem", type: "pkcs8" }), ...certificates].join("");
  fs.writeFileSync(file, text, { mode: 0o600 });
  return file;
}

/** One attempt to boot: its folder, its processes, and what they print. */
class Run {
  readonly accelerator: Accelerator;
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "boot-"));
  /** Rejects when a process ends or the kernel gives up. */
  readonly broken: Promise<never>;
  serial = "";
  #break: (reason: string) => void = () => undefined;
  readonly #children: ChildProcess[] = [];
  readonly #servers: net.Server[] = [];
  readonly #removeNow = (): void => fs.rmSync(this.folder, { recursive: true, force: true });

  constructor(accelerator: Accelerator) {
    this.accelerator = accelerator;
    this.broken = new Promise((_, reject) => {
      this.#break = (reason) => reject(new Error(`${reason}; it printed:\n${this.serial}`));
    });
    this.broken.catch(() => undefined);
    process.once("exit", this.#removeNow);
  }

  /** Keeps `child` until the end, and what it prints. */
  add(child: ChildProcess): ChildProcess {
    this.#children.push(child);
    child.once("error", (error) => this.#break(`machine: ${error.message}`));
    child.once("exit", (code, signal) => this.#break(`machine: it ended with ${code ?? signal}`));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Uint8Array) => {
        this.serial = `${this.serial}${Buffer.from(chunk).toString("latin1")}`;
        this.serial = this.serial.slice(-SERIAL_CHARACTERS_MAX);
        if (this.serial.includes("Kernel panic")) this.#break("machine: its kernel gave up");
      });
    }
    return child;
  }

  /** Settles when `child` has printed `text`. */
  listen(child: ChildProcess, text: string): Promise<void> {
    return new Promise((resolve) => {
      child.stdout?.on("data", () => {
        if (this.serial.includes(text)) resolve();
      });
    });
  }

  /** Answers the sign of life, as nitro-cli does. Settles when it came. */
  heartbeat(socket: string): Promise<void> {
    return new Promise((resolve) => {
      const server = net.createServer((connection) => {
        connection.on("error", () => connection.destroy());
        connection.on("data", (chunk: Uint8Array) => {
          connection.end(chunk);
          if (chunk.length === 1 && chunk[0] === HEARTBEAT) resolve();
        });
      });
      this.#servers.push(server.listen(socket));
    });
  }

  /** `what` within `timeoutMs`, or why not. */
  async wait<T>(name: string, timeoutMs: number, what: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const complain = (): void =>
        reject(new Error(`machine: expected ${name} in ${timeoutMs} ms, got:\n${this.serial}`));
      timer = setTimeout(complain, timeoutMs);
    });
    try {
      return await Promise.race([what, this.broken, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) server.close();
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill("SIGKILL");
        await once(child, "exit");
      }),
    );
    process.off("exit", this.#removeNow);
    this.#removeNow();
  }
}
