// The ways in which people give pictures to the page: buttons, keys, and what is dropped on it.

import { isHandedOver, openCamera, wireCamera } from "./camera.js";
import { chosen, dropped, fromClipboard, readClipboard } from "./intake.js";
import { tellPeople } from "./say.js";

const byId = (id) => document.getElementById(id);

// add(found): takes pictures, [{file, path}].
export function wireIntake(add) {
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("photograph").addEventListener("click", () => (isHandedOver() ? byId("shot").click() : openCamera()));
  wireCamera((photo) => add([photo]));
  for (const id of ["files", "shot"]) {
    byId(id).addEventListener("change", (event) => {
      const found = chosen(event.target.files);
      event.target.value = ""; // the same file may be chosen again
      add(found);
    });
  }
  byId("paste").hidden = !navigator.clipboard?.read;
  byId("paste").addEventListener("click", async () => {
    try {
      const found = await readClipboard();
      if (found.length === 0) tellPeople("There is no picture in the clipboard.");
      add(found);
    } catch {
      tellPeople("The browser did not let this page look into the clipboard; press Ctrl+V (on a Mac ⌘V) instead.");
    }
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (files.length > 0) {
      event.preventDefault();
      add(fromClipboard(files));
    } else if (!event.target.closest?.("textarea, input")) {
      tellPeople("What was pasted is not a picture.");
    }
  });
}

export function wireDrop(add) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    event.preventDefault(); // nothing that is dropped takes the place of the page
    byId("cover").hidden = !hasFiles(event);
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) byId("cover").hidden = true;
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    byId("cover").hidden = true;
    if (!hasFiles(event)) {
      tellPeople("Only files can be dropped here; save the picture first.");
      return;
    }
    const { found, passed } = await dropped(event.dataTransfer);
    add(found);
    if (found.length === 0) tellPeople("There is no picture in what was dropped.");
    else if (passed > 0) tellPeople(`${passed} ${passed === 1 ? "file that is no picture was" : "files that are no pictures were"} left out.`);
  });
}
