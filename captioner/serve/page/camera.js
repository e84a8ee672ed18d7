// A photo from the camera: by the system's own camera where there is one to hand over to, else in a dialog of the page.

const dialog = document.getElementById("camera");
const view = document.getElementById("camera-view");
const state = document.getElementById("camera-state");
const take = document.getElementById("camera-take");

let shots = 0;
let stream = null;

// Phones and tablets have a camera of their own, which is better than a video in a page; without a secure connection
// there is no other way.
export function isHandedOver() {
  return matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices?.getUserMedia;
}

// taken({file, path}): called for each photo.
export function wireCamera(taken) {
  document.getElementById("camera-leave").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", stop);
  take.addEventListener("click", async () => {
    const canvas = document.createElement("canvas");
    canvas.width = view.videoWidth;
    canvas.height = view.videoHeight;
    canvas.getContext("2d").drawImage(view, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    shots += 1;
    const path = `photo-${shots}.jpg`;
    dialog.close();
    taken({ file: new File([blob], path, { type: "image/jpeg" }), path });
  });
}

export async function openCamera() {
  state.textContent = "The browser asks whether this page may use the camera.";
  take.disabled = true;
  dialog.showModal();
  try {
    const opened = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
    if (!dialog.open) {
      opened.getTracks().forEach((track) => track.stop());
      return;
    }
    stream = opened;
    view.srcObject = stream;
    await view.play();
    state.textContent = "Nothing is sent before you take it.";
    take.disabled = false;
    take.focus();
  } catch (error) {
    const isDenied = error.name === "NotAllowedError";
    state.textContent = isDenied ? "The camera was not allowed; the browser’s settings of this page can change that." : "No camera can be used here; choose a picture instead.";
  }
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  view.srcObject = null;
}
