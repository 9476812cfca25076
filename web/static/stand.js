// What the model stands on: a modelling stand's ring with a tick every ten degrees, and the model's soft shadow.

import * as THREE from "three";

const SIDE = 1024;
const MIDDLE = SIDE / 2;

// Draws it, or draws an existing one again in the colours of the theme.
export function drawStand(stand = make()) {
  const paper = stand.material.map.image.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  paper.clearRect(0, 0, SIDE, SIDE);
  drawShadow(paper, Number(style.getPropertyValue("--shadow-strength")));
  paper.strokeStyle = style.getPropertyValue("--stand").trim();
  drawRing(paper);
  stand.material.map.needsUpdate = true;
  return stand;
}

function make() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const map = new THREE.CanvasTexture(canvas);
  map.colorSpace = THREE.SRGBColorSpace;
  map.anisotropy = 8;
  const material = new THREE.MeshBasicMaterial({ map, transparent: true, depthWrite: false, toneMapped: false });
  const stand = new THREE.Mesh(new THREE.PlaneGeometry(2, 2), material);
  stand.rotation.x = -Math.PI / 2;
  stand.renderOrder = -1;
  stand.visible = false;
  return stand;
}

function drawShadow(paper, strength) {
  const shadow = paper.createRadialGradient(MIDDLE, MIDDLE, 0, MIDDLE, MIDDLE, MIDDLE * 0.72);
  shadow.addColorStop(0, `rgb(0 0 0 / ${strength})`);
  shadow.addColorStop(0.45, `rgb(0 0 0 / ${strength * 0.45})`);
  shadow.addColorStop(1, "rgb(0 0 0 / 0)");
  paper.fillStyle = shadow;
  paper.fillRect(0, 0, SIDE, SIDE);
}

function drawRing(paper) {
  paper.lineWidth = 2.5;
  paper.beginPath();
  paper.arc(MIDDLE, MIDDLE, MIDDLE * 0.9, 0, Math.PI * 2);
  for (let degree = 0; degree < 360; degree += 10) {
    const angle = (degree * Math.PI) / 180;
    const inner = MIDDLE * (degree % 90 === 0 ? 0.82 : degree % 30 === 0 ? 0.855 : 0.875);
    paper.moveTo(MIDDLE + Math.cos(angle) * inner, MIDDLE + Math.sin(angle) * inner);
    paper.lineTo(MIDDLE + Math.cos(angle) * MIDDLE * 0.9, MIDDLE + Math.sin(angle) * MIDDLE * 0.9);
  }
  paper.stroke();
}
