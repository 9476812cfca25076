"""Draws every example picture anew: `python examples/draw.py [folder]`. The same bytes every time."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parent))

from paint import Canvas, blend, blurred, colour  # noqa: E402
from toy import duck_view  # noqa: E402


def person() -> Image.Image:
    c = Canvas(768)
    x, y = c.grid()
    skin, hair, boots = "#efb48d", "#6b3d22", "#5a4036"
    for side in (-1, 1):  # legs and boots
        leg = c.tube(
            [(0.5 + side * 0.055, 0.60), (0.5 + side * 0.07, 0.75), (0.5 + side * 0.075, 0.90)], [0.062, 0.05, 0.042]
        )
        c.add(leg, blend("#37517e", "#2b3f66", (y - 0.6) * 3), 0.05)
        boot = c.blob(
            [
                (0.5 + side * k, v)
                for k, v in ((0.03, 0.87), (0.12, 0.87), (0.125, 0.92), (0.15, 0.955), (0.14, 0.975), (0.03, 0.975))
            ]
        )
        c.add(boot, boots, 0.03, gloss=0.12)
        c.add(c.tube([(0.5 + side * 0.03, 0.972), (0.5 + side * 0.14, 0.972)], [0.008, 0.008]), "#d9cdbb", 0.01)
        c.add(c.tube([(0.5 + side * 0.035, 0.876), (0.5 + side * 0.115, 0.876)], [0.012, 0.012]), "#7a5a48", 0.015)
    for side in (-1, 1):  # arms, away from the body
        arm = c.tube(
            [(0.5 + side * 0.10, 0.375), (0.5 + side * 0.185, 0.46), (0.5 + side * 0.235, 0.575)], [0.046, 0.042, 0.036]
        )
        c.add(arm, blend("#e2673f", "#d2552f", (y - 0.37) * 4), 0.045)
        cuff = c.tube([(0.5 + side * 0.215, 0.567), (0.5 + side * 0.262, 0.555)], [0.014, 0.014])
        c.add(cuff, "#f7d9a0", 0.02)
        c.add(c.ellipse(0.5 + side * 0.252, 0.605, 0.034, 0.042, side * 20), skin, 0.035)
        c.add(c.tube([(0.5 + side * 0.225, 0.59), (0.5 + side * 0.215, 0.615)], [0.014, 0.011]), skin, 0.02)
    coat = c.blob(
        [
            (0.42, 0.325),
            (0.58, 0.325),
            (0.625, 0.375),
            (0.615, 0.50),
            (0.635, 0.655),
            (0.50, 0.675),
            (0.365, 0.655),
            (0.385, 0.50),
            (0.375, 0.375),
        ]
    )
    c.shadow(coat, 0.0, 0.012, 0.012, 0.35)
    c.add(coat, blend("#f07a4c", "#d65a34", (y - 0.34) * 3), 0.075)
    c.add(c.tube([(0.5, 0.36), (0.501, 0.5), (0.5, 0.67)], [0.004] * 3), "#b84526", 0.008)
    for row in (0.42, 0.49, 0.56, 0.63):
        c.add(c.ellipse(0.522, row, 0.011, 0.011), "#ffe3a8", 0.012, gloss=0.3)
    for side in (-1, 1):
        c.add(
            c.blob([(0.5 + side * k, v) for k, v in ((0.05, 0.545), (0.10, 0.54), (0.105, 0.61), (0.05, 0.615))]),
            "#c64f2c",
            0.015,
        )
    scarf = c.tube([(0.405, 0.335), (0.46, 0.36), (0.54, 0.36), (0.595, 0.335)], [0.028, 0.032, 0.032, 0.028])
    c.shadow(scarf, 0.004, 0.012, 0.01, 0.4)
    c.add(scarf, blend("#2f9c95", "#3fb8ab", np.sin(x * 150) * 0.5 + 0.5), 0.03)
    tail = c.tube([(0.455, 0.365), (0.445, 0.42), (0.452, 0.475)], [0.024, 0.026, 0.028])
    c.shadow(tail, 0.006, 0.008, 0.01, 0.35)
    c.add(tail, blend("#2f9c95", "#3fb8ab", np.sin(y * 150) * 0.5 + 0.5), 0.028)
    c.add(
        c.blob(
            [
                (0.35, 0.20),
                (0.37, 0.09),
                (0.5, 0.035),
                (0.63, 0.09),
                (0.65, 0.20),
                (0.635, 0.30),
                (0.5, 0.325),
                (0.365, 0.30),
            ]
        ),
        hair,
        0.06,
    )
    face = c.ellipse(0.5, 0.215, 0.118, 0.122)
    c.add(face, blend("#f6c29d", "#e9a67d", (y - 0.1) * 4), 0.07, shade=0.4)
    for side in (-1, 1):
        c.add(c.ellipse(0.5 + side * 0.125, 0.225, 0.020, 0.028), skin, 0.02)
        cheek = blurred(c.ellipse(0.5 + side * 0.066, 0.262, 0.024, 0.017), 12)
        c.add(cheek * 0.6, "#ef7d6b", 0)
        c.add(c.ellipse(0.5 + side * 0.047, 0.218, 0.0165, 0.022), "#3a2a22", 0.015, gloss=0.25)
        c.add(c.ellipse(0.5 + side * 0.047 - 0.005, 0.210, 0.005, 0.006), "#ffffff", 0)
        brow = c.tube(
            [(0.5 + side * 0.028, 0.178), (0.5 + side * 0.05, 0.171), (0.5 + side * 0.072, 0.180)],
            [0.005, 0.006, 0.004],
        )
        c.add(brow, "#573019", 0)
    c.add(c.ellipse(0.5, 0.247, 0.013, 0.010), "#e5936c", 0.015)
    smile = c.tube([(0.465, 0.276), (0.5, 0.291), (0.535, 0.276)], [0.004, 0.0065, 0.004])
    c.add(smile, "#a8432f", 0)
    fringe = c.blob(
        [
            (0.372, 0.215),
            (0.375, 0.12),
            (0.44, 0.065),
            (0.56, 0.062),
            (0.625, 0.12),
            (0.628, 0.215),
            (0.60, 0.150),
            (0.53, 0.128),
            (0.47, 0.155),
            (0.42, 0.138),
        ]
    )
    c.shadow(fringe * face, 0.0, 0.010, 0.008, 0.3)
    c.add(fringe, blend("#7d4a29", "#5d331b", np.sin((x + y * 0.3) * 130) * 0.5 + 0.5), 0.035)
    return c.image()


def fox() -> Image.Image:
    c = Canvas()
    x, y = c.grid()
    orange = blend("#f08a32", "#d9651c", (y - 0.3) * 1.6)
    tail = c.tube(
        [(0.60, 0.86), (0.78, 0.84), (0.85, 0.68), (0.80, 0.52), (0.84, 0.42)], [0.07, 0.10, 0.105, 0.09, 0.02]
    )
    c.add(tail, orange, 0.07)
    tip = c.blob([(0.70, 0.56), (0.76, 0.50), (0.80, 0.53), (0.86, 0.49), (0.93, 0.54), (0.90, 0.36), (0.80, 0.36)])
    c.add(tail * tip, "#fff4e2", 0.04)
    body = c.blob(
        [
            (0.40, 0.48),
            (0.56, 0.48),
            (0.64, 0.62),
            (0.69, 0.80),
            (0.66, 0.92),
            (0.48, 0.945),
            (0.30, 0.92),
            (0.27, 0.80),
            (0.32, 0.62),
        ]
    )
    c.shadow(body, 0.015, 0.0, 0.02, 0.35)
    c.add(body, orange, 0.10)
    c.add(
        c.blob([(0.42, 0.52), (0.54, 0.52), (0.58, 0.64), (0.55, 0.78), (0.48, 0.83), (0.41, 0.78), (0.38, 0.64)]),
        "#fff1dd",
        0.05,
        shade=0.35,
    )
    for side in (-1, 1):
        haunch = c.ellipse(0.48 + side * 0.155, 0.83, 0.082, 0.105, side * -12)
        c.add(haunch, orange, 0.07)
        leg = c.tube(
            [(0.48 + side * 0.062, 0.66), (0.48 + side * 0.066, 0.80), (0.48 + side * 0.07, 0.93)],
            [0.055, 0.046, 0.044],
        )
        c.shadow(leg, side * 0.012, 0.005, 0.012, 0.35)
        c.add(leg, blend("#ee8530", "#3b2620", (y - 0.80) * 9), 0.045)
        c.add(c.ellipse(0.48 + side * 0.075, 0.943, 0.062, 0.034), "#35221d", 0.03)
        for toe in (-0.02, 0.02):
            c.add(
                c.tube([(0.48 + side * 0.075 + toe, 0.945), (0.48 + side * 0.075 + toe, 0.968)], [0.003] * 2),
                "#1d120f",
                0,
            )
    for side in (-1, 1):
        ear = c.blob(
            [
                (0.48 + side * k, v)
                for k, v in ((0.055, 0.20), (0.125, 0.075), (0.185, 0.02), (0.205, 0.12), (0.195, 0.27))
            ]
        )
        c.add(ear, orange, 0.04)
        c.add(
            c.blob(
                [
                    (0.48 + side * k, v)
                    for k, v in ((0.105, 0.19), (0.145, 0.11), (0.172, 0.075), (0.182, 0.14), (0.172, 0.24))
                ]
            ),
            "#4a2c22",
            0.03,
        )
    head = c.blob(
        [
            (0.48, 0.155),
            (0.62, 0.185),
            (0.70, 0.30),
            (0.735, 0.415),
            (0.62, 0.475),
            (0.54, 0.535),
            (0.48, 0.555),
            (0.42, 0.535),
            (0.34, 0.475),
            (0.225, 0.415),
            (0.26, 0.30),
            (0.34, 0.185),
        ]
    )
    c.shadow(head, 0.0, 0.022, 0.02, 0.45)
    c.add(head, orange, 0.10)
    for side in (-1, 1):
        cheek = c.blob(
            [
                (0.48 + side * k, v)
                for k, v in (
                    (0.03, 0.42),
                    (0.11, 0.375),
                    (0.20, 0.37),
                    (0.265, 0.42),
                    (0.14, 0.475),
                    (0.06, 0.54),
                    (0.005, 0.55),
                )
            ]
        )
        c.add(cheek * head, "#fff4e4", 0.05, shade=0.35)
        c.add(c.ellipse(0.48 + side * 0.105, 0.325, 0.026, 0.034, side * 12), "#2a1a14", 0.02, gloss=0.3)
        c.add(c.ellipse(0.48 + side * 0.105 - 0.008, 0.312, 0.008, 0.010), "#ffffff", 0)
    c.add(
        c.blob([(0.455, 0.37), (0.505, 0.37), (0.525, 0.47), (0.48, 0.52), (0.435, 0.47)]), "#f3a25c", 0.04, shade=0.4
    )
    c.add(
        c.blob([(0.445, 0.482), (0.515, 0.482), (0.51, 0.512), (0.48, 0.532), (0.45, 0.512)]),
        "#241712",
        0.02,
        gloss=0.35,
    )
    return c.image()


def mug() -> Image.Image:
    c = Canvas()
    x, y = c.grid()
    handle = c.tube(
        [(0.62, 0.32), (0.80, 0.30), (0.88, 0.46), (0.82, 0.63), (0.62, 0.70)], [0.042, 0.044, 0.044, 0.042, 0.042]
    )
    c.add(handle, "#2a8c9e", 0.04, gloss=0.35)
    wall = c.blob(
        [
            (0.10, 0.20),
            (0.105, 0.45),
            (0.125, 0.70),
            (0.17, 0.86),
            (0.26, 0.905),
            (0.40, 0.915),
            (0.54, 0.905),
            (0.63, 0.86),
            (0.675, 0.70),
            (0.695, 0.45),
            (0.70, 0.20),
            (0.55, 0.165),
            (0.25, 0.165),
        ]
    )
    c.shadow(wall, 0.02, 0.01, 0.015, 0.4)
    c.add(wall, blend("#37a9bb", "#1f7486", (y - 0.15) * 1.2), 0.13, gloss=0.25)
    wave = 0.035 * np.sin(x * 42)
    c.add(wall * ((y > 0.52 + wave) & (y < 0.585 + wave)).astype(np.float32), "#fdf3df", 0.0)
    c.add(wall * ((y > 0.62 + wave) & (y < 0.645 + wave)).astype(np.float32), "#f3b54a", 0.0)
    side_shade = np.clip((x - 0.42) * 1.6, 0, 0.45) * wall * (x < 0.71)
    c.pixels[..., :3] *= 1 - side_shade[..., None] * 0.8
    c.add(c.ellipse(0.40, 0.19, 0.302, 0.075), "#48bccb", 0.02, gloss=0.2)
    c.add(c.ellipse(0.40, 0.195, 0.272, 0.060), "#175d6c", 0.02)
    coffee = c.ellipse(0.40, 0.215, 0.245, 0.046)
    c.add(coffee, blend("#7c4a25", "#4a2812", (x - 0.2) * 2), 0.0)
    c.add(c.ellipse(0.37, 0.212, 0.10, 0.017), "#a8703f", 0.015)
    shine = blurred(c.tube([(0.185, 0.30), (0.195, 0.45), (0.215, 0.50)], [0.016, 0.018, 0.008]), 10)
    c.add(shine * 0.7, "#ffffff", 0)
    return c.image()


def letter() -> Image.Image:
    c = Canvas()
    x, y = c.grid()
    bowl = c.blob(
        [(0.24, 0.09), (0.36, 0.08), (0.52, 0.08), (0.68, 0.12), (0.76, 0.27), (0.70, 0.43), (0.56, 0.51), (0.24, 0.52)]
    )
    shape = np.maximum(bowl, c.polygon([(0.20, 0.08), (0.36, 0.08), (0.36, 0.92), (0.20, 0.92)]))
    shape = np.maximum(shape, c.polygon([(0.40, 0.48), (0.58, 0.47), (0.82, 0.92), (0.63, 0.92)]))
    shape = np.maximum(shape, c.polygon([(0.20, 0.08), (0.45, 0.08), (0.45, 0.2), (0.20, 0.2)]))
    hole = c.blob(
        [(0.36, 0.215), (0.49, 0.215), (0.575, 0.24), (0.60, 0.295), (0.575, 0.35), (0.49, 0.378), (0.36, 0.378)]
    )
    shape = (blurred(shape * (1 - hole), 9) > 0.5).astype(np.float32)  # rounds the corners
    rainbow = blend("#ff5f6d", "#ffc371", (x + y - 0.3) * 0.9) * (1 - np.clip((y - 0.45) * 1.5, 0, 1))[..., None]
    rainbow = rainbow + colour("#7a4bd6") * np.clip((y - 0.45) * 1.5, 0, 1)[..., None]
    c.add(shape, rainbow, 0.05, gloss=0.25)
    inner = (blurred(shape, 34) > 0.86).astype(np.float32)
    dots = ((np.sin(x * 88) * np.sin(y * 88)) > 0.62).astype(np.float32)
    c.add(blurred(inner * dots, 2), "#fff3d6", 0.0)
    return c.image()


def heron() -> Image.Image:
    c = Canvas(768)
    x, y = c.grid()
    legs = "#d98a3d"
    for path in ([(0.47, 0.66), (0.455, 0.78), (0.47, 0.95)], [(0.53, 0.66), (0.575, 0.77), (0.545, 0.95)]):
        c.add(c.tube(path, [0.011, 0.008, 0.008]), legs, 0.012)
        foot = path[-1]
        for toe in (-0.075, 0.025, 0.085):
            c.add(c.tube([foot, (foot[0] + toe, 0.972)], [0.008, 0.006]), legs, 0.012)
    for k, end in enumerate(((0.15, 0.70), (0.165, 0.735), (0.20, 0.76))):
        c.add(
            c.tube([(0.36, 0.60), (0.27, 0.66), end], [0.03, 0.022, 0.006]), ("#5b7391", "#4d6480", "#41566f")[k], 0.02
        )
    neck = c.tube(
        [(0.60, 0.50), (0.685, 0.43), (0.66, 0.34), (0.60, 0.25), (0.62, 0.15), (0.68, 0.115)],
        [0.06, 0.04, 0.030, 0.027, 0.027, 0.034],
    )
    c.add(neck, blend("#f4f6f8", "#c9d5e2", (y - 0.1) * 2), 0.03, shade=0.5)
    body = c.blob(
        [
            (0.66, 0.47),
            (0.62, 0.60),
            (0.50, 0.685),
            (0.36, 0.67),
            (0.24, 0.68),
            (0.28, 0.58),
            (0.38, 0.49),
            (0.52, 0.435),
        ]
    )
    c.add(body, blend("#a9bdd3", "#6f88a6", (0.7 - x) * 1.8), 0.08)
    wing = c.blob([(0.58, 0.485), (0.54, 0.585), (0.42, 0.635), (0.25, 0.685), (0.33, 0.575), (0.44, 0.49)])
    c.shadow(wing, 0.006, 0.012, 0.01, 0.35)
    c.add(wing, blend("#8aa2bd", "#4f6784", (0.62 - x) * 2.2), 0.05)
    for k in range(4):
        feather = c.tube(
            [
                (0.52 - 0.03 * k, 0.515 + 0.022 * k),
                (0.42 - 0.03 * k, 0.575 + 0.022 * k),
                (0.33 - 0.02 * k, 0.628 + 0.015 * k),
            ],
            [0.005, 0.004, 0.003],
        )
        c.add(feather, "#3c5069", 0)
    head = c.ellipse(0.685, 0.115, 0.052, 0.042, 10)
    beak = c.blob([(0.715, 0.098), (0.80, 0.118), (0.91, 0.148), (0.80, 0.143), (0.712, 0.140)])
    c.add(beak, blend("#f2b134", "#d98324", (x - 0.7) * 5), 0.02)
    c.add(head, "#f6f8fa", 0.04, shade=0.45)
    c.add(
        c.tube([(0.70, 0.088), (0.64, 0.092), (0.56, 0.135), (0.515, 0.165)], [0.012, 0.017, 0.010, 0.004]),
        "#27313f",
        0.015,
    )
    c.add(c.ellipse(0.705, 0.108, 0.0105, 0.0105), "#f4c84a", 0.01)
    c.add(c.ellipse(0.706, 0.108, 0.006, 0.006), "#14181d", 0)
    return c.image()


def flower() -> Image.Image:
    c = Canvas()
    x, y = c.grid()
    c.add(
        c.tube([(0.50, 0.40), (0.515, 0.62), (0.49, 0.80), (0.50, 0.97)], [0.017, 0.016, 0.017, 0.02]), "#4c9a3f", 0.02
    )
    for side, base in ((-1, 0.80), (1, 0.72)):
        leaf = c.blob(
            [
                (0.5 + side * k, base + v)
                for k, v in ((0.0, 0.02), (0.07, -0.075), (0.19, -0.11), (0.27, -0.085), (0.20, -0.01), (0.09, 0.03))
            ]
        )
        c.add(leaf, blend("#69bb52", "#357a35", np.abs(x - 0.5) * 3), 0.04)
        c.add(
            c.tube(
                [(0.5, base + 0.015), (0.5 + side * 0.12, base - 0.04), (0.5 + side * 0.25, base - 0.085)],
                [0.005, 0.004, 0.002],
            ),
            "#8ed177",
            0,
        )
    for ring, (count, reach, long, wide, tint) in enumerate(
        ((8, 0.185, 0.135, 0.078, "#e8447e"), (8, 0.12, 0.105, 0.062, "#f77fa6"))
    ):
        for k in range(count):
            angle = 2 * np.pi * (k + 0.5 * ring) / count
            petal = c.ellipse(
                0.5 + reach * np.cos(angle), 0.33 + reach * np.sin(angle), long, wide, float(np.degrees(angle))
            )
            away = np.sqrt((x - 0.5) ** 2 + (y - 0.33) ** 2)
            c.shadow(petal, 0.004, 0.006, 0.01, 0.3)
            c.add(petal, blend("#b81f5c", tint, (away - 0.06) * (5 + 3 * ring)), 0.045)
    heart = c.ellipse(0.5, 0.33, 0.082, 0.082)
    c.shadow(heart, 0.004, 0.008, 0.012, 0.4)
    speckle = (np.sin(x * 300) * np.sin(y * 300) > 0.2).astype(np.float32)
    c.add(heart, blend("#ffcf3f", "#e39a16", speckle), 0.06)
    return c.image()


def doughnut() -> Image.Image:
    c = Canvas(560)
    x, y = c.grid()
    ring = c.ellipse(0.5, 0.5, 0.44, 0.44) * (1 - c.ellipse(0.5, 0.5, 0.135, 0.135))
    c.add(ring, blend("#dba35c", "#b9762f", np.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2) * 2 - 0.3), 0.10, gloss=0.1)
    turn = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    wobble = 0.375 + 0.022 * np.sin(5 * turn + 0.6) + 0.014 * np.sin(9 * turn)
    icing = c.blob(list(zip(0.5 + wobble * np.cos(turn), 0.5 + wobble * np.sin(turn), strict=True)))
    inner = 0.178 + 0.010 * np.sin(4 * turn)
    icing = icing * (1 - c.blob(list(zip(0.5 + inner * np.cos(turn), 0.5 + inner * np.sin(turn), strict=True))))
    c.shadow(icing, 0.004, 0.008, 0.01, 0.35)
    c.add(icing, "#f58fb4", 0.07, gloss=0.35)
    random = np.random.Generator(np.random.PCG64(7))
    tints = ("#ffffff", "#ffd95a", "#63c7e8", "#7fd069", "#b06be0", "#ff6b57")
    for k in range(46):
        angle, reach, tilt = random.uniform(0, 2 * np.pi), random.uniform(0.215, 0.335), random.uniform(0, np.pi)
        middle = 0.5 + reach * np.cos(angle), 0.5 + reach * np.sin(angle)
        arm = 0.018 * np.cos(tilt), 0.018 * np.sin(tilt)
        sprinkle = c.tube(
            [(middle[0] - arm[0], middle[1] - arm[1]), (middle[0] + arm[0], middle[1] + arm[1])], [0.0075] * 2
        )
        c.shadow(sprinkle, 0.003, 0.004, 0.005, 0.35)
        c.add(sprinkle, tints[k % len(tints)], 0.01)
    return c.image()


def apple() -> Image.Image:
    """A photo-like picture: no alpha, a lit table, soft shadow, noise and a little blur."""
    c = Canvas()
    x, y = c.grid()
    fruit = c.blob(
        [
            (0.50, 0.335),
            (0.58, 0.29),
            (0.69, 0.31),
            (0.765, 0.42),
            (0.745, 0.57),
            (0.665, 0.71),
            (0.575, 0.755),
            (0.50, 0.735),
            (0.425, 0.755),
            (0.335, 0.71),
            (0.255, 0.57),
            (0.235, 0.42),
            (0.31, 0.31),
            (0.42, 0.29),
        ]
    )
    streak = np.sin((x - 0.5) / (0.12 + np.abs(y - 0.52)) * 22) * 0.5 + 0.5
    skin = blend("#c81f25", "#e8622c", streak * 0.16 * np.clip(1.4 - 2 * y, 0, 1) + np.clip(0.44 - y, 0, 1) * 2.2)
    c.add(fruit, skin, 0.13, shade=0.72, gloss=0.55)
    c.add(blurred(c.ellipse(0.5, 0.345, 0.085, 0.026), 16) * 0.75 * fruit, "#5a3312", 0)
    c.add(c.tube([(0.50, 0.36), (0.507, 0.28), (0.535, 0.215)], [0.011, 0.010, 0.015]), "#5b3a1e", 0.014)
    leaf = c.blob([(0.525, 0.235), (0.57, 0.160), (0.67, 0.120), (0.745, 0.135), (0.690, 0.205), (0.60, 0.240)])
    c.add(leaf, blend("#7fbf45", "#3b7d2a", (x - 0.5) * 4), 0.04)
    c.add(c.tube([(0.528, 0.233), (0.62, 0.180), (0.73, 0.138)], [0.004, 0.003, 0.002]), "#a9d873", 0)
    picture = np.asarray(c.image(), np.float32) / 255
    size = picture.shape[0]
    v, u = np.mgrid[0:size, 0:size].astype(np.float32) / size
    table = blend("#d9d3c8", "#b9b1a4", v * 0.9 + (u - 0.4) ** 2)
    shade = blurred(((((u - 0.545) / 0.27) ** 2 + ((v - 0.742) / 0.045) ** 2) < 1).astype(np.float32), 24)
    table = table * (1 - 0.55 * shade[..., None])
    mixed = picture[..., :3] * picture[..., 3:] + table * (1 - picture[..., 3:])
    noise = np.random.Generator(np.random.PCG64(3)).normal(0, 0.010, mixed.shape)
    vignette = 1 - 0.22 * ((u - 0.5) ** 2 + (v - 0.5) ** 2)[..., None]
    photo = Image.fromarray((np.clip(mixed * vignette + noise, 0, 1) * 255).astype(np.uint8))
    return photo.filter(ImageFilter.GaussianBlur(0.7))


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "person.png": person,
    "fox.png": fox,
    "mug.png": mug,
    "letter.png": letter,
    "heron.png": heron,
    "flower.png": flower,
    "doughnut.png": doughnut,
    "apple.jpg": apple,
    "views/front.png": lambda: duck_view(0),
    "views/left.png": lambda: duck_view(90),
    "views/back.png": lambda: duck_view(180),
}


def main(folder: Path) -> None:
    for name, picture in PICTURES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"quality": 90} if path.suffix == ".jpg" else {"optimize": True}
        picture().save(path, **options)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
