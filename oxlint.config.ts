import { defineConfig } from "oxlint";

/** Builtins that compute and touch nothing outside the process. */
const INERT = [
  "node:crypto",
  "node:assert",
  "node:assert/strict",
  "node:buffer",
  "node:path",
  "node:util",
  "node:zlib",
];
const PURE = { builtins: ["node:crypto"], outsideIn: [], pure: true };
const FREE = { builtins: "any", outsideIn: [], pure: false };

/**
 * Who may import whom, and what each module may touch (ARCHITECTURE.md). Judged by scripts/lint/boundaries.js.
 *
 * `imports` are modules by `#name`; `outsideIn` are the files where any builtin is allowed. Folders that are
 * not listed (test, bench, examples, scripts, bin) may import anything.
 */
const TABLE = {
  modules: {
    protocol: { imports: [], ...PURE },
    attestation: { imports: ["protocol"], ...PURE },
    aggregation: { imports: ["protocol"], ...PURE },
    enclave: {
      imports: ["protocol", "attestation", "aggregation"],
      builtins: INERT,
      outsideIn: ["enclave/adapters/**", "enclave/main.ts"],
      pure: false,
    },
    cli: { imports: ["protocol"], ...PURE },
    host: { imports: ["protocol", "attestation", "aggregation", "cli"], ...FREE },
    image: { imports: ["protocol", "attestation", "cli"], ...FREE },
    sim: {
      imports: ["protocol", "attestation", "aggregation", "cli", "enclave", "host", "image"],
      ...FREE,
    },
  },
  rooms: [
    plane("admission", ["execution", "settlement"]),
    plane("execution", ["admission", "settlement"]),
    plane("settlement", ["admission", "execution"]),
    service("sovereignty"),
    service("governance"),
  ],
  everywhere: ["zod"],
  /** Each package and the files that may import it, for types too. */
  packages: {
    "@aws-sdk/client-kms": ["host/adapters/kms.ts"],
    "@resvg/resvg-js": ["sim/data/receipts.ts"],
    "@tesseract.js-data/eng": ["enclave/adapters/ocr.ts"],
    cborg: ["protocol/cbor.ts"],
    "dejavu-fonts-ttf": ["sim/data/receipts.ts"],
    fastify: ["host/http/**"],
    hpke: ["protocol/sealed-box.ts"],
    hyparquet: ["host/adapters/parquet.ts"],
    "hyparquet-compressors": ["host/adapters/parquet.ts"],
    kysely: ["host/store/**", "host/**/queries.ts"],
    "onnxruntime-node": ["enclave/adapters/onnx.ts"],
    pg: ["host/store/**"],
    "shamir-secret-sharing": ["protocol/shamir.ts"],
    "tesseract.js-core": ["enclave/adapters/ocr.ts"],
    yaml: ["host/adapters/yaml.ts"],
  },
};

function plane(name: string, others: string[]) {
  return {
    folder: `host/${name}`,
    closedTo: others.map((other) => `host/${other}`),
    onlyIndexOf: ["host/sovereignty", "host/governance"],
  };
}

function service(name: string) {
  const planes = ["host/admission", "host/execution", "host/settlement"];
  return { folder: `host/${name}`, closedTo: planes, onlyIndexOf: [] };
}

/** Globals through which time, randomness or the outside would enter a pure module. */
const AMBIENT = [
  ["Date", "process", "performance", "fetch", "globalThis", "global", "crypto", "console"],
  ["setTimeout", "setInterval", "setImmediate", "WebSocket"],
].flat();

const SHIPPED = Object.keys(TABLE.modules).map((name) => `${name}/**/*.ts`);
const PURE_FILES = ["protocol/**/*.ts", "attestation/**/*.ts", "aggregation/**/*.ts"];

export default defineConfig({
  jsPlugins: ["./scripts/lint/boundaries.js"],
  plugins: ["eslint", "typescript", "unicorn", "oxc", "import"],
  ignorePatterns: ["node_modules/**", "symphony-demo/**", ".conformance/**", "coverage/**"],
  options: { typeAware: true, denyWarnings: true, reportUnusedDisableDirectives: "error" },
  rules: {
    "symphony/boundaries": ["error", TABLE],
    "import/no-default-export": "error",
    "typescript/consistent-type-imports": ["error", { disallowTypeAnnotations: false }],
    "typescript/no-explicit-any": "error",
    "typescript/no-floating-promises": "error",
    "typescript/no-misused-promises": "error",
    "typescript/no-namespace": "error",
    "typescript/no-non-null-assertion": "error",
    "typescript/switch-exhaustiveness-check": [
      "error",
      { considerDefaultExhaustiveForUnions: true },
    ],
    "unicorn/no-useless-spread": "off",
    "eslint/no-eval": "error",
    "eslint/no-new-func": "error",
    "eslint/no-var": "error",
    "eslint/eqeqeq": ["error", "always", { null: "ignore" }],
  },
  overrides: [
    {
      files: SHIPPED,
      rules: {
        "typescript/consistent-type-assertions": ["error", { assertionStyle: "never" }],
        "typescript/ban-ts-comment": "error",
        "eslint/max-lines": ["error", { max: 400, skipBlankLines: true, skipComments: true }],
        "eslint/max-lines-per-function": [
          "error",
          { max: 60, skipBlankLines: true, skipComments: true },
        ],
      },
    },
    {
      // A list of names, and nothing else.
      files: ["protocol/index.ts"],
      rules: { "eslint/max-lines": "off" },
    },
    {
      files: PURE_FILES,
      rules: {
        "eslint/no-restricted-globals": ["error", ...AMBIENT],
        "eslint/no-restricted-properties": [
          "error",
          { object: "Math", property: "random", message: "Randomness is an argument." },
        ],
      },
    },
    {
      files: ["*.config.ts", "scripts/lint/*.js"],
      rules: { "import/no-default-export": "off" },
    },
  ],
});
