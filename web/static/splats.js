// Gaussian splats, drawn by Spark. Loaded only when there is a file of them: Spark is four times the size of three.

import * as THREE from "three";
import { SparkRenderer, SplatMesh } from "spark";

// An object for the scene, with its box and how to give it back.
export async function makeSplats(renderer, bytes, onDirty) {
  const splats = new SplatMesh({ fileBytes: bytes, fileType: "ply" });
  await splats.initialized;
  const spark = new SparkRenderer({ renderer, onDirty });
  const object = new THREE.Group();
  object.add(splats);
  object.add(spark);
  const dispose = () => {
    splats.dispose();
    spark.dispose();
  };
  return { object, box: splats.getBoundingBox(true), dispose };
}
