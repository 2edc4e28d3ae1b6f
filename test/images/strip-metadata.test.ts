import sharp from 'sharp'
import t from 'tap'
import { wholeSize } from '../../src/images/containers/structure.js'
import { type StripMode, stripMetadata } from '../../src/images/strip-metadata.js'
import { odd, withMetadata } from '../fixtures/metadata.js'

const CANARY = /C4N4RY/
const TYPES = ['jpeg', 'png', 'webp'] as const
const MODES = ['location', 'all'] as const

const pixelsOf = (bytes: Buffer) => sharp(bytes).raw().toBuffer()

async function strip(type: (typeof TYPES)[number], bytes: Buffer, mode: StripMode): Promise<Buffer> {
  const parts = stripMetadata(type, bytes, mode)
  return parts ? Buffer.concat(parts) : bytes
}

for (const type of TYPES)
  for (const mode of MODES) {
    t.test(`${mode} is removed from a ${type}, and its pixels, orientation and profile stay`, async t => {
      for (const orientation of [1, 3, 6, 8]) {
        const bytes = await withMetadata(type, { orientation, gps: true })
        t.match(bytes.toString('latin1'), CANARY, 'the fixture has the canary')
        const stripped = await strip(type, bytes, mode)
        t.notMatch(stripped.toString('latin1'), CANARY)
        t.strictSame(wholeSize(type, stripped), { width: 9, height: 7 })
        t.strictSame(await pixelsOf(stripped), await pixelsOf(bytes))
        const [before, after] = await Promise.all([bytes, stripped].map(each => sharp(each).metadata()))
        t.equal(after?.orientation ?? 1, orientation)
        t.strictSame(after?.icc, before?.icc)
        t.ok(after?.icc, 'the fixture has a colour profile')
        t.notOk(after?.xmp || after?.iptc)
        t.equal(stripMetadata(type, stripped, mode), undefined, 'nothing is left to remove')
      }
    })
  }

t.test('EXIF data without GPS stays under `location`', async t => {
  for (const type of TYPES) {
    const bytes = await withMetadata(type, { orientation: 6, gps: false })
    const { exif } = await sharp(await strip(type, bytes, 'location')).metadata()
    t.match(exif?.toString('latin1'), /Camera/)
    const { exif: none } = await sharp(await strip(type, bytes, 'all')).metadata()
    t.notMatch(none?.toString('latin1'), /Camera/)
  }
})

t.test('an image without metadata is left as it is', async t => {
  const plain = sharp({ create: { width: 5, height: 4, channels: 3, background: 'red' } })
  for (const type of TYPES) {
    const bytes = await plain.clone().toFormat(type).toBuffer()
    for (const mode of MODES) t.equal(stripMetadata(type, bytes, mode), undefined, `${type} ${mode}`)
  }
})

for (const { name, type, bytes } of odd()) {
  t.test(`${name} keeps its pixels and loses its location`, async t => {
    const original = await bytes()
    for (const mode of MODES) {
      const stripped = await strip(type, original, mode)
      t.notMatch(stripped.toString('latin1'), CANARY)
      t.strictSame(await pixelsOf(stripped), await pixelsOf(original))
    }
  })
}
