// How images come in: choose, drop anywhere, paste, camera, sample. All end in onFiles(files).

import { byId, format, formats, model, texts } from "./boot.js";

/**
 * Why a file is not sent, or null. Only what is surely no image stays here, since it may be private; which format it is
 * and whether that is supported, the server decides by the content.
 */
export function objection(file) {
  const suffix = /\.[^.]*$/.exec(file.name.toLowerCase())?.[0];
  const says = file.type.startsWith("image/") || formats.suffixes.includes(suffix);
  const saysNothing = !file.type || file.type === "application/octet-stream";
  if (!says && !saysNothing) return format(texts.errors.not_an_image, { name: file.name, formats: formats.names.join(", ") });
  const limit = model.limits.max_upload_bytes;
  if (file.size > limit) {
    const megabytes = (bytes) => (bytes / 1048576).toFixed(1).replace(/\.0$/, "");
    return format(texts.errors.too_large, { megabytes: megabytes(file.size), limit: megabytes(limit) });
  }
  return null;
}

export function listenForImages(onFiles) {
  for (const id of ["choose", "camera"]) {
    byId(id).addEventListener("change", ({ target }) => {
      onFiles([...target.files]);
      target.value = ""; // so that the same file can be chosen again
    });
  }
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) onFiles(files);
  });
  listenForDrops(onFiles);
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", async () => {
      const name = button.dataset.sample.split("/").pop();
      const blob = await fetch(button.dataset.sample).then((response) => response.blob()).catch(() => null);
      const isImage = blob?.type === "image/jpeg"; // not so when a network answers in the server's place
      onFiles([new File(isImage ? [blob] : [], name, { type: "image/jpeg" })], isImage ? null : texts.errors.network);
    });
  }
}

function listenForDrops(onFiles) {
  let depth = 0; // enter and leave fire for every element under the pointer
  const show = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => carriesFiles(event) && show(1));
  addEventListener("dragleave", (event) => carriesFiles(event) && show(-1));
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    show(-depth);
    onFiles([...event.dataTransfer.files]);
  });
}
