// A process with a limit on the size of its files. Writes until that fails, and reports how the
// store reacted.
import { randomBytes } from 'node:crypto'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.js'
import { call, charged } from '../suite/samples.js'

const store = await openEmbeddedStore({ dir: process.argv[2] ?? '', maxBytes: 100_000_000 })
const body = randomBytes(1_000_000)
const put = (index: number) => store.results.put(`key-${index}`, { meta: '{}', body }, 60)
const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: Error) => error.name,
  )

let written = 0
while ((await failureOf(put(written))) === undefined) written++
const upAfterFailure = store.isUp()
const failures = await Promise.all([put(100), put(101), put(102)].map(failureOf))
await store.ledger.settle(call('a'), charged(70))
const read = await store.results.get('key-0')
for (let index = 0; index < 5; index++) await store.results.delete(`key-${index}`)
const report = {
  written,
  upAfterFailure,
  failures,
  readable: read?.body.equals(body),
  again: await failureOf(put(200)),
  up: store.isUp(),
}
await store.close()
console.log(JSON.stringify(report))
