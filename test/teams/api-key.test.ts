import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { createApiKey, hashApiKey, parseApiKey } from '../../src/teams/api-key.js'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Creates a source of random bytes that repeats the given ones. */
function cycling(bytes: readonly number[]) {
  let next = 0
  return (length: number) => Uint8Array.from({ length }, () => bytes[next++ % bytes.length] ?? 0)
}

const keys = fc
  .record({ isTest: fc.boolean(), bytes: fc.array(fc.nat(247), { minLength: 40, maxLength: 40 }) })
  .map(({ isTest, bytes }) => ({ isTest, key: createApiKey({ isTest, random: cycling(bytes) }) }))

t.test('a key is SG_gw, 8 characters of id, 32 random and 6 of checksum', async t => {
  const key = createApiKey()
  t.match(key.text, /^SG_gw[0-9A-Za-z]{46}$/)
  t.equal(key.text.slice(5, 13), key.id)
  t.equal(key.sha256, createHash('sha256').update(key.text).digest('hex'))
  t.equal(hashApiKey(key.text).toString('hex'), key.sha256)
  t.match(createApiKey({ isTest: true }).text, /^SG_gt/)
})

t.test('the checksum is the CRC-32 of what precedes it, in base62 with leading zeros', async t => {
  const zeros = createApiKey({ random: cycling([0]) })
  t.equal(zeros.text.slice(0, 45), `SG_gw${'0'.repeat(40)}`)
  const value = [...zeros.text.slice(45)].reduce((sum, digit) => sum * 62 + ALPHABET.indexOf(digit), 0)
  t.equal(value, crc32(zeros.text.slice(0, 45)))
})

t.test('every created key can be parsed', async t => {
  fc.assert(fc.property(keys, ({ isTest, key }) => t.strictSame(parseApiKey(key.text), { id: key.id, isTest })))
})

t.test('a changed, missing or inserted character is detected', async t => {
  const change = fc.tuple(keys, fc.nat(50), fc.constantFrom(...ALPHABET, '_', '-', ' ', '\n', 'é'))
  fc.assert(
    fc.property(change, ([{ key }, at, character]) => {
      fc.pre(key.text[at] !== character)
      t.equal(parseApiKey(key.text.slice(0, at) + character + key.text.slice(at + 1)), undefined, 'changed')
      t.equal(parseApiKey(key.text.slice(0, at) + character + key.text.slice(at)), undefined, 'inserted')
      t.equal(parseApiKey(key.text.slice(0, at) + key.text.slice(at + 1)), undefined, 'missing')
    }),
    { numRuns: 300 },
  )
})

t.test('two swapped neighbours are detected', async t => {
  fc.assert(
    fc.property(keys, fc.nat(49), ({ key: { text } }, at) => {
      fc.pre(text[at] !== text[at + 1])
      t.equal(parseApiKey(text.slice(0, at) + text[at + 1] + text[at] + text.slice(at + 2)), undefined)
    }),
  )
})

t.test('other texts are rejected', async t => {
  const { text } = createApiKey()
  const others = [
    '',
    'SG_',
    'SG_0123456789abcdef',
    ` ${text}`,
    `${text}\n`,
    `Bearer ${text}`,
    text.toLowerCase(),
    'x'.repeat(1e5),
  ]
  for (const other of others) t.equal(parseApiKey(other), undefined, other.slice(0, 60))
})

t.test('bytes that would bias the alphabet are discarded', async t => {
  const key = createApiKey({ random: cycling([248, 61, 255, 62, 251, 247]) })
  t.match(key.text, /^SG_gw(?:z0z){13}z/)
  const counts = new Map<string, number>()
  const everyByte = cycling(Array.from({ length: 256 }, (_, byte) => byte))
  for (let i = 0; i < 31; i++) {
    for (const character of createApiKey({ random: everyByte }).text.slice(5, 45)) {
      counts.set(character, (counts.get(character) ?? 0) + 1)
    }
  }
  t.strictSame([...new Set(counts.values())], [20], 'all 62 characters come equally often')
  t.equal(counts.size, 62)
})

t.test('keys differ', async t => {
  const made = Array.from({ length: 200 }, () => createApiKey())
  t.equal(new Set(made.map(key => key.text)).size, 200)
  t.equal(new Set(made.map(key => key.id)).size, 200)
})

/** Computes CRC-32 (ISO 3309, as in zlib) bit by bit. */
function crc32(text: string): number {
  let crc = 0xffffffff
  for (const byte of Buffer.from(text)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}
