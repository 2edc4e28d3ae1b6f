import type { Random } from '../support/random.js'

/** Texts that have surprised parsers before. */
const ODD_TEXTS = [
  '',
  ' ',
  '\t',
  'null',
  'undefined',
  'NaN',
  'true',
  '0',
  '-1',
  '1e999',
  '0x10',
  '__proto__',
  'toString',
  'constructor',
  '../../etc/passwd',
  '%00',
  '%zz',
  '{}',
  '[]',
  '[[',
  '"',
  "'",
  '\\',
  ';',
  ',',
  '=',
  '*',
  '\u00e9',
  '\u{1f600}',
  '\u202e',
  '\ufeff',
  '\ufffd',
  '\u2028',
  '\0',
  'a\nb',
  'SELECT 1',
  '<script>',
  '$x',
  '2026-13-45',
  '99999999999999999999',
]

export function oddText(random: Random): string {
  if (random.chance(0.1)) return random.pick(['a', '0', ' ', '\u00e9', '[', '\\']).repeat(random.between(100, 5_000))
  if (random.chance(0.3)) return Buffer.from(bytes(random, random.between(1, 20))).toString('latin1')
  return random.pick(ODD_TEXTS) + (random.chance(0.2) ? random.pick(ODD_TEXTS) : '')
}

/** A JSON value of any kind. `depth` limits its nesting. */
export function oddJson(random: Random, depth = 3): unknown {
  const kinds = { text: 4, number: 3, word: 2, list: depth > 0 ? 2 : 0, object: depth > 0 ? 2 : 0 }
  const many = () => Array.from({ length: random.between(0, 4) }, () => oddJson(random, depth - 1))
  switch (random.weighted(kinds)) {
    case 'text':
      return oddText(random)
    case 'number':
      return random.pick([0, -0, -1, 0.1, 1e-7, 1e21, 2 ** 53, 1e308, 255, 100_000])
    case 'word':
      return random.pick([true, false, null])
    case 'list':
      return many()
    case 'object':
      return Object.fromEntries(many().map(value => [oddText(random), value]))
  }
}

export function bytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.between(0, 255)))
}

/** Changes up to three places of a body: cuts, repeats, flips, inserts. */
export function mutated(random: Random, body: Buffer): Buffer {
  let changed = body
  for (let changes = random.between(1, 3); changes > 0; changes--) {
    const at = random.between(0, changed.length)
    const end = Math.min(changed.length, at + random.pick([1, 2, 8, 64, 512]))
    const parts = {
      cut: [changed.subarray(0, at)],
      remove: [changed.subarray(0, at), changed.subarray(end)],
      repeat: [changed.subarray(0, end), changed.subarray(at)],
      flip: [changed.subarray(0, at), bytes(random, 1), changed.subarray(at + 1)],
      insert: [changed.subarray(0, at), Buffer.from(oddText(random)), changed.subarray(at)],
    }
    changed = Buffer.concat(parts[random.weighted({ cut: 1, remove: 2, repeat: 2, flip: 3, insert: 3 })])
  }
  return changed
}

/** A value for a header: what may not stand in one is left in now and then. */
export function headerText(random: Random, text: string): string {
  const latin1 = Buffer.from(text).toString('latin1')
  return random.chance(0.05) ? latin1 : latin1.replace(/(?!\t)\p{Cc}/gu, '').trim()
}
