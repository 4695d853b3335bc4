// Pictures for the README: with --pictures into docs/screenshots, else beside the other results.
import fs from 'node:fs';
import path from 'node:path';
import { OUT } from './runner.mjs';

const folder = process.argv.includes('--pictures') ? path.resolve(import.meta.dirname, '../../../docs/screenshots') : OUT;

/** What one sees now, without scrolling. */
export const picture = async (page, name) => {
  fs.mkdirSync(folder, { recursive: true });
  await page.evaluate(() => document.fonts.ready.then(() => {}));
  await page.screenshot({ path: path.join(folder, `${name}.png`), animations: 'disabled' });
};
