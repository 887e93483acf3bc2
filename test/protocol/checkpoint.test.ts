import fc from "fast-check";
import { expect, test } from "vitest";

import {
  CHECKPOINT_TEXT_MAX,
  SymphonyError,
  cosignCheckpoint,
  fromBase64,
  merkleRoot,
  parseCheckpoint,
  sha256,
  signCheckpoint,
  signingKeyFromSeed,
  utf8,
  verifyCheckpoint,
} from "#protocol";

const keyOf = (seed: number) => signingKeyFromSeed(new Uint8Array(32).fill(seed));
const [logKey, oneKey, twoKey, strangerKey] = [keyOf(1), keyOf(2), keyOf(3), keyOf(4)] as const;
const origin = "vault.example/log";
const root = sha256(utf8("root"));

const signed = signCheckpoint({ origin, size: 7, root, signerName: origin, key: logKey });
const cosigned = cosignCheckpoint(
  cosignCheckpoint(signed, { signerName: "one.example", key: oneKey, timeSeconds: 1_700_000_000 }),
  { signerName: "two.example", key: twoKey, timeSeconds: 1_700_000_001 },
);
const trust = {
  origin,
  log: { name: origin, publicKey: logKey.publicKey },
  witnesses: [
    { name: "one.example", publicKey: oneKey.publicKey },
    { name: "two.example", publicKey: twoKey.publicKey },
  ],
  quorum: 2,
};
const invalid = expect.objectContaining({
  class: "verification",
  code: "PROOF_CHECKPOINT_INVALID",
});

/** A checkpoint that a public transparency log signed and a public witness cosigned. */
const CAPTURED = [
  "log2025-1.rekor.sigstore.dev",
  "139911860",
  "EliTHtnx44DhEBH+5qIXBtQsSpc54Avam7mIYEvxnTA=",
  "",
  "\u2014 log2025-1.rekor.sigstore.dev zxGZFcOra4Y7QpuiQen+CmnUvDZbxSXfBOXJzL+HKIeR9aC58QTfao58ABqkhVyBhQDseS+TZdDNpcnZhoRxkh7IbQ0=",
  "\u2014 witness.stagemole.eu Z/euoAAAAABqxF18wrJCADsJ1G5Lc2JaRjZqqBwjpNqH24yQse4iJ4rKS6b5MtvHP+IbKYXwaWuWokdGA+BubLFi+TrwK7xpKr6XBw==",
  "",
].join("\n");
const CAPTURED_TRUST = {
  origin: "log2025-1.rekor.sigstore.dev",
  log: {
    name: "log2025-1.rekor.sigstore.dev",
    publicKey: fromBase64("t8rlp1knGwjfbcXAYPYAkn0XiLz1x8O4t0YkEhie244="),
  },
  witnesses: [
    {
      name: "witness.stagemole.eu",
      publicKey: fromBase64("SpIbfK71iuZwzcEe9BhPHAWPe5JZqRB6lp9p+lSqSW8="),
    },
  ],
  quorum: 1,
};

test("a captured checkpoint of a public log and its witness verifies", () => {
  expect(verifyCheckpoint(CAPTURED, CAPTURED_TRUST)).toEqual({
    size: 139911860,
    root: fromBase64("EliTHtnx44DhEBH+5qIXBtQsSpc54Avam7mIYEvxnTA="),
    witnessNames: ["witness.stagemole.eu"],
  });
});

test.for([
  { title: "the size", from: "139911860", to: "139911861" },
  { title: "the root", from: "EliT", to: "EliU" },
  { title: "the log's signature", from: "zxGZFcOr", to: "zxGZFcOs" },
  { title: "the cosignature's time", from: "Z/euoAAAAABqxF18", to: "Z/euoAAAAABqxF19" },
  { title: "the cosignature", from: "wrJC", to: "wrJD" },
  { title: "the origin", from: "log2025-1.rekor.sigstore.dev\n1", to: "log2025-1.rekor\n1" },
])("a captured checkpoint with $title altered does not", ({ from, to }) => {
  const altered = CAPTURED.replace(from, to);
  expect(altered).not.toBe(CAPTURED);
  expect(() => verifyCheckpoint(altered, CAPTURED_TRUST)).toThrow(invalid);
});

test("a checkpoint is three lines and its signatures", () => {
  const [body, signatures] = signed.split("\n\n");
  expect(body).toBe(`${origin}\n7\n${Buffer.from(root).toString("base64")}`);
  expect(signatures).toMatch(/^\u2014 vault\.example\/log [A-Za-z0-9+/=]+\n$/);
  expect(parseCheckpoint(signed)).toEqual({ origin, size: 7, root });
});

test("the log and a quorum of witnesses are what is needed", () => {
  const verified = { size: 7, root, witnessNames: ["one.example", "two.example"] };
  expect(verifyCheckpoint(cosigned, trust)).toEqual(verified);
  expect(verifyCheckpoint(signed, { ...trust, quorum: 0 })).toMatchObject({ witnessNames: [] });
  expect(() => verifyCheckpoint(signed, { ...trust, quorum: 1 })).toThrow(invalid);
  expect(() => verifyCheckpoint(cosigned, { ...trust, quorum: 3 })).toThrow(invalid);
  expect(() => verifyCheckpoint(cosigned, { ...trust, quorum: Number.NaN })).toThrow(invalid);
  expect(() => verifyCheckpoint(cosigned, { ...trust, quorum: -1 })).toThrow(invalid);
});

test("an empty log has a checkpoint", () => {
  const empty = { origin, size: 0, root: merkleRoot([]) };
  const note = signCheckpoint({ ...empty, signerName: origin, key: logKey });
  expect(parseCheckpoint(note)).toEqual(empty);
});

test("a witness counts once, and so does a key under two names", () => {
  const again = { signerName: "one.example", key: oneKey, timeSeconds: 1_700_000_002 };
  const twice = cosignCheckpoint(cosignCheckpoint(signed, again), again);
  expect(() => verifyCheckpoint(twice, trust)).toThrow(invalid);
  const alias = { name: "alias.example", publicKey: oneKey.publicKey };
  const aliased = cosignCheckpoint(twice, { ...again, signerName: alias.name });
  const aliasTrust = { ...trust, witnesses: [...trust.witnesses, alias] };
  expect(() => verifyCheckpoint(aliased, aliasTrust)).toThrow(invalid);
  expect(verifyCheckpoint(aliased, { ...aliasTrust, quorum: 1 })).toMatchObject({
    witnessNames: ["one.example"],
  });
});

test("signatures by strangers are ignored, also under a known name", () => {
  const time = { timeSeconds: 5 };
  const more = ["stranger.example", "one.example"].reduce(
    (note, signerName) => cosignCheckpoint(note, { signerName, key: strangerKey, ...time }),
    cosigned,
  );
  expect(verifyCheckpoint(more, trust)).toMatchObject({ size: 7 });
  const alone = cosignCheckpoint(signed, { signerName: "one.example", key: strangerKey, ...time });
  expect(() => verifyCheckpoint(alone, { ...trust, quorum: 1 })).toThrow(invalid);
});

test("one wrong signature under a known name and key refuses the note", () => {
  const line = cosigned.split("\n").find((each) => each.includes("two.example")) ?? "";
  const wrong = line.replace(/.{8}==$|.{8}=$|.{8}$/, (end) => `AAAAAAA${end.slice(7)}`);
  expect(wrong).not.toBe(line);
  const note = cosigned.replace(line, wrong);
  expect(() => verifyCheckpoint(note, { ...trust, quorum: 1 })).toThrow(invalid);
});

test("a log's signature is no cosignature, and a cosignature no log's", () => {
  const asWitness = signCheckpoint({
    origin,
    size: 7,
    root,
    signerName: "one.example",
    key: oneKey,
  });
  const note = signed + (asWitness.split("\n\n")[1] ?? "");
  expect(() => verifyCheckpoint(note, { ...trust, quorum: 1 })).toThrow(invalid);
  const asLog = { ...trust, log: trust.witnesses[0] ?? trust.log, quorum: 0 };
  expect(() => verifyCheckpoint(cosigned, asLog)).toThrow(invalid);
});

test("another log's key, name or origin refuses", () => {
  const stranger = { name: origin, publicKey: strangerKey.publicKey };
  expect(() => verifyCheckpoint(cosigned, { ...trust, log: stranger })).toThrow(invalid);
  const renamed = { ...trust.log, name: "vault.example" };
  expect(() => verifyCheckpoint(cosigned, { ...trust, log: renamed })).toThrow(invalid);
  expect(() => verifyCheckpoint(cosigned, { ...trust, origin: "vault.example" })).toThrow(invalid);
});

const signatureLine = signed.split("\n\n")[1] ?? "";
const rootLine = Buffer.from(root).toString("base64");

test.for<{ title: string; note: string }>([
  { title: "nothing", note: "" },
  { title: "no signature", note: `${origin}\n7\n${rootLine}\n` },
  { title: "an empty signature part", note: `${origin}\n7\n${rootLine}\n\n` },
  { title: "an open last line", note: signed.slice(0, -1) },
  { title: "an extension line", note: signed.replace("\n\n", "\nextension\n\n") },
  { title: "two lines", note: `${origin}\n7\n\n${signatureLine}` },
  { title: "an empty origin", note: signed.replace(origin, "") },
  { title: "a long origin", note: signed.replace(origin, "o".repeat(256)) },
  { title: "a size with a zero in front", note: signed.replace("\n7\n", "\n07\n") },
  { title: "a negative size", note: signed.replace("\n7\n", "\n-7\n") },
  { title: "a size with a sign", note: signed.replace("\n7\n", "\n+7\n") },
  { title: "a size in hex", note: signed.replace("\n7\n", "\n0x7\n") },
  { title: "an unsafe size", note: signed.replace("\n7\n", "\n9007199254740992\n") },
  { title: "a size of twenty digits", note: signed.replace("\n7\n", "\n10000000000000000000\n") },
  { title: "a short root", note: signed.replace(rootLine, rootLine.slice(4)) },
  { title: "a root that is no base64", note: signed.replace(rootLine, rootLine.slice(0, -1)) },
  { title: "a carriage return", note: signed.replace("\n7\n", "\r\n7\n") },
  { title: "a tab", note: signed.replace("\n7\n", "\t\n7\n") },
  { title: "a lone surrogate", note: signed.replace(origin, "\ud800") },
  { title: "a line without a dash", note: signed.replace("\u2014 ", "- ") },
  { title: "a signature without bytes", note: `${origin}\n7\n${rootLine}\n\n\u2014 a AAAAAA==\n` },
  { title: "a name with a plus", note: signed.replace("\u2014 vault", "\u2014 v+ult") },
  { title: "a third word", note: signed.replace("log ", "log log ") },
])("parses no checkpoint with $title", ({ note }) => {
  expect(note).not.toBe(signed);
  expect(() => parseCheckpoint(note)).toThrow(invalid);
  expect(() => verifyCheckpoint(note, { ...trust, quorum: 0 })).toThrow(invalid);
});

test("the size of the text is judged first", () => {
  const long = "x".repeat(CHECKPOINT_TEXT_MAX + 1);
  const tooLarge = expect.objectContaining({ code: "SCHEMA_TOO_LARGE" });
  expect(() => parseCheckpoint(long)).toThrow(tooLarge);
  const cosignForever = (): void => {
    let note = signed;
    for (;;) note = cosignCheckpoint(note, { signerName: "w", key: oneKey, timeSeconds: 1 });
  };
  expect(cosignForever).toThrow(tooLarge);
});

test("any text is refused", () => {
  const lines = fc.array(fc.oneof(fc.string(), fc.constantFrom(...signed.split("\n"))));
  fc.assert(
    fc.property(lines, (each) => {
      const note = each.join("\n");
      fc.pre(note !== signed);
      expect(() => verifyCheckpoint(note, trust)).toThrow(SymphonyError);
    }),
  );
});

test.for([
  { title: "an origin of two lines", wrong: { origin: "a\nb" } },
  { title: "no origin", wrong: { origin: "" } },
  { title: "half a size", wrong: { size: 0.5 } },
  { title: "a negative size", wrong: { size: -1 } },
  { title: "a short root", wrong: { root: new Uint8Array(31) } },
  { title: "a signer with a space", wrong: { signerName: "a b" } },
  { title: "a signer with a plus", wrong: { signerName: "a+b" } },
  { title: "no signer", wrong: { signerName: "" } },
])("signs no checkpoint with $title", ({ wrong }) => {
  const args = { origin, size: 7, root, signerName: origin, key: logKey };
  expect(() => signCheckpoint({ ...args, ...wrong })).toThrow(
    expect.objectContaining({ code: "SCHEMA_MALFORMED" }),
  );
});

test("cosigns no time that is none, and no text that is no checkpoint", () => {
  const args = { signerName: "w", key: oneKey };
  for (const timeSeconds of [-1, 0.5, 2 ** 53]) {
    expect(() => cosignCheckpoint(signed, { ...args, timeSeconds })).toThrow(
      expect.objectContaining({ code: "SCHEMA_MALFORMED" }),
    );
  }
  expect(() => cosignCheckpoint("hello\n", { ...args, timeSeconds: 1 })).toThrow(invalid);
});
