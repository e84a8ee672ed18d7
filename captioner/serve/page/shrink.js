// Makes a picture smaller that has more bytes than the service takes.

const SIDES = [4000, 2500, 1600]; // pixels; the captioner itself looks at a few hundred

// A smaller JPEG of the same picture. Throws where this browser cannot read it.
export async function shrink(file, most) {
  for (const side of SIDES) {
    const whole = await createImageBitmap(file);
    const share = Math.min(1, side / Math.max(whole.width, whole.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(whole.width * share));
    canvas.height = Math.max(1, Math.round(whole.height * share));
    const paper = canvas.getContext("2d");
    paper.fillStyle = "white"; // as the service does with what is transparent
    paper.fillRect(0, 0, canvas.width, canvas.height);
    paper.imageSmoothingQuality = "high";
    paper.drawImage(whole, 0, 0, canvas.width, canvas.height);
    whole.close();
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
    if (blob && blob.size <= most) return blob;
  }
  throw new Error("it cannot be made small enough");
}
