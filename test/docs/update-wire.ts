// Rewrites the type definitions in docs/wire.md, docs/schema and docs/openapi from schemas and routes: node test/docs/update-wire.ts
//
// Types that the page does not have yet are named on standard error; their place and words are an author's.
import * as fs from "node:fs";
import path from "node:path";

import { bundleOf } from "./json-schema.ts";
import { writeOpenApi } from "./openapi.ts";
import { WIRE_SCHEMAS, wireBlocks } from "./wire-blocks.ts";

const PAGE = path.resolve(import.meta.dirname, "../../docs/wire.md");
const blocks = wireBlocks();
const written = new Set<string>();

const page = fs
  .readFileSync(PAGE, "utf8")
  .replaceAll(/^```cddl\n([\s\S]*?)\n```$/gm, (_, block: string) => {
    const definitions = block.split(/\n\n/).map((definition) => {
      const name = definition.split(" = ")[0] ?? "";
      written.add(name);
      return blocks.get(name) ?? definition;
    });
    return `\`\`\`cddl\n${definitions.join("\n\n")}\n\`\`\``;
  });
fs.writeFileSync(PAGE, page);
const schemas = JSON.stringify(bundleOf(WIRE_SCHEMAS), null, 1);
fs.writeFileSync(path.join(path.dirname(PAGE), "schema/protocol.json"), `${schemas}\n`);
writeOpenApi();

for (const name of blocks.keys()) if (!written.has(name)) console.error(`not on the page: ${name}`);
