// Where pictures come from: chosen, dropped (with whole folders), pasted. Gives {file, path}; sends nothing.

const PICTURE = /\.(jpe?g|jfif|png|gif|webp|bmp|dib|tiff?|avif|heic|heif|jxl)$/i;
const KINDS = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif", "image/bmp": "bmp", "image/tiff": "tif" };

let pasted = 0;

function looksLikeOne(file) {
  return PICTURE.test(file.name) || file.type.startsWith("image/");
}

export function chosen(files) {
  return Array.from(files, (file) => ({ file, path: file.webkitRelativePath || file.name }));
}

// What was pasted has no name of its own.
export function fromClipboard(files) {
  return Array.from(files, (file) => {
    pasted += 1;
    const isNamed = file.name && !/^image\.\w+$/.test(file.name);
    return { file, path: isNamed ? file.name : `pasted-${pasted}.${KINDS[file.type] ?? "png"}` };
  });
}

// The pictures in the clipboard, asked for by a button; browsers ask back.
export async function readClipboard() {
  const found = [];
  for (const item of await navigator.clipboard.read()) {
    const type = item.types.find((each) => each.startsWith("image/"));
    if (type) found.push(new File([await item.getType(type)], "image.png", { type }));
  }
  return fromClipboard(found);
}

// Call it within the event: later its data is gone. Returns {found, passed}: of folders, only what looks like a picture
// is taken, and the rest is counted; a file that was dropped by itself is taken whatever it is.
export function dropped(data) {
  const entries = Array.from(data.items ?? [], (item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length > 0 ? walk(entries) : Promise.resolve({ found: chosen(data.files), passed: 0 });
}

async function walk(entries) {
  const found = [];
  let passed = 0;
  const waiting = entries.map((entry) => ({ entry, isInside: false }));
  while (waiting.length > 0) {
    const { entry, isInside } = waiting.shift();
    if (entry.isDirectory) {
      const inside = await children(entry);
      waiting.unshift(...inside.map((each) => ({ entry: each, isInside: true })));
      continue;
    }
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file && (!isInside || looksLikeOne(file))) found.push({ file, path: entry.fullPath.replace(/^\//, "") });
    else passed += 1;
  }
  return { found, passed };
}

async function children(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    // A reader gives a hundred at a time, and nothing at the end.
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (some.length === 0) break;
    found.push(...some);
  }
  return found.filter((each) => !each.name.startsWith(".")).sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}
