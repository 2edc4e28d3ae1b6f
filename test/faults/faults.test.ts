import t, { type Test } from 'tap'
import { audit } from './auditor.js'
import { runPlan } from './drive.js'
import { planOf } from './schedule.js'
import { addTally, formatTally, type Tally, tallyOf } from './tally.js'

/**
 * Together these seeds contain every kind of fault, both APIs and most upstream behaviours.
 * README.md has the long run.
 */
const SEEDS = [1309, 3075, 3112]
const FAULTS = [
  'client-aborted',
  'clocks-differ',
  'figure-wrong',
  'gateway-disk-full',
  'gateway-frozen',
  'gateway-killed',
  'gateway-stopped',
  'redis-emptied',
  'redis-evicted',
  'redis-flushed',
  'redis-frozen',
  'redis-full',
  'redis-restarted',
  'upstream-refused',
]

const sum: Tally = {}

/** A run waits for its own timers; it takes much longer on a busy machine. */
t.setTimeout(480_000)

async function run(t: Test, seed: number): Promise<void> {
  const { history } = await runPlan(planOf(seed))
  addTally(sum, tallyOf(history))
  t.strictSame(
    audit(history).map(({ rule, message }) => `${rule}: ${message}`),
    [],
    `seed ${seed}; repeat with node .build/test/faults/run.js --seed ${seed}`,
  )
}

t.test('under faults, nothing is paid for twice and no paid result is lost', async t => {
  const seeds = [...SEEDS]
  const work = async () => {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) await run(t, seed)
  }
  await Promise.all([work(), work()])
})

t.test('every kind of fault occurred', async t => {
  t.comment(formatTally(sum))
  for (const fault of FAULTS) t.ok((sum[`fault ${fault}`] ?? 0) > 0, fault)
})
