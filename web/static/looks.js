// Ways of looking at a mesh: as it is, without its colours, by its normals, by its triangles.

import * as THREE from "three";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Looks {
  #name = "textured";
  #object = null;
  #clay = new THREE.MeshStandardMaterial({ roughness: 0.85, metalness: 0, side: THREE.DoubleSide });
  #ground = new THREE.MeshBasicMaterial({
    polygonOffset: true,
    polygonOffsetFactor: 1,
    polygonOffsetUnits: 1,
    side: THREE.DoubleSide,
  });
  #lines = new THREE.MeshBasicMaterial({ wireframe: true, transparent: true, opacity: 0.55 });

  constructor() {
    this.restyle();
  }

  // The colours of the theme.
  restyle() {
    this.#clay.color.set(css("--clay"));
    this.#ground.color.set(css("--wire-ground"));
    this.#lines.color.set(css("--wire"));
  }

  adopt(object) {
    this.#object = object;
    for (const mesh of meshes(object)) mesh.userData.own = mesh.material;
    this.use(this.#name);
  }

  use(name) {
    this.#name = name;
    if (!this.#object) return;
    for (const mesh of meshes(this.#object)) this.#dress(mesh);
  }

  #dress(mesh) {
    mesh.material = this.#material(mesh);
    const wires = mesh.userData.wires;
    if (this.#name === "wireframe" && !wires) {
      mesh.userData.wires = new THREE.Mesh(mesh.geometry, this.#lines);
      mesh.userData.wires.userData.helper = true;
      mesh.add(mesh.userData.wires);
    } else if (this.#name !== "wireframe" && wires) {
      mesh.remove(wires);
      delete mesh.userData.wires;
    }
  }

  #material(mesh) {
    if (this.#name === "clay") return this.#clay;
    if (this.#name === "wireframe") return this.#ground;
    if (this.#name === "normals") return (mesh.userData.normals ??= normalsOf(mesh.userData.own));
    return mesh.userData.own;
  }

  // Whether something of it mirrors what is around.
  shiny(object) {
    const materials = meshes(object).flatMap((mesh) => mesh.userData.own ?? mesh.material);
    return materials.some(({ metalness = 0, roughness = 1 }) => metalness > 0.05 || roughness < 0.6);
  }

  facts(object) {
    let triangles = 0;
    for (const { geometry } of meshes(object)) triangles += (geometry.index ?? geometry.attributes.position).count / 3;
    return { triangles, textured: Boolean(baseColour(object)) };
  }

  textureSheet(object) {
    const picture = baseColour(object)?.image;
    if (!picture) return null;
    const canvas = document.createElement("canvas");
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
    return canvas;
  }

  // Gives back what the graphics card holds of an object.
  dispose(object) {
    if (this.#object === object) this.#object = null;
    for (const mesh of meshes(object)) {
      mesh.geometry.dispose();
      mesh.userData.normals?.dispose();
      for (const material of [mesh.userData.own ?? mesh.material].flat()) disposeMaterial(material);
    }
  }
}

function meshes(object) {
  const found = [];
  object.traverse((child) => child.isMesh && !child.userData.helper && found.push(child));
  return found;
}

const baseColour = (object) =>
  meshes(object)
    .flatMap((mesh) => mesh.userData.own ?? mesh.material)
    .find((material) => material.map)?.map;

function normalsOf(own) {
  const { normalMap = null, normalScale, side } = [own].flat()[0];
  const material = new THREE.MeshNormalMaterial({ normalMap, side });
  if (normalScale) material.normalScale.copy(normalScale);
  return material;
}

function disposeMaterial(material) {
  for (const value of Object.values(material)) {
    if (!value?.isTexture) continue;
    value.dispose();
    value.image?.close?.();
  }
  material.dispose();
}
