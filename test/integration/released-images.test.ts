import { createHash } from 'node:crypto'
import t from 'tap'
import { smallJpeg } from '../fixtures/odd-images.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

t.test('an image is freed once its request has ended', async t => {
  const { prototype } = ArrayBuffer
  const original = Object.getOwnPropertyDescriptor(prototype, 'transfer')
  let released = 0
  // Replaced, so that the test does the same on Node.js 20.
  Object.defineProperty(prototype, 'transfer', { configurable: true, value: () => void released++ })
  t.teardown(() => {
    if (original) Object.defineProperty(prototype, 'transfer', original)
    else Reflect.deleteProperty(prototype, 'transfer')
  })
  // A store of images may read one for longer.
  const gateway = await startTestGateway({ env: { IMAGE_TTL_SECONDS: '0' } })
  t.teardown(gateway.stop)
  const asked = [
    [{ prompt: 'cat' }, 'MISS'],
    [{ prompt: 'cat' }, 'HIT'],
    [{ prompt: 'cat', output: 'rle' }, 'MISS'],
    [{ prompt: 'cat', output: 'rle' }, 'HIT'],
  ] as const
  for (const [fields, outcome] of asked) {
    released = 0
    const answer = await gateway.segment(fields)
    await answer.arrayBuffer()
    t.equal(answer.headers.get('x-cache'), outcome)
    await eventually('the image was never freed', () => released > 0)
  }
})

/** Starts purchases that outlive their requests, by name. */
const LEAVING: Record<string, (gateway: TestGateway, image: Buffer) => Promise<unknown>> = {
  'respond-async': (gateway, image) =>
    gateway.segment({ prompt: 'cat' }, { image, headers: { prefer: 'respond-async' } }),
  'a job of Segmind’s API': (gateway, image) => {
    const body = JSON.stringify({ image: image.toString('base64'), prompt: 'cat' })
    const headers = { 'content-type': 'application/json' }
    return gateway.fetch('/v2/sam-v2-image', { method: 'POST', body, headers })
  },
  'a caller that waits less than the purchase takes': (gateway, image) =>
    gateway.segment({ prompt: 'cat' }, { image, headers: { prefer: 'respond-async, wait=1' } }),
}

for (const [name, leave] of Object.entries(LEAVING)) {
  t.test(`the image of a purchase that outlives its request stays whole: ${name}`, async t => {
    const gateway = await startTestGateway({ env: { SEGMIND_MAX_CONCURRENCY: '1' } })
    t.teardown(gateway.stop)
    const { upstream } = gateway
    const slot = upstream.hold()
    const first = gateway.segment({ prompt: 'first' })
    await eventually('the first call never arrived', () => upstream.calls.length === 1)
    const image = await smallJpeg(90, 60)
    await leave(gateway, image)
    // The request has ended, and its purchase waits for the slot.
    await new Promise(resolve => setTimeout(resolve, 100))
    slot.open()
    t.equal((await first).status, 200)
    await eventually('the purchase was never made', () => upstream.calls.length > 1)
    t.equal(upstream.calls[1]?.image.digest, sha256(image))
    await eventually('its result was never kept', async () => {
      const answer = await gateway.segment({ prompt: 'cat' }, { image, headers: { 'cache-control': 'only-if-cached' } })
      return answer.status === 200
    })
    t.notMatch(gateway.logText(), /internal_error|released/)
  })
}
