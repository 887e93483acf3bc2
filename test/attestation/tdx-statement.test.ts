import { expect, test } from "vitest";

import { parseBody, parseStatement, tcbInfoSchema } from "../../attestation/tdx/statement.ts";
import { utf8 } from "../../protocol/index.ts";
import { TDX_COLLATERAL } from "./tdx-collateral.ts";

const { body } = parseStatement(TDX_COLLATERAL.tcbInfo, "tcbInfo");
const TEXT = new TextDecoder().decode(body);
const COMPONENT = /\{"svn":\d+[^}]*\}/;

function parseWithComponent(component: string): unknown {
  return parseBody(utf8(TEXT.replace(COMPONENT, component)), tcbInfoSchema, "tcbInfo");
}

test.for(['{"svn":0}', '{"svn":255}', '{"svn":1,"category":"BIOS","type":"late"}'])(
  "[TT-5] reads a component %s",
  (component) => {
    expect(TEXT).toMatch(COMPONENT);
    expect(parseWithComponent(component)).toHaveProperty("id", "TDX");
  },
);

test.for([
  "1",
  "null",
  "[]",
  "{}",
  '{"svn":"1"}',
  '{"svn":1.5}',
  '{"svn":-1}',
  '{"svn":256}',
  '{"svn":1,"category":2}',
  '{"svn":1,"other":"a"}',
])("[TT-5] refuses a component %s", (component) => {
  expect(() => parseWithComponent(component)).toThrow(
    expect.objectContaining({ code: "TEE_COLLATERAL_MALFORMED" }),
  );
});
