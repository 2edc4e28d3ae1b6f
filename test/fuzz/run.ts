import { parseArgs } from 'node:util'
import { runCases } from './cases.js'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    cases: { type: 'string', default: '2000' },
  },
})

const from = Number(values.seed ?? values.from)
const cases = values.seed === undefined ? Number(values.cases) : 1
const failed = new Set<number>()
const counts = await runCases({ from, cases }, ({ seed, area, problem }) => {
  failed.add(seed)
  console.log(`FAIL seed ${seed} (${area}): ${problem}\n    repeat: node ${process.argv[1]} --seed ${seed}`)
})
console.log(`seeds ${from}–${from + cases - 1}: ${JSON.stringify(counts)}`)
console.log(
  `${cases - failed.size} of ${cases} cases passed${failed.size > 0 ? `; failed: ${[...failed].join(', ')}` : ''}`,
)
process.exit(failed.size > 0 ? 1 : 0)
