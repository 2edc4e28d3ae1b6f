// A process that holds a lock, or opens and closes a spool on disk, until it is killed.
import { createOpenLock } from '../../../src/store/embedded/open-lock.js'
import { openDiskSpool } from '../../../src/store/embedded/spool.js'

const [, , mode, path = ''] = process.argv

if (mode === 'hold')
  await createOpenLock(path).open(async () => {
    process.send?.('held')
    await new Promise(() => setInterval(() => undefined, 1_000))
  })
else
  for (;;) {
    const spool = await openDiskSpool({ dir: path })
    await spool.close()
    process.send?.('opened')
  }
