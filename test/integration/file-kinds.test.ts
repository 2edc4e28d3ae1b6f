import t from 'tap'
import { fileKinds } from '../fixtures/file-kinds.js'
import { startTestGateway } from '../support/gateway/gateway.js'

const CUTS = [0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99]

t.test('files of every kind are bought when they are whole, and refused when they are cut off', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const { calls } = gateway.upstream
  for (const { name, bytes, pictureBytes = bytes.length } of await fileKinds()) {
    const before = calls.length
    for (const share of CUTS) {
      const cut = Math.min(Math.floor(pictureBytes * share), pictureBytes - 1)
      const refused = await gateway.segment(undefined, { image: bytes.subarray(0, cut) })
      t.ok([415, 422].includes(refused.status), `${name}, cut after ${cut} bytes: ${refused.status}`)
      t.match(await refused.json(), { billed: 'no', retryable: false })
    }
    t.equal(calls.length, before, `${name}: nothing was bought`)
    t.equal((await gateway.segment(undefined, { image: bytes })).status, 200, name)
    t.equal(calls.length, before + 1, name)
  }
})

t.test('the name and the declared type of a file mean nothing', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const wrong = [
    ['photo.png', 'image/png'],
    ['photo.gif', 'image/gif'],
    ['photo.txt', 'text/plain'],
    ['photo', ''],
    ['photo.heic', 'image/heic'],
    ['..', 'application/octet-stream'],
  ] as const
  for (const { name, bytes } of await fileKinds())
    for (const [fileName, type] of wrong) {
      const form = new FormData()
      form.set('prompt', 'dog')
      form.set('image', new Blob([new Uint8Array(bytes)], { type }), fileName)
      const answer = await gateway.fetch('/segment', { method: 'POST', body: form })
      t.equal(answer.status, 200, `${name} as ${fileName}`)
    }
})
