import t, { type Test } from 'tap'
import { audit } from './auditor.js'
import { runPlan } from './drive.js'
import { planOf } from './schedule.js'
import { addUp, type Tally, tallyOf, tell } from './tally.js'

/** Chosen so that together they meet every kind of fault, both APIs and most of what Segmind may do; see README.md for the long version. */
const SEEDS = [2056, 294, 499, 56]
const FAULTS = [
  'client-aborted',
  'gateway-frozen',
  'gateway-killed',
  'gateway-stopped',
  'redis-emptied',
  'redis-frozen',
  'redis-restarted',
  'upstream-refused',
]

const sum: Tally = {}

async function run(t: Test, seed: number): Promise<void> {
  const { history } = await runPlan(planOf(seed))
  addUp(sum, tallyOf(history))
  t.strictSame(
    audit(history).map(({ rule, what }) => `${rule}: ${what}`),
    [],
    `seed ${seed}; again: node .build/test/faults/run.js --seed ${seed}`,
  )
}

t.test('whatever breaks, nothing is paid for twice and nothing that was paid for is lost', async t => {
  const seeds = [...SEEDS]
  const work = async () => {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) await run(t, seed)
  }
  await Promise.all([work(), work()])
})

t.test('every kind of fault came about', async t => {
  t.comment(tell(sum))
  for (const fault of FAULTS) t.ok((sum[`fault ${fault}`] ?? 0) > 0, fault)
})
