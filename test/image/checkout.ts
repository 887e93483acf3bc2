import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";

/** Whether this machine has what every build needs. */
export const canBuild = ["gcc", "dpkg-deb"].every(
  (program) => spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0,
);

/** One file of a tar archive as it is written. */
export interface TarFile {
  readonly name: string;
  readonly data?: string;
  /** Of the data, where it is not said as it is. */
  readonly bytes?: number;
  readonly mode?: number;
  readonly type?: string;
  readonly target?: string;
}

/** A ustar archive, written apart from what reads it. */
export function tarOf(files: readonly TarFile[]): Buffer {
  const blocks = files.flatMap(({ name, data = "", mode = 0o644, type = "0", ...rest }) => {
    const { target = "", bytes = Buffer.byteLength(data) } = rest;
    const head = Buffer.alloc(512);
    const put = (at: number, text: string): void => void head.write(text, at, "latin1");
    put(0, name);
    put(100, mode.toString(8).padStart(7, "0"));
    put(124, bytes.toString(8).padStart(11, "0"));
    put(148, " ".repeat(8));
    put(156, type);
    put(157, target);
    put(257, "ustar\u000000");
    const sum = head.reduce((total, byte) => total + byte, 0);
    put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
    const body = Buffer.from(data);
    return [head, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** Digests that pin the packages of a small checkout. */
interface Pins {
  readonly sha256: string;
  readonly integrity: string;
}

/** Makes a cache with one npm package and one Debian package, for which no registry is asked. */
export function makeCache(folder: string): Pins {
  fs.mkdirSync(path.join(folder, "deb/DEBIAN"), { recursive: true });
  fs.mkdirSync(path.join(folder, "deb/boot"), { recursive: true });
  const control = ["Package: kernel", "Version: 1", "Architecture: amd64", "Maintainer: nobody"];
  const text = [...control, "Description: a kernel", ""].join("\n");
  fs.writeFileSync(path.join(folder, "deb/DEBIAN/control"), text);
  fs.writeFileSync(path.join(folder, "deb/boot/vmlinuz"), "a kernel");
  fs.symlinkSync("vmlinuz", path.join(folder, "deb/boot/link"));
  const deb = path.join(folder, "kernel_1.deb");
  const { status, stderr } = spawnSync("dpkg-deb", ["-b", path.join(folder, "deb"), deb], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
  fs.rmSync(path.join(folder, "deb"), { recursive: true });
  const files = [
    { name: "package/index.js", data: "export {};\n" },
    { name: "package/run", data: "program", mode: 0o775 },
    { name: "package/README.md", data: "words" },
  ];
  fs.writeFileSync(path.join(folder, "@scope+lib-1.2.3.tgz"), gzipSync(tarOf(files)));
  return {
    sha256: digest(deb, "sha256").toString("hex"),
    integrity: `sha512-${digest(path.join(folder, "@scope+lib-1.2.3.tgz"), "sha512").toString("base64")}`,
  };
}

function digest(file: string, algorithm: string): Buffer {
  return createHash(algorithm).update(fs.readFileSync(file)).digest();
}

/** What a small checkout builds to, by its own compiler. */
export interface Programs {
  readonly init: string;
  readonly gate: string;
}

/** Makes a small checkout: all parts of an image, each of a few bytes. */
export function makeCheckout(folder: string, pins: Pins, programs: Programs): void {
  const write = (name: string, text: string): void => {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  };
  write("package.json", "{}");
  const locked = { version: "1.2.3", integrity: pins.integrity };
  const packages = { "node_modules/@scope/lib": locked };
  write("package-lock.json", JSON.stringify({ version: "0.0.1", packages }));
  for (const name of ["protocol", "attestation", "aggregation", "enclave"]) {
    write(`${name}/index.ts`, `export const name = "${name}";\n`);
  }
  write("enclave/workloads/parse.ts", "export {};\n");
  write("image/init/init.c", "int main(void) { return 0; }\n");
  write("image/gate/gate.c", "int other(void);\nint main(void) { return other(); }\n");
  write("image/gate/nsm.c", "int other(void);\nint other(void) { return 1; }\n");
  write("image/inputs.json", JSON.stringify(inputsOf(pins, programs)));
}

function inputsOf({ sha256 }: Pins, programs: Programs) {
  const at = "rootfs/enclave/node_modules/@scope/lib/";
  return {
    build_time: "2026-01-01T00:00:00Z",
    cmdline: "console=ttyS0",
    kernel_version: "1",
    debian: [
      {
        name: "kernel",
        version: "1",
        sha256,
        licence: "GPL-2.0-only",
        picks: [
          { include: ["boot/vmlinuz"], from: "boot/vmlinuz", to: "kernel" },
          { include: ["boot/link"], from: "boot/", to: "modules/" },
        ],
      },
    ],
    npm: [
      {
        name: "@scope/lib",
        licence: "MIT",
        pinned: null,
        picks: [{ include: ["package/*.js", "package/run"], from: "package/", to: at }],
      },
    ],
    programs: { compiler: "the gcc of this machine", ...programs },
  };
}
