// A process that writes calls and blobs and reports each acknowledged call, until it is killed.
import { createHash, randomBytes } from 'node:crypto'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.js'
import { call, charged } from '../suite/samples.js'

const [, , dir = '', round = ''] = process.argv
const store = await openEmbeddedStore({ dir, maxBytes: 5_000_000 })

async function putBlobs(): Promise<never> {
  for (let index = 0; ; index++) {
    const body = randomBytes(1 + ((index * 77_777) % 700_000))
    const meta = createHash('sha256').update(body).digest('hex')
    await store.results.put(`${round}-${index % 12}`, { meta, body }, 3_600)
  }
}

async function settleCalls(loop: number): Promise<never> {
  for (let index = 0; ; index++) {
    const entry = call(`${round}-${loop}-${index}`)
    await store.ledger.reserve(entry, {})
    await store.ledger.settle(entry, charged(index % 100))
    process.send?.(entry.callId)
  }
}

await Promise.all([putBlobs(), settleCalls(1), settleCalls(2)])
