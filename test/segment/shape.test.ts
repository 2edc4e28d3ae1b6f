import t from 'tap'
import { Coalescer } from '../../src/cache/coalescer.js'
import type { Result, Size } from '../../src/contracts/types.js'
import { type OutputRequest, type ShapeParts, shape } from '../../src/segment/shape.js'
import { fakeMask } from '../support/doubles/fake-mask.js'
import { DIGEST, KEY, kept, world } from '../support/doubles/pipeline-world.js'

const image = { type: 'png', digest: DIGEST, chunks: [Buffer.from('photo')], byteLength: 5 } as const
const request: OutputRequest = {
  output: 'rle',
  image: { digest: DIGEST, uploaded: image },
  scope: '',
  team: 'vision',
  isKept: true,
}

function parts() {
  const { parts: pipeline, steps } = world()
  const sizes: (Size | undefined)[] = []
  const dropped: string[] = []
  const maskForms = {
    rle: async (_mask: Buffer, size?: Size) => {
      sizes.push(size)
      return {
        body: Buffer.from('{}'),
        contentType: 'application/json',
        mask: { bbox: [0, 0, 1, 1] as const, area: 1 },
      }
    },
  }
  const dropResult = async (key: string) => void dropped.push(key)
  const all = { ...pipeline, maskForms, dropResult, shaping: new Coalescer<Result>() } as unknown as ShapeParts
  return { all, steps, sizes, dropped }
}

/** A result that does not tell its photo, as those of earlier versions and of dead processes. */
const old = (size: Size): Result => ({ ...kept('', 1), body: fakeMask(size), contentType: 'image/png' })

t.test('a mask that does not tell its photo is scaled to the photo of the request', async t => {
  const { all, sizes, dropped } = parts()
  const { frame } = await shape({ key: KEY, result: old({ width: 8, height: 8 }) }, request, all)
  t.strictSame(frame, { width: 16, height: 16, orientation: 1 })
  t.match([sizes, dropped], [[{ width: 16, height: 16 }], []])
})

t.test('without any photo, a mask keeps its own size', async t => {
  const { all, sizes } = parts()
  const withoutBytes = { ...request, image: { digest: DIGEST } }
  const { frame } = await shape({ key: KEY, result: old({ width: 8, height: 4 }) }, withoutBytes, all)
  t.strictSame([frame, sizes], [undefined, [undefined]])
})

t.test('a kept mask of another shape than the photo is refused and removed', async t => {
  const { all, steps, sizes, dropped } = parts()
  const paid = { key: KEY, result: old({ width: 8, height: 4 }) }
  await t.rejects(shape(paid, request, all), { code: 'upstream_failed', retryable: false, message: /8×4 .* 16×16/ })
  t.strictSame([sizes, dropped], [[], [KEY]])
  t.ok(steps.includes('unfit mask'))
  t.throws(
    () =>
      all.paidFailures && (all as unknown as { paidFailures: { admit(key: string): void } }).paidFailures.admit(KEY),
  )
})
