import { inspect } from "node:util";

import { expect, test } from "vitest";

import { Secret, utf8, utf8Text } from "#protocol";

test("[DS-5] a secret shows itself nowhere", () => {
  using secret = new Secret(utf8("canary"));
  const shown = [`${secret.toString()}`, JSON.stringify({ secret }), inspect({ secret })];
  for (const text of shown) {
    expect(text).toContain("[secret]");
    expect(text).not.toContain("canary");
    expect(text).not.toContain("99, 97");
  }
  expect(Object.keys(secret)).toEqual([]);
});

test("a secret is used in place and compared", () => {
  using secret = new Secret(utf8("canary"));
  expect(secret.use(utf8Text)).toBe("canary");
  expect(secret.length).toBe(6);
  expect(secret.equals(utf8("canary"))).toBe(true);
  expect(secret.equals(utf8("canarz"))).toBe(false);
});

test("a secret is zeroed when its scope ends, and cannot be used again", () => {
  const bytes = utf8("canary");
  const kept = ((): Secret => {
    using secret = new Secret(bytes);
    return secret;
  })();
  expect(bytes).toEqual(new Uint8Array(6));
  expect(() => kept.use(utf8Text)).toThrow(
    expect.objectContaining({ code: "INTERNAL_UNEXPECTED" }),
  );
});
