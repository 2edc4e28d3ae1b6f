import t from 'tap'
import { GatewayError } from '../../src/contracts/errors.js'
import { collectBytes } from '../../src/images/byte-collector.js'
import { pictureOf } from '../../src/images/containers/structure.js'
import { createImageCheck } from '../../src/images/image-check.js'
import { imageTypeOf } from '../../src/images/image-type.js'
import { readMask } from '../../src/images/mask-pixels.js'
import { createMetadataFilter } from '../../src/images/strip-metadata.js'
import { type FileKind, fileKinds } from '../fixtures/file-kinds.js'
import { randomFrom } from '../support/random.js'

const check = createImageCheck({ maxPixels: 100_000, orientation: 'applied' })
const filter = createMetadataFilter('all')
const REFUSED = ['unsupported_image', 'image_unreadable', 'image_too_many_pixels']
/**
 * Bytes at the start of a file that are flipped one by one, and further changes at random places.
 */
const FIRST_BYTES = 48
const RANDOM_CHANGES = 24

/** Changes each byte of the header, and bytes of the structure and the data anywhere. */
function* changed({ bytes }: FileKind, seed: number): Generator<Buffer> {
  const random = randomFrom(seed)
  for (let at = 0; at < Math.min(FIRST_BYTES, bytes.length); at++)
    yield withByte(bytes, at, [0, 0xff, (bytes[at] ?? 0) ^ 0x80][at % 3] ?? 0)
  const marks = structureOf(bytes)
  for (let change = 0; change < RANDOM_CHANGES; change++) {
    const at = change % 2 === 0 ? random.pick(marks) : random.between(0, bytes.length - 1)
    yield withByte(bytes, at, random.between(0, 255))
  }
}

function withByte(bytes: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = value
  return copy
}

/** Positions of markers, chunk names and lengths. */
function structureOf(bytes: Buffer): number[] {
  const marks = [...bytes.keys()].filter(
    at => bytes[at] === 0xff || /^[A-Z]{4}/i.test(bytes.toString('latin1', at, at + 4)),
  )
  return marks.flatMap(at =>
    [at - 4, at - 1, at, at + 1, at + 2, at + 3].filter(each => each >= 0 && each < bytes.length),
  )
}

t.test('no change of a file crashes or hangs a check, whatever it says', async t => {
  const kinds = (await fileKinds()).filter(({ bytes }) => bytes.length < 10_000)
  t.ok(kinds.length > 25)
  let [accepted, refused] = [0, 0]
  for (const [seed, kind] of kinds.entries())
    for (const bytes of changed(kind, seed + 1)) {
      const image = { type: imageTypeOf([bytes]) ?? 'jpeg', ...collectBytes(bytes) } as const
      const outcome = await check(image, { overlayMask: true }).catch((error: unknown) => error)
      const isRefused = outcome instanceof GatewayError && REFUSED.includes(outcome.code)
      if (outcome instanceof Error && !isRefused) t.fail(`${kind.name}: ${outcome}`)
      if (isRefused) refused++
      else accepted++
      if (!isRefused && pictureOf(Buffer.concat(filter?.(image).chunks ?? [])) === undefined)
        t.fail(`${kind.name}: not whole without its metadata`)
      if ((accepted + refused) % 4 !== 0) continue
      const mask = await readMask(bytes, { maxPixels: 100_000 }).catch((error: unknown) => error)
      if (mask instanceof Error && !(mask instanceof GatewayError)) t.fail(`${kind.name}, as a mask: ${mask}`)
    }
  t.ok(accepted > 500 && refused > 500, `${accepted} accepted, ${refused} refused`)
})
