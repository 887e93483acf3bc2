import { expect, test } from "vitest";

import { decryptOnce, encryptOnce, utf8 } from "#protocol";

const key = new Uint8Array(32).fill(7);
const aad = utf8("batch 7");
const code = "INTERNAL_OPEN_FAILED";

test("[TT-3] what was encrypted under a key opens under it, for the same purpose only", () => {
  const sealed = encryptOnce(key, aad, utf8("a data key"));
  expect(sealed).toHaveLength(10 + 16);
  expect(decryptOnce(key, aad, sealed)).toEqual(utf8("a data key"));
  const other = utf8("batch 8");
  expect(() => decryptOnce(key, other, sealed)).toThrow(expect.objectContaining({ code }));
});

test.for([0, 4, 8, 12, 13, 14, 15])("[TT-3] a tag cut to %i bytes opens nothing", (length) => {
  const tag = encryptOnce(key, aad, new Uint8Array(0)).subarray(0, length);
  expect(() => decryptOnce(key, aad, tag)).toThrow(expect.objectContaining({ code }));
});

test("[TT-3] a message whose end was cut off does not open", () => {
  const sealed = encryptOnce(key, aad, utf8("a data key"));
  for (let length = 0; length < sealed.length; length += 1) {
    const cut = sealed.subarray(0, length);
    expect(() => decryptOnce(key, aad, cut)).toThrow(expect.objectContaining({ code }));
  }
});
