// A process that holds a gate, or opens and closes a spool on disk, until it is killed.
import { openGate } from '../../../src/store/embedded/gate.js'
import { openDiskSpool } from '../../../src/store/embedded/spool.js'

const [, , mode, path = ''] = process.argv

if (mode === 'hold')
  await openGate(path).hold(async () => {
    process.send?.('held')
    await new Promise(() => setInterval(() => undefined, 1_000))
  })
else
  for (;;) {
    const spool = await openDiskSpool({ dir: path })
    await spool.close()
    process.send?.('opened')
  }
