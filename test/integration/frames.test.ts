import t from 'tap'
import { halfRed, maskOfRed } from '../fixtures/half-red.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'

const WIDE = { width: 24, height: 10 }
const SQUARE = { width: 16, height: 16 }

const frameOf = ({ headers }: Response) => ({
  width: Number(headers.get('x-image-width')),
  height: Number(headers.get('x-image-height')),
  orientation: Number(headers.get('x-image-orientation')),
})

const pick = ({ width, height, orientation }: Record<string, unknown>) => ({ width, height, orientation })

function post(gateway: TestGateway, path: string, image: Buffer, fields: Record<string, string>, accept = '*/*') {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  form.set('image', new Blob([new Uint8Array(image)]))
  return gateway.fetch(path, { method: 'POST', body: form, headers: { accept } })
}

for (const rule of ['applied', 'ignored'] as const)
  t.test(`with IMAGE_ORIENTATION=${rule}, answers and points are in the frame that they state`, async t => {
    const gateway = await startTestGateway({ env: { IMAGE_ORIENTATION: rule } })
    t.teardown(gateway.stop)
    for (const format of ['jpeg', 'png', 'webp'] as const)
      for (const seen of [WIDE, SQUARE])
        for (let orientation = 1; orientation <= 8; orientation++) {
          const { photo, stored, pixels } = await halfRed(seen, orientation, format)
          const size = rule === 'applied' ? seen : stored
          const isRed = (x: number, y: number) =>
            rule === 'applied' ? x < seen.width / 2 : pixels[(y * stored.width + x) * 3] === 255
          const frame = { ...size, orientation: rule === 'applied' ? orientation : 1 }
          const name = `${format}, ${seen.width}×${seen.height}, orientation ${orientation}`
          const held = await (await post(gateway, '/images', photo, {})).json()
          t.strictSame(pick(held as Record<string, unknown>), frame, `${name}: stored`)
          gateway.upstream.script({ body: await maskOfRed(size, isRed) })
          const corner = { coordinates: JSON.stringify([size.width - 1, size.height - 1]), output: 'rle' }
          const answer = await post(gateway, '/segment', photo, corner)
          t.equal(answer.status, 200, name)
          t.strictSame(frameOf(answer), frame, name)
          t.equal(answer.headers.get('x-mask-bbox'), boxOf(size, isRed), name)
          t.equal(answer.headers.get('x-mask-area'), String((size.width * size.height) / 2), name)
          const outside = { coordinates: JSON.stringify([Math.max(size.width, size.height), 0]) }
          t.equal((await post(gateway, '/segment', photo, outside)).status, 400, name)
        }
    t.match(await gateway.metrics(), /segmind_gateway_contradicted_orientations_total 0/)
  })

/** The box of the red half, as in `X-Mask-Bbox`. */
function boxOf({ width, height }: typeof WIDE, isRed: (x: number, y: number) => boolean): string {
  const points = Array.from({ length: width * height }, (_, at) => [at % width, Math.floor(at / width)] as const)
  const red = points.filter(([x, y]) => isRed(x, y))
  const [xs, ys] = [red.map(([x]) => x), red.map(([, y]) => y)]
  const [left, top] = [Math.min(...xs), Math.min(...ys)]
  return [left, top, Math.max(...xs) - left + 1, Math.max(...ys) - top + 1].join(',')
}

t.test('quotes, hits, results, batches and every output form state the frame', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const { photo, stored } = await halfRed(WIDE, 6, 'png')
  const frame = { ...WIDE, orientation: 6 }
  const fields = { prompt: 'red' }
  const quoted = async (wouldBe: string, selection = fields) => {
    const quote = (await (await post(gateway, '/segment/quote', photo, selection)).json()) as Record<string, unknown>
    t.equal(quote.wouldBe, wouldBe)
    return pick(quote)
  }
  t.strictSame(await quoted('miss'), frame)
  const gate = gateway.upstream.hold()
  const running = post(gateway, '/segment', photo, fields)
  await gateway.upstream.arrived(1)
  t.strictSame(await quoted('coalesced'), frame)
  gate.open()
  const miss = await running
  t.strictSame(frameOf(miss), frame)
  t.strictSame(await quoted('hit'), frame)
  const hit = await post(gateway, '/segment', photo, fields)
  t.strictSame([hit.headers.get('x-cache'), frameOf(hit)], ['HIT', frame])
  t.strictSame(frameOf(await gateway.fetch(`/results/${hit.headers.get('x-result-id')}`)), frame)
  t.strictSame(frameOf(await post(gateway, '/v1/sam-v2-image', photo, fields)), frame, 'drop-in')

  // The fake's mask has the shape of the stored pixels, which is believed.
  const inStored = { ...stored, orientation: 1 }
  for (const output of ['mask', 'rle', 'cutout']) {
    const derived = await post(gateway, '/segment', photo, { ...fields, output })
    t.strictSame([derived.status, frameOf(derived)], [200, inStored], output)
    const found = await gateway.fetch(`/results/${derived.headers.get('x-result-id')}`)
    t.strictSame(frameOf(found), inStored, `${output} by its id`)
  }
  const selections = { selections: JSON.stringify([fields, { ...fields, output: 'rle' }]) }
  const lines = await (await post(gateway, '/segment/batch', photo, selections, 'application/x-ndjson')).text()
  const items = lines
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  t.strictSame(items.sort((one, other) => one.index - other.index).map(pick), [frame, inStored])
  const parts = await (await post(gateway, '/segment/batch', photo, { selections: JSON.stringify([fields]) })).text()
  t.match(parts, /x-image-width: 24\r\nx-image-height: 10\r\nx-image-orientation: 6\r\n/)
})
