import sharp from 'sharp'
import t, { type Test } from 'tap'
import { smallJpeg, turnedJpeg } from '../fixtures/odd-images.js'
import { fakeMask } from '../support/doubles/fake-mask.js'
import { FAKE_COST } from '../support/doubles/fake-segmind.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'

async function start(t: Test): Promise<TestGateway> {
  const gateway = await startTestGateway({ env: { MEMORY_CACHE_BYTES: '1000000' } })
  t.teardown(gateway.stop)
  return gateway
}

const [WIDTH, HEIGHT] = [100, 20]
const photo = await smallJpeg(WIDTH, HEIGHT)
const ONLY_CACHED = { 'cache-control': 'only-if-cached' }

const drawn = (selected: string, other: string) =>
  sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: other } }).composite([
    { input: { create: { width: 40, height: 10, channels: 3, background: selected } }, left: 8, top: 0 },
  ])

/**
 * Asks with these fields, and checks that the refusal is final, was booked, and left nothing
 * behind.
 */
async function refusedOnce(t: Test, gateway: TestGateway, fields: Record<string, string>, image = photo) {
  const before = gateway.upstream.calls.length
  const answer = await gateway.segment(fields, { image })
  const problem = await answer.json()
  t.match([answer.status, problem], [502, { code: 'upstream_failed', billed: 'yes', retryable: false }])
  t.match(problem, { detail: /is no mask of this photo/ })
  for (const output of [undefined, 'mask', 'rle', 'cutout']) {
    const plain = { prompt: fields.prompt ?? '', ...(output ? { output } : { overlay_mask: 'false' }) }
    t.equal((await gateway.segment(plain, { image, headers: ONLY_CACHED })).status, 504, `${output} is not kept`)
  }
  const again = await gateway.segment(fields, { image })
  t.match(await again.json(), { code: 'upstream_failed', billed: 'no', retryable: false })
  t.equal(gateway.upstream.calls.length, before + 1, 'it is not bought again at once')
}

async function spentOf(gateway: TestGateway): Promise<number> {
  const { totals } = (await (await gateway.fetch('/usage')).json()) as { totals: { chargedCredits: number } }
  return totals.chargedCredits
}

t.test('a mask of another shape, or the photo itself, is refused by its headers alone', async t => {
  const gateway = await start(t)
  const masks: Record<string, Buffer> = {
    square: fakeMask({ width: 20, height: 20 }),
    'two rows short': fakeMask({ width: WIDTH, height: HEIGHT - 2 }),
    'on its side': fakeMask({ width: HEIGHT, height: WIDTH }),
    'the photo itself': photo,
  }
  for (const [prompt, body] of Object.entries(masks)) {
    gateway.upstream.script({ body })
    await refusedOnce(t, gateway, { prompt, overlay_mask: 'false' })
  }
  t.match(await gateway.metrics(), /segmind_gateway_unfit_pictures_total\{kind="mask"\} 4/)
  await gateway.logged(({ msg }) => msg === 'a paid picture is not what was bought')
  t.equal(await spentOf(gateway), (4 * FAKE_COST) / 1e9)
})

t.test('a picture that turns out to be no mask is refused in every form, and removed', async t => {
  const gateway = await start(t)
  const pictures: Record<string, Buffer> = {
    'the photo, encoded again': await sharp(photo).jpeg({ quality: 70 }).toBuffer(),
    'red on white': await drawn('red', 'white').png().toBuffer(),
    'grey on grey': await drawn('#888', '#444').png().toBuffer(),
  }
  let bought = 0
  for (const output of ['mask', 'rle', 'cutout'])
    for (const [name, body] of Object.entries(pictures)) {
      gateway.upstream.script({ body })
      await refusedOnce(t, gateway, { prompt: `${name} ${output}`, output })
      bought++
    }
  t.equal(await spentOf(gateway), (bought * FAKE_COST) / 1e9)
  t.match(await gateway.metrics(), new RegExp(`segmind_gateway_unfit_pictures_total\\{kind="mask"\\} ${bought}`))
})

t.test('a mask of any certain encoding is measured in pixels of the photo', async t => {
  const gateway = await start(t)
  const masks: Record<string, Buffer> = {
    'red on black': await drawn('red', 'black').png().toBuffer(),
    '0 and 1': await drawn('#010101', 'black').png().toBuffer(),
    'half as large': await halfMask(),
    'one row short': await shortMask(),
  }
  for (const [prompt, body] of Object.entries(masks)) {
    gateway.upstream.script({ body })
    const rle = await gateway.segment({ prompt, output: 'rle' }, { image: photo })
    t.match(await rle.json(), { size: [HEIGHT, WIDTH], bbox: [8, 0, 40, Number] }, prompt)
    t.match(rle.headers.get('x-mask-bbox'), /^8,0,40,1[01]$/, prompt)
    const cutout = await gateway.segment({ prompt, output: 'cutout' }, { image: photo })
    t.equal(cutout.headers.get('x-mask-area'), rle.headers.get('x-mask-area'), prompt)
    const { data, info } = await sharp(Buffer.from(await cutout.arrayBuffer()))
      .raw()
      .toBuffer({ resolveWithObject: true })
    t.match(info, { width: WIDTH, height: HEIGHT, channels: 4 })
    const opaque = data.filter((value, at) => at % 4 === 3 && value > 127).length
    t.equal(String(opaque), rle.headers.get('x-mask-area'), prompt)
  }
})

async function halfMask(): Promise<Buffer> {
  const white = { create: { width: 20, height: 5, channels: 3, background: 'white' } } as const
  return sharp({ create: { width: WIDTH / 2, height: HEIGHT / 2, channels: 3, background: 'black' } })
    .composite([{ input: white, left: 4, top: 0 }])
    .png()
    .toBuffer()
}

async function shortMask(): Promise<Buffer> {
  const whole = await drawn('white', 'black').png().toBuffer()
  return sharp(whole)
    .extract({ left: 0, top: 0, width: WIDTH, height: HEIGHT - 1 })
    .jpeg()
    .toBuffer()
}

t.test('an overlay of another shape is served, counted and logged', async t => {
  const gateway = await start(t)
  gateway.upstream.script({ body: await smallJpeg(30, 30) })
  t.equal((await gateway.segment({ prompt: 'odd' }, { image: photo })).status, 200)
  gateway.upstream.script({ body: await smallJpeg(WIDTH / 2, HEIGHT / 2) })
  t.equal((await gateway.segment({ prompt: 'fit' }, { image: photo })).status, 200)
  t.match(await gateway.metrics(), /segmind_gateway_unfit_pictures_total\{kind="overlay"\} 1/)
  const line = await gateway.logged(({ msg }) => msg === 'a paid picture is not what was bought')
  t.match(line, { kind: 'overlay', picture: { width: 30, height: 30 }, photo: { width: WIDTH, height: HEIGHT } })
})

t.test('a mask that contradicts IMAGE_ORIENTATION is believed, counted and logged', async t => {
  const gateway = await start(t)
  const image = await turnedJpeg(WIDTH, HEIGHT, 6)
  gateway.upstream.script(
    { body: fakeMask({ width: HEIGHT, height: WIDTH }) },
    { body: fakeMask({ width: WIDTH, height: HEIGHT }) },
  )
  const seen = await gateway.segment({ prompt: 'seen', output: 'rle' }, { image })
  t.match(await seen.json(), { size: [WIDTH, HEIGHT] })
  const stored = await gateway.segment({ prompt: 'stored', output: 'rle' }, { image })
  t.match(await stored.json(), { size: [HEIGHT, WIDTH] })
  t.match(await gateway.metrics(), /segmind_gateway_contradicted_orientations_total 1/)
  await gateway.logged(({ msg }) => msg === 'a mask shows that IMAGE_ORIENTATION is wrong')
})
