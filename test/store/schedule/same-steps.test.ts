import fc from 'fast-check'
import { Redis } from 'ioredis'
import t from 'tap'
import { STEP } from '../../../src/store/redis/schedule-script.js'
import { decodeSchedule, emptySchedule } from '../../../src/store/schedule/state.js'
import { stepSchedule } from '../../../src/store/schedule/step.js'
import { startRedis } from '../../support/programs/redis-server.js'
import { limits, NOW, randomSteps } from './scenario.js'

/** The script with a time that the test sets. */
const SCRIPT = STEP.replace("redis.call('TIME')", '{ARGV[5], ARGV[6]}')

t.test('the script of Redis and the step of the other stores lead to the same schedule', async t => {
  t.not(SCRIPT, STEP)
  const server = await startRedis()
  const redis = new Redis(server.url)
  t.teardown(async () => {
    redis.disconnect()
    await server.close()
  })
  const allLimits = fc.record({
    slots: fc.integer({ min: 1, max: 4 }),
    maxWaiting: fc.integer({ min: 0, max: 6 }),
    perMinute: fc.constantFrom(0, 0, 7, 600),
  })
  let runs = 0
  await fc.assert(
    fc.asyncProperty(randomSteps, allLimits, async (steps, changes) => {
      const key = `run-${runs++}`
      const fixed = limits(changes)
      const state = emptySchedule()
      let now = NOW
      for (const { change, afterMs } of steps) {
        now += afterMs
        const { dropped } = stepSchedule(state, change, fixed, now)
        const seconds = Math.floor(now / 1000)
        const argv = [JSON.stringify(change), JSON.stringify(fixed), 'channel', 600, seconds, (now % 1000) * 1000]
        const [at, text, left] = (await redis.eval(SCRIPT, 1, key, ...argv)) as [number, string, number[]]
        t.equal(at, now)
        if (JSON.stringify(left) !== JSON.stringify(dropped)) t.same(left, dropped)
        const decoded = decodeSchedule(text)
        if (!sameValue(decoded, state)) {
          t.strictSame(decoded, state)
          return false
        }
      }
      return true
    }),
    { numRuns: 150 },
  )
})

/** Compares without a report, which would take longer than the steps. */
function sameValue(one: unknown, other: unknown): boolean {
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) return one === other
  const names = Object.keys(one)
  const table = other as Record<string, unknown>
  return (
    names.length === Object.keys(other).length &&
    names.every(name => sameValue((one as typeof table)[name], table[name]))
  )
}
