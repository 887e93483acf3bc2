// Linter rule: who may import whom. The table is in oxlint.config.ts and arrives as the rule's options.
//
// Judges every way to name another module: import, import type, export from, import(), import("x").T, require().
import { builtinModules } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));

/** First folder of a path below the root, in the linter's sense of *module*; empty for files at the root. */
function moduleOf(relative) {
  return relative.includes("/") ? relative.slice(0, relative.indexOf("/")) : "";
}

function packageOf(specifier) {
  const parts = specifier.split("/");
  return specifier.startsWith("@") ? parts.slice(0, 2).join("/") : parts[0];
}

function matchesAny(file, globs) {
  return globs.some((glob) => path.matchesGlob(file, glob));
}

function judgeRelative(file, specifier, table) {
  const own = moduleOf(file);
  const target = path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier));
  const other = moduleOf(target);
  if (other !== own) {
    return `${specifier}: expected a path inside ${own}/, got ${target}; another module is #name`;
  }
  for (const room of table.rooms) {
    if (!file.startsWith(`${room.folder}/`)) continue;
    const entered = room.closedTo.find((folder) => target.startsWith(`${folder}/`));
    if (entered !== undefined) return `${specifier}: ${room.folder} may not import ${entered}`;
    const front = room.onlyIndexOf.find((folder) => target.startsWith(`${folder}/`));
    if (front !== undefined && target !== `${front}/index.ts`) {
      return `${specifier}: expected ${front}/index.ts, its published interface, got ${target}`;
    }
  }
  return undefined;
}

function judgeModule(file, specifier, rules) {
  const own = moduleOf(file);
  const name = specifier.slice(1);
  if (name === own) return `${specifier}: inside a module, imports are relative`;
  if (name.includes("/")) return `${specifier}: expected #${name.split("/")[0]} and nothing deeper`;
  if (!rules.imports.includes(name)) {
    return `${specifier}: ${own} may import ${rules.imports.join(", ") || "no other module"}`;
  }
  return undefined;
}

function judgeBuiltin(file, specifier, rules) {
  if (rules.builtins === "any" || rules.builtins.includes(specifier)) return undefined;
  if (matchesAny(file, rules.outsideIn)) return undefined;
  return `${specifier}: ${moduleOf(file)} may touch ${rules.builtins.join(", ")} here, and nothing else`;
}

function judgePackage(file, specifier, table) {
  if (builtinModules.includes(specifier)) return `${specifier}: expected the node: prefix`;
  const name = packageOf(specifier);
  if (table.everywhere.includes(name)) return undefined;
  const globs = table.packages[name];
  if (globs === undefined) return `${name}: expected a package of the table in oxlint.config.ts`;
  if (matchesAny(file, globs)) return undefined;
  return `${name}: expected only in its adapter (${globs.join(", ")}), got ${file}`;
}

function judge(file, specifier, table) {
  const rules = table.modules[moduleOf(file)];
  if (rules === undefined) return undefined;
  if (specifier.startsWith(".")) return judgeRelative(file, specifier, table);
  if (specifier.startsWith("#")) return judgeModule(file, specifier, rules);
  if (specifier.startsWith("node:")) return judgeBuiltin(file, specifier, rules);
  return judgePackage(file, specifier, table);
}

const AMBIENT_CRYPTO = /^(random|webcrypto$|getRandomValues$|subtle$|generate)/;

/** What a pure module takes from node:crypto by name; `import *` would hide it. */
function judgeCryptoNames(file, node, table) {
  if (!table.modules[moduleOf(file)]?.pure || node.source?.value !== "node:crypto")
    return undefined;
  for (const specifier of node.specifiers ?? []) {
    if (specifier.type !== "ImportSpecifier" && specifier.type !== "ExportSpecifier") {
      return "node:crypto: expected named imports in a pure module, got the whole of it";
    }
    const name = (specifier.imported ?? specifier.local).name;
    if (AMBIENT_CRYPTO.test(name))
      return `node:crypto ${name}: randomness is an argument in a pure module`;
  }
  return undefined;
}

const boundaries = {
  meta: { type: "problem", schema: false },
  create(context) {
    const [table] = context.options;
    const file = path.relative(root, context.filename).split(path.sep).join("/");
    if (table.modules[moduleOf(file)] === undefined) return {};
    const report = (node, message) => message !== undefined && context.report({ node, message });
    const visit = (node) => {
      if (node.source === null || node.source === undefined) return;
      if (typeof node.source.value !== "string") {
        report(node, "import(): expected a literal name, so that boundaries can be judged");
        return;
      }
      report(node, judge(file, node.source.value, table));
      report(node, judgeCryptoNames(file, node, table));
    };
    return {
      ImportDeclaration: visit,
      ExportNamedDeclaration: visit,
      ExportAllDeclaration: visit,
      ImportExpression: visit,
      TSImportType: visit,
      CallExpression: (node) => {
        const [name] = node.arguments;
        if (node.callee.name === "require" && typeof name?.value === "string") {
          report(node, judge(file, name.value, table));
        }
      },
      TSImportEqualsDeclaration: (node) => report(node, "import =: expected an import declaration"),
    };
  },
};

export default { meta: { name: "symphony" }, rules: { boundaries } };
