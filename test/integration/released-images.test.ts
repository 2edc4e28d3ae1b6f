import t from 'tap'
import { startTestGateway } from '../support/gateway/gateway.js'

t.test('the image of a cached answer is released, and only that', async t => {
  const { prototype } = ArrayBuffer
  const original = Object.getOwnPropertyDescriptor(prototype, 'transfer')
  let released = 0
  // Replaced, so that the test does the same on Node.js 20.
  Object.defineProperty(prototype, 'transfer', { configurable: true, value: () => void released++ })
  t.teardown(() => {
    if (original) Object.defineProperty(prototype, 'transfer', original)
    else Reflect.deleteProperty(prototype, 'transfer')
  })
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const ask = async (fields: Record<string, string>): Promise<string> => {
    released = 0
    const answer = await gateway.segment(fields)
    await answer.arrayBuffer()
    return `${answer.status} ${answer.headers.get('x-cache')}${released > 0 ? ' released' : ''}`
  }
  t.equal(await ask({ prompt: 'cat' }), '200 MISS')
  t.equal(await ask({ prompt: 'cat' }), '200 HIT released')
  t.equal(await ask({ prompt: 'cat', output: 'rle' }), '200 MISS')
  t.equal(await ask({ prompt: 'cat', output: 'rle' }), '200 HIT')
  t.equal(await ask({ prompt: 'cat' }), '200 HIT released')
  t.equal(await ask({ prompt: 'dog' }), '200 MISS')
})
