// Files that a user adds, each with the name to show.

const IMAGES = /\.(jpe?g|png|tiff?|bmp|webp|dcm)$/i;
const MASK = /_segmentation\.[a-z]+$/i;

const byName = (a, b) => (a.name < b.name ? -1 : 1);

export const named = (files) => [...files].map((file) => ({ file, name: file.name }));

// The images of a folder, without hidden files and lesion masks, as for the command.
export const imagesOf = (files) =>
  files.filter(({ name }) => IMAGES.test(name) && !MASK.test(name) && !/(^|\/)\./.test(name)).sort(byName);

export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return named(transfer.files);
  const files = [];
  const walk = async (entry, inFolder) => {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      const one = { file, name: inFolder ? entry.fullPath.slice(1) : file.name };
      files.push(...(inFolder ? imagesOf([one]) : [one]));
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
  return files.sort(byName);
}
