// One word's map over a picture: what it hangs on stays bright, the rest goes dark.

const LONG_SIDE = 320; // pixels of the overlay; it is stretched over the picture
const DARK = [8, 10, 14, 0.8]; // red, green, blue, opacity
const WARM = [255, 214, 130, 0.16];

// canvas: over the picture, with the picture's proportions. map: rows × columns numbers, row by row.
// isCenter: the captioner sees the middle square of the picture alone; else the whole of it.
export function light(canvas, picture, map, rows, columns, isCenter) {
  const width = picture.naturalWidth;
  const height = picture.naturalHeight;
  const scale = LONG_SIDE / Math.max(width, height);
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const paper = canvas.getContext("2d");
  paper.clearRect(0, 0, canvas.width, canvas.height);
  const side = Math.min(canvas.width, canvas.height);
  const seen = isCenter ? [(canvas.width - side) / 2, (canvas.height - side) / 2, side, side] : [0, 0, canvas.width, canvas.height];
  if (isCenter) {
    paper.fillStyle = `rgb(${DARK.slice(0, 3)} / ${DARK[3]})`;
    paper.fillRect(0, 0, canvas.width, canvas.height);
    paper.clearRect(...seen);
  }
  paper.imageSmoothingQuality = "high";
  paper.drawImage(veil(map, rows, columns), ...seen);
}

function veil(map, rows, columns) {
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const paper = small.getContext("2d");
  const pixels = paper.createImageData(columns, rows);
  const least = Math.min(...map);
  const range = Math.max(...map) - least;
  map.forEach((share, place) => {
    const height = range > 0 ? (share - least) / range : 1;
    for (let channel = 0; channel < 4; channel += 1) {
      const value = DARK[channel] + (WARM[channel] - DARK[channel]) * height;
      pixels.data[4 * place + channel] = channel === 3 ? 255 * value : value;
    }
  });
  paper.putImageData(pixels, 0, 0);
  return small;
}
