import os from "node:os";

import { defineConfig } from "vitest/config";

const TESTS = "test/**/*.test.ts";

/** Tests that replace a module for themselves alone. */
const APART = [
  "test/attestation/cache.test.ts",
  "test/enclave/thresholds.test.ts",
  "test/enclave/aggregate-refusals.test.ts",
];

export default defineConfig({
  test: {
    globalSetup: ["test/helpers/global-setup.ts"],
    setupFiles: ["test/helpers/seed.ts"],
    expect: { requireAssertions: true },
    // For what a test waits when the machine is busy with much else; a test itself takes seconds.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // One more than there are processors: tests of whole networks wait for much of their time.
    maxWorkers: os.availableParallelism() + 1,
    pool: "forks",
    projects: [
      // Files that share a process load each module once, which halves the time of the whole suite.
      { extends: true, test: { name: "shared", include: [TESTS], exclude: APART, isolate: false } },
      { extends: true, test: { name: "apart", include: APART } },
    ],
  },
});
