"use strict";

const font = "system-ui, sans-serif";
Redoc.init("openapi.json", {
  nativeScrollbars: true,
  sortRequiredPropsFirst: true,
  theme: {
    typography: { fontFamily: font, headings: { fontFamily: font }, code: { fontFamily: "ui-monospace, monospace" } },
  },
}, document.getElementById("page"));
