import { stripTypeScriptTypes } from "node:module";

/** A word, number, text, regular expression, template piece or sign of a source file. Offsets are the file's. */
export interface Token {
  readonly kind: "word" | "number" | "text" | "pattern" | "sign";
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** Longest first, so that `===` is not read as `==`. */
const SIGNS = [
  [">>>=", "...", "===", "!==", "**=", "<<=", ">>=", ">>>", "&&=", "||=", "??="],
  ["=>", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "++", "--", "+=", "-=", "*=", "/="],
  ["%=", "&=", "|=", "^=", "<<", ">>", "**"],
].flat();
const BEFORE_PATTERN = new Set(["return", "typeof", "case", "of", "in", "throw"]);

/**
 * The tokens of TypeScript `source` that remain at run time: no comments, no types.
 *
 * A template is one `text` token for each of its pieces, with the tokens of its expressions between.
 *
 * @throws Error when stripping the types moved anything.
 */
export function tokensOf(source: string): readonly Token[] {
  const code = stripTypeScriptTypes(source, { mode: "strip" });
  if (code.length !== source.length) throw new Error("source: expected types to leave no gap");
  const tokens: Token[] = [];
  /** Depth of braces at which each open template goes on. */
  const templates: number[] = [];
  let depth = 0;
  let at = 0;
  while (at < code.length) {
    const token = nextToken(code, at, { tokens, inTemplate: templates.at(-1) === depth });
    if (token === null) return tokens;
    if (token.text === "{") depth += 1;
    if (token.text === "}") depth -= 1;
    if (token.kind === "text" && /^[`}]/.test(token.text)) {
      if (token.text.startsWith("}")) templates.pop();
      if (token.text.endsWith("${")) templates.push(depth);
    }
    tokens.push(token);
    at = token.end;
  }
  return tokens;
}

interface Around {
  readonly tokens: readonly Token[];
  readonly inTemplate: boolean;
}

function nextToken(code: string, from: number, { tokens, inTemplate }: Around): Token | null {
  const start = skipBlank(code, from);
  if (start >= code.length) return null;
  const make = (kind: Token["kind"], length: number): Token => {
    const text = code.slice(start, start + length);
    return { kind, text, start, end: start + length };
  };
  const rest = code.slice(start, start + 4000);
  if (rest.startsWith("`") || (inTemplate && rest.startsWith("}"))) {
    return make("text", templateLength(rest));
  }
  const match = (pattern: RegExp): number => pattern.exec(rest)?.[0].length ?? 0;
  const word = match(/^[A-Za-z_$#][\w$]*/);
  if (word > 0) return make("word", word);
  const number = match(/^(0x[\da-fA-F_]+|[\d_]+(\.\d+)?(e\d+)?)n?/);
  if (number > 0) return make("number", number);
  const text = match(/^("(\\.|[^"\\])*"|'(\\.|[^'\\])*')/);
  if (text > 0) return make("text", text);
  if (rest.startsWith("/") && mayBePattern(tokens.at(-1))) {
    return make("pattern", match(/^\/(\\.|\[(\\.|[^\]\\])*\]|[^/\\[])+\/[a-z]*/));
  }
  return make("sign", SIGNS.find((sign) => rest.startsWith(sign))?.length ?? 1);
}

function skipBlank(code: string, from: number): number {
  const blank = /(\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;
  blank.lastIndex = from;
  return from + (blank.exec(code)?.[0].length ?? 0);
}

function templateLength(rest: string): number {
  return /^[`}](\\.|[^`\\$]|\$(?!\{))*(`|\$\{)/.exec(rest)?.[0].length ?? 1;
}

function mayBePattern(before: Token | undefined): boolean {
  if (before === undefined) return true;
  if (before.kind === "word") return BEFORE_PATTERN.has(before.text);
  return before.kind === "sign" && ![")", "]", "}"].includes(before.text);
}
