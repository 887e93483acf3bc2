import * as fs from "node:fs";

/** One row of the requirements catalogue. */
export interface Requirement {
  readonly id: string;
  readonly part: string;
  readonly text: string;
}

const HEADER = "id\tpart\trequirement";
const ID = /^[A-Z]{2,3}-\d{1,3}$/;

/**
 * Reads a requirements catalogue: tab-separated `id`, `part`, `requirement`, with a header line.
 *
 * @throws Error naming the line when a row has another shape or an id comes twice.
 */
export function readCatalogue(file: string): Requirement[] {
  const [header, ...lines] = fs.readFileSync(file, "utf8").trimEnd().split("\n");
  if (header !== HEADER) throw new Error(`${file}: expected the header ${HEADER}, got ${header}`);
  const seen = new Set<string>();
  return lines.map((line, index) => {
    const [id = "", part = "", text = "", ...rest] = line.split("\t");
    if (!ID.test(id) || part === "" || text === "" || rest.length > 0 || seen.has(id)) {
      throw new Error(`${file} line ${index + 2}: expected a new id and three columns, got ${id}`);
    }
    seen.add(id);
    return { id, part, text };
  });
}

/** The ids that a test's full name carries in square brackets, known or not. */
export function idsInName(name: string): string[] {
  const tags = [...name.matchAll(/\[([A-Z]{2,3}-\d{1,3})\]/g)];
  return [...new Set(tags.flatMap(([, id]) => (id === undefined ? [] : [id])))];
}
