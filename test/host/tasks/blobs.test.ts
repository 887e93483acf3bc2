import { afterEach, beforeEach, expect, test } from "vitest";

import { ARTIFACT_BYTES_MAX } from "../../../host/tasks/index.ts";
import { sha256, utf8 } from "../../../protocol/index.ts";
import {
  openCoordinatorRig,
  removeCoordinatorRig,
  type CoordinatorRig,
} from "../../helpers/coordinator-rig.ts";
import { artifactRegistered } from "../../helpers/network.ts";
import { describePlaces } from "../../helpers/store-places.ts";

const MODEL = utf8("a model");
describePlaces((places) => {
  let rig: CoordinatorRig & { readonly folder: string };

  beforeEach(async () => {
    rig = await openCoordinatorRig({
      at: places.newPlace(),
      decisions: [artifactRegistered(MODEL, "model")],
    });
  });

  afterEach(() => removeCoordinatorRig(rig));

  test("keeps a registered model by its digest, and the same bytes twice are one", async () => {
    await rig.blobs.putArtifact(MODEL, rig.state);
    await rig.blobs.putArtifact(MODEL, rig.state);
    expect(await rig.blobs.artifact(sha256(MODEL))).toEqual(MODEL);
  });

  test("refuses a model that governance did not register, and one too large, and keeps neither", async () => {
    const unregistered = { code: "EXECUTION_WORKLOAD_UNREGISTERED" };
    const other = utf8("b model");
    await expect(rig.blobs.putArtifact(other, rig.state)).rejects.toMatchObject(unregistered);
    await expect(rig.blobs.artifact(sha256(other))).rejects.toMatchObject(unregistered);
    const large = new Uint8Array(ARTIFACT_BYTES_MAX + 1);
    await expect(rig.blobs.putArtifact(large, rig.state)).rejects.toMatchObject({
      code: "SCHEMA_TOO_LARGE",
    });
    expect(await rig.store.db.selectFrom("artifact").selectAll().execute()).toEqual([]);
  });

  test("keeps the newest excerpt of each actor, in order of actor", async () => {
    await rig.blobs.putExcerpt("t-1", "vault-2", utf8("two"));
    await rig.blobs.putExcerpt("t-1", "vault-1", utf8("old"));
    await rig.blobs.putExcerpt("t-1", "vault-1", utf8("new"));
    await rig.blobs.putExcerpt("t-2", "vault-1", utf8("other"));
    expect(await rig.blobs.excerpts("t-1")).toEqual([
      { actorId: "vault-1", excerpt: utf8("new") },
      { actorId: "vault-2", excerpt: utf8("two") },
    ]);
  });
});
