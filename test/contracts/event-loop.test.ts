import { PassThrough } from 'node:stream'
import { setImmediate as iteration } from 'node:timers/promises'
import t from 'tap'
import { deliverInSlices, nextSlice } from '../../src/contracts/event-loop.js'

const SLICE = Buffer.alloc(64 * 1024, 1)

function bodyOf(chunks: readonly Buffer[]) {
  const body = new PassThrough({ highWaterMark: 2 ** 30 })
  const sizes: number[] = []
  const end = deliverInSlices(body)
  body.on('data', (chunk: Buffer) => void sizes.push(chunk.length))
  for (const chunk of chunks) body.write(chunk)
  return { sizes, end }
}

t.test('a body delivers one slice in an iteration of the event loop, until the rule ends', async t => {
  const { sizes, end } = bodyOf(Array.from({ length: 5 }, () => SLICE))
  let most = 0
  while (sizes.length < 3) {
    const before = sizes.length
    await iteration()
    most = Math.max(most, sizes.length - before)
  }
  t.equal(most, 1)
  end()
  while (sizes.length < 5) await iteration()
  t.strictSame(
    sizes,
    Array.from({ length: 5 }, () => SLICE.length),
  )
})

t.test('small chunks are counted by their bytes', async t => {
  const { sizes } = bodyOf(Array.from({ length: 1_000 }, () => Buffer.alloc(16)))
  await iteration()
  await iteration()
  t.equal(sizes.length, 1_000)
})

t.test('of many waiting transfers, a few continue in each iteration, in the order of their calls', async t => {
  const taken: number[] = []
  const all = Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      await nextSlice()
      taken.push(index)
    }),
  )
  await iteration()
  await iteration()
  t.ok(taken.length < 100, `${taken.length} of 100 after two iterations`)
  await all
  t.strictSame(taken, [...taken.keys()])
  t.equal(taken.length, 100)
})
