// Files that a person gives, each with the name to show.

const IMAGES = /\.(jpe?g|png|tiff?|bmp|webp|dcm)$/i;
const MASK = /_segmentation\.[a-z]+$/i;

export const named = (files) => [...files].map((file) => ({ file, name: file.name }));

// Of a folder, images alone: no hidden files, no lesion masks; as the command does.
export const ofFolder = (files) =>
  files
    .filter(({ name }) => IMAGES.test(name) && !MASK.test(name) && !/(^|\/)\./.test(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return named(transfer.files);
  const found = [];
  const walk = async (entry, inFolder) => {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      const one = { file, name: inFolder ? entry.fullPath.slice(1) : file.name };
      found.push(...(inFolder ? ofFolder([one]) : [one]));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // a hundred at a time
      if (!some.length) return;
      for (const inner of some) await walk(inner, true);
    }
  };
  for (const entry of entries) await walk(entry, false);
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}
