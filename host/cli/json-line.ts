const TEXT = /"(?:[^"\\]|\\.)*"/y;
const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{}]|[^"[\]{}]+/y;
const SCALAR = /[^\s,:"[\]{}]+/y;

/**
 * The line, from 1 on, where the value at `path` stands in JSON; that of the nearest value around it when there is none.
 *
 * @param text - Well-formed JSON.
 */
export function lineOfPath(text: string, path: readonly PropertyKey[]): number {
  let at = skipSpace(text, 0);
  for (const key of path) {
    const inner =
      text[at] === "{" ? memberAt(text, at, String(key)) : itemAt(text, at, Number(key));
    if (inner === null) break;
    at = inner;
  }
  return text.slice(0, at).split("\n").length;
}

/** Where the value of `key` begins in the object at `at`. */
function memberAt(text: string, at: number, key: string): number | null {
  let next = skipSpace(text, at + 1);
  while (text[next] === '"') {
    const name = matchAt(TEXT, text, next);
    const value = skipSpace(text, skipSpace(text, next + name.length) + 1);
    if (JSON.parse(name) === key) return value;
    next = afterComma(text, value);
  }
  return null;
}

/** Where item `index` begins in the array at `at`. */
function itemAt(text: string, at: number, index: number): number | null {
  if (text[at] !== "[") return null;
  let next = skipSpace(text, at + 1);
  for (let item = 0; text[next] !== "]"; item += 1) {
    if (item === index) return next;
    next = afterComma(text, next);
  }
  return null;
}

/** Where what follows the value at `at` begins: the next value, or the end of what is around. */
function afterComma(text: string, at: number): number {
  const end = skipSpace(text, endOfValue(text, at));
  return text[end] === "," ? skipSpace(text, end + 1) : end;
}

function endOfValue(text: string, at: number): number {
  if (text[at] === '"') return at + matchAt(TEXT, text, at).length;
  if (text[at] !== "{" && text[at] !== "[") return at + matchAt(SCALAR, text, at).length;
  let depth = 0;
  let next = at;
  do {
    const token = matchAt(TOKEN, text, next);
    if (token === "{" || token === "[") depth += 1;
    if (token === "}" || token === "]") depth -= 1;
    next += Math.max(1, token.length);
  } while (depth > 0 && next < text.length);
  return next;
}

function matchAt(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
}

function skipSpace(text: string, at: number): number {
  let next = at;
  while (/\s/.test(text[next] ?? "")) next += 1;
  return next;
}
