import { defineConfig } from "vite";

// `npm run dev` shows the page with a gateway that runs beside it. Log in there first, and open the page under the same
// host name: the session's cookie is kept per host, not per port.
const gateway = process.env["GATEWAY_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  server: { proxy: { "/api": { target: gateway, ws: true, changeOrigin: true, headers: { origin: gateway } } } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the page's policy allows no inlined file but pictures
    modulePreload: { polyfill: false },
    license: { fileName: "assets/licenses.md" }, // notices of the bundled packages travel with them
  },
});
