// Puts what the browser needs to run the model under static/litert/: our worker bundled with LiteRT.js, and the
// WebAssembly of LiteRT.js and libjpeg-turbo, also gzipped because the server does not compress. Run by `npm ci && npm run
// build` in this folder.

import { build } from "esbuild";
import { cp, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const target = new URL("static/litert/", import.meta.url);
const partial = new URL("static/litert.partial/", import.meta.url);
const runtime = new URL("node_modules/@litertjs/core/wasm/", import.meta.url);
const jpegDecoder = new URL("node_modules/@cwasm/jpeg-turbo/jpeg-turbo.wasm", import.meta.url);

await rm(partial, { recursive: true, force: true });
await mkdir(partial, { recursive: true });
await build({
  entryPoints: [new URL("static/js/device_worker.js", import.meta.url).pathname],
  bundle: true,
  minify: true,
  format: "iife", // LiteRT.js loads its runtime with importScripts, which module workers do not have
  target: "es2022",
  outfile: new URL("device-worker.js", partial).pathname,
});
const runtimes = ["litert_wasm_internal", "litert_wasm_compat_internal"];
for (const name of runtimes) await cp(new URL(`${name}.js`, runtime), new URL(`${name}.js`, partial));
for (const source of [...runtimes.map((name) => new URL(`${name}.wasm`, runtime)), jpegDecoder]) {
  const wasm = await readFile(source);
  const name = source.pathname.split("/").pop();
  await writeFile(new URL(name, partial), wasm);
  await writeFile(new URL(`${name}.gz`, partial), await promisify(gzip)(wasm, { level: 9 }));
}
await rm(target, { recursive: true, force: true });
await rename(partial, target);
