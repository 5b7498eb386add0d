// Where the model runs and with which settings: what the options say.

import { byId } from "./boot.js";
import * as server from "./server_engine.js";

/** The engine for the next picture: {predict, settings}. */
export async function chooseEngine() {
  return { predict: server.predict, settings: settings() };
}

function settings() {
  const patient = Object.fromEntries(["age", "sex", "site"].map((field) => [field, byId(field)?.value ?? ""]));
  return { variant: byId("variant").value, patient };
}

export function listenForEngine(onChange) {
  for (const id of ["variant", "age", "sex", "site"]) byId(id)?.addEventListener("change", onChange);
}
