// Texts → a ZIP file without compression (PKWARE APPNOTE 6.3.10). Names are UTF-8.

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const UTF8 = 0x0800; // general purpose bit 11
const MOST_FILES = 65535;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

export function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

// entries: [{name, text}] with names that differ. Returns a Blob.
export function zip(entries, now = new Date()) {
  if (entries.length > MOST_FILES) throw new Error(`a ZIP holds at most ${MOST_FILES} files; remove some pictures`);
  const encoder = new TextEncoder();
  const [date, time] = dosTime(now);
  const files = [];
  const directory = [];
  let at = 0;
  for (const entry of entries) {
    const name = encoder.encode(entry.name);
    const data = encoder.encode(entry.text);
    // version needed, flags, method 0, time, date, CRC-32, packed and unpacked size, lengths of name and extra field
    const shared = [[20, 2], [UTF8, 2], [0, 2], [time, 2], [date, 2], [crc32(data), 4], [data.length, 4], [data.length, 4], [name.length, 2], [0, 2]];
    files.push(record([[LOCAL, 4], ...shared]), name, data);
    // made by version 2.0; lengths of comment, disk, attributes (two), place of the file
    directory.push(record([[CENTRAL, 4], [20, 2], ...shared, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]]), name);
    at += 30 + name.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = entries.length;
  const end = record([[END, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [at, 4], [0, 2]]);
  return new Blob([...files, ...directory, end], { type: "application/zip" });
}

// [value, bytes] each, little-endian.
function record(fields) {
  const bytes = new Uint8Array(fields.reduce((sum, [, width]) => sum + width, 0));
  let at = 0;
  for (const [value, width] of fields) {
    for (let place = 0; place < width; place += 1) bytes[at + place] = (value >>> (8 * place)) & 0xff;
    at += width;
  }
  return bytes;
}

function dosTime(when) {
  const date = ((when.getFullYear() - 1980) << 9) | ((when.getMonth() + 1) << 5) | when.getDate();
  const time = (when.getHours() << 11) | (when.getMinutes() << 5) | (when.getSeconds() >> 1);
  return [date, time];
}
