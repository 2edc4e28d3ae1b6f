import { parseArgs } from 'node:util'
import { compare } from './compare.js'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    cases: { type: 'string', default: '100000' },
  },
})
const BLOCK = 10_000
const first = Number(values.seed ?? values.from)
const end = first + (values.seed === undefined ? Number(values.cases) : 1)
const total = { cases: 0, scanner: 0, parser: 0, accepted: 0, differences: 0 }
for (let from = first; from < end; from += BLOCK) {
  const cases = Math.min(BLOCK, end - from)
  const { differences, readers, accepted } = await compare({ from, cases })
  for (const { seed, upload, scanned, parsed } of differences) {
    const { chunks, contentType } = upload
    console.log(`DIFFERENCE seed ${seed}`, { contentType, chunks: chunks.map(String), scanned, parsed })
  }
  total.cases += cases
  total.scanner += readers.scanner
  total.parser += readers.parser
  total.accepted += accepted
  total.differences += differences.length
}
console.log(total)
process.exit(total.differences > 0 ? 1 : 0)
