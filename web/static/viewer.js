// One WebGL canvas that shows one model: light, camera, turning, and ways of looking at it.
// Draws only when something has changed.

import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { RoomEnvironment } from "three/addons/environments/RoomEnvironment.js";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

import { reducedMotion } from "./dom.js";
import { Looks } from "./looks.js";
import { drawStand } from "./stand.js";

const FIELD_OF_VIEW = 32; // degrees; a long lens, so that small things do not look bent
const FRONT = new THREE.Vector3(0.42, 0.26, 1).normalize(); // glTF models look along +Z
const MATTE_SKY = 2.7; // light from above; less where a room is reflected, which shines too
const SHINY_SKY = 0.9;
const KEY_TURN = 0.16; // radians
const KEY_ZOOM = 0.9;
const FINEST_PIXELS = 2;

export class Viewer extends EventTarget {
  #scheduled = false;
  #visible = true;
  #model = null; // {object, radius, dispose}
  #clock = new THREE.Timer();

  // Raises when the browser has no WebGL to give.
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.toneMapping = THREE.NeutralToneMapping; // keeps a texture's own colours
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, FINEST_PIXELS));
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(FIELD_OF_VIEW, 1, 0.01, 100);
    this.looks = new Looks();
    this.#light();
    this.stand = drawStand();
    this.scene.add(this.stand);
    this.#control();
    this.#watch();
  }

  // Replaces what is shown; the camera stays when the new model is the old one in better.
  async showGlb(bytes, { keepCamera = false } = {}) {
    const { scene: object } = await new GLTFLoader().parseAsync(bytes, "");
    const box = new THREE.Box3().setFromObject(object);
    this.#take({ object, dispose: () => this.looks.dispose(object) }, box, keepCamera);
    this.#reflect(object);
    this.looks.adopt(object);
  }

  async showSplats(bytes) {
    const { makeSplats } = await import("./splats.js");
    const splats = await makeSplats(this.renderer, bytes, () => this.invalidate());
    this.#take(splats, splats.box, false);
  }

  #take(model, box, keepCamera) {
    this.clear();
    const sphere = box.getBoundingSphere(new THREE.Sphere());
    const keep = keepCamera && this.sphere;
    model.object.position.sub(sphere.center); // the model's middle is the middle of the world
    this.#model = model;
    this.sphere = sphere;
    this.scene.add(model.object);
    this.#placeStand(box, sphere);
    if (!keep) this.reset();
    this.invalidate();
  }

  #placeStand(box, sphere) {
    const size = box.getSize(new THREE.Vector3());
    this.stand.visible = true;
    this.stand.scale.setScalar(Math.hypot(size.x, size.z) * 0.5 * 1.32);
    this.stand.position.y = box.min.y - sphere.center.y - size.y * 0.004;
  }

  get facts() {
    return this.#model ? this.looks.facts(this.#model.object) : null;
  }

  // The base colour texture as a canvas; null where there is none.
  textureSheet() {
    return this.#model ? this.looks.textureSheet(this.#model.object) : null;
  }

  look(name) {
    this.looks.use(name);
    this.invalidate();
  }

  clear() {
    this.stand.visible = false;
    if (!this.#model) return;
    this.scene.remove(this.#model.object);
    this.#model.dispose();
    this.#model = null;
    this.invalidate();
  }

  forgetCamera() {
    this.sphere = null;
  }

  reset() {
    const radius = this.sphere?.radius || 1;
    // The narrower of the two angles has to hold the model.
    const half = Math.atan(Math.tan((FIELD_OF_VIEW * Math.PI) / 360) * Math.min(this.camera.aspect, 1));
    const distance = (radius / Math.sin(half)) * 1.06;
    this.camera.near = distance / 100;
    this.camera.far = distance * 20;
    this.camera.position.copy(FRONT).multiplyScalar(distance);
    this.camera.updateProjectionMatrix();
    this.controls.target.set(0, -0.07 * radius, 0); // leaves room for the stand
    this.controls.minDistance = radius * 0.3;
    this.controls.maxDistance = distance * 4;
    this.controls.update();
    this.invalidate();
  }

  get turning() {
    return this.controls.autoRotate;
  }

  set turning(on) {
    if (on === this.controls.autoRotate) return;
    this.controls.autoRotate = on;
    this.dispatchEvent(new Event("turning"));
    this.invalidate();
  }

  // Asks for one frame. A model at rest costs nothing.
  invalidate() {
    if (this.#scheduled || !this.#visible) return;
    this.#scheduled = true;
    requestAnimationFrame((now) => this.#frame(now));
  }

  #frame(now) {
    this.#scheduled = false;
    this.#clock.update(now);
    // After a rest the time since the last frame is no measure of anything.
    const moved = this.controls.update(Math.min(this.#clock.getDelta(), 0.1));
    this.renderer.render(this.scene, this.camera);
    if (moved || this.turning) this.invalidate();
  }

  // Soft light from above and a key from the left: enough for what does not shine.
  #light() {
    const key = new THREE.DirectionalLight(0xffffff, 1.35);
    key.position.set(-1, 1.4, 2);
    const back = new THREE.DirectionalLight(0xffffff, 0.9);
    back.position.set(1.5, 1, -2);
    this.sky = new THREE.HemisphereLight(0xffffff, 0xcfcac2, MATTE_SKY);
    this.scene.add(this.sky, key, back);
  }

  // What shines needs a room to reflect. Making one costs more than drawing the model, so matte models do without.
  #reflect(object) {
    const wanted = object && this.looks.shiny(object);
    this.sky.intensity = wanted ? SHINY_SKY : MATTE_SKY;
    if (wanted === Boolean(this.scene.environment)) return;
    this.scene.environment?.dispose();
    this.scene.environment = wanted ? makeRoom(this.renderer) : null;
  }

  #control() {
    const { canvas } = this;
    // Before the controls listen: the wheel scrolls the page until the model has been chosen.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !document.fullscreenElement && !event.ctrlKey)
        event.stopImmediatePropagation();
    });
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = !reducedMotion();
    this.controls.autoRotateSpeed = 1.6;
    this.controls.enablePan = false;
    this.controls.addEventListener("change", () => this.invalidate());
    this.controls.addEventListener("start", () => this.dispatchEvent(new Event("touched")));
    canvas.style.touchAction = "pan-y"; // a finger going up or down scrolls the page
    canvas.addEventListener("pointerdown", () => canvas.focus({ preventScroll: true }));
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { controls } = this;
    const deeds = {
      ArrowLeft: () => controls.rotateLeft(KEY_TURN),
      ArrowRight: () => controls.rotateLeft(-KEY_TURN),
      ArrowUp: () => controls.rotateUp(KEY_TURN),
      ArrowDown: () => controls.rotateUp(-KEY_TURN),
      "+": () => controls.dollyIn(KEY_ZOOM),
      "=": () => controls.dollyIn(KEY_ZOOM),
      "-": () => controls.dollyOut(KEY_ZOOM),
      0: () => this.reset(),
      Home: () => this.reset(),
      " ": () => (this.turning = !this.turning),
    };
    if (!deeds[event.key]) return;
    event.preventDefault();
    deeds[event.key]();
    this.invalidate();
  }

  #watch() {
    new ResizeObserver(() => this.#resize()).observe(this.canvas.parentElement);
    new IntersectionObserver(([entry]) => {
      this.#visible = entry.isIntersecting;
      this.invalidate();
    }).observe(this.canvas);
    document.addEventListener("theme", () => this.#restyle());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#restyle());
    this.canvas.addEventListener("webglcontextlost", () => this.dispatchEvent(new Event("lost")));
    this.canvas.addEventListener("webglcontextrestored", () => {
      // What was loaded is sent to the card again by itself; what the card had drawn itself is gone.
      this.scene.environment = null;
      this.#reflect(this.#model?.object);
      this.dispatchEvent(new Event("restored"));
      this.invalidate();
    });
  }

  #restyle() {
    drawStand(this.stand);
    this.looks.restyle();
    this.invalidate();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.renderer.render(this.scene, this.camera); // at once: a resized canvas is blank until it is drawn
  }
}

function makeRoom(renderer) {
  const generator = new THREE.PMREMGenerator(renderer);
  const room = new RoomEnvironment();
  const { texture } = generator.fromScene(room, 0.04, 0.1, 100, { size: 128 });
  room.dispose();
  generator.dispose();
  return texture;
}
