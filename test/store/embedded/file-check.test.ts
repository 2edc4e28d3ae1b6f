import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, readFile, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.js'
import { checkFile } from '../../../src/store/embedded/file-check.js'

const dir = t.testdir()
const whole = join(dir, 'ledger.mdb')
const store = await openEmbeddedStore({ dir, maxBytes: 1e6 })
await store.records.put('large', 'x'.repeat(100_000), '')
await store.close()

t.test('a file that another process is still writing is not damaged', async t => {
  const path = join(dir, 'growing.mdb')
  await copyFile(whole, path)
  const { length } = await readFile(path)
  for (const bytes of [100, Math.floor(length / 2)]) {
    await truncate(path, bytes)
    // This thread sleeps while it checks again.
    const script = `setTimeout(() => require('node:fs').copyFileSync(${JSON.stringify(whole)}, ${JSON.stringify(path)}), 50)`
    const writer = spawn(process.execPath, ['-e', script])
    await once(writer, 'spawn')
    const ended = once(writer, 'exit')
    t.equal(checkUntil('whole', path), 'whole', `${bytes} bytes`)
    await ended
  }
})

t.test('a file that stays too short is damaged', async t => {
  const path = join(dir, 'short.mdb')
  await copyFile(whole, path)
  await truncate(path, Math.floor((await readFile(path)).length / 2))
  t.equal(checkFile(path), 'truncated')
  await truncate(path, 100)
  t.equal(checkFile(path), 'foreign')
})

/** A loaded machine may start the writer late, and the file is empty for a moment when it is written. */
function checkUntil(state: string, path: string): string {
  const end = performance.now() + 30_000
  let found = checkFile(path)
  while (found !== state && performance.now() < end) found = checkFile(path)
  return found
}
