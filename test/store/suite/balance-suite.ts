import fc from 'fast-check'
import type { Test } from 'tap'
import type { BalanceSample } from '../../../src/contracts/store.js'
import type { Harness } from './samples.js'

const NOW = 1_764_547_200_000

/** The reading kept after samples recorded in order. Times in milliseconds after `NOW`. */
const HISTORIES: { title: string; samples: BalanceSample[]; kept: { remaining: number; at: number } }[] = [
  {
    title: 'the lower of two overlapping readings is kept, at the later time',
    samples: [
      { remaining: 900, at: 10, since: 0 },
      { remaining: 950, at: 12, since: 5, slack: 100 },
    ],
    kept: { remaining: 900, at: 12 },
  },
  {
    title: 'the lower reading is kept if it comes second',
    samples: [
      { remaining: 950, at: 10, since: 5 },
      { remaining: 900, at: 12, since: 0, slack: 100 },
    ],
    kept: { remaining: 900, at: 12 },
  },
  {
    title: 'the lower reading is kept if it is older and arrives late',
    samples: [
      { remaining: 950, at: 12, since: 5, slack: 100 },
      { remaining: 900, at: 10, since: 0, slack: 100 },
    ],
    kept: { remaining: 900, at: 12 },
  },
  {
    title: 'the lowest of three overlapping readings is kept',
    samples: [
      { remaining: 900, at: 10, since: 0, slack: 100 },
      { remaining: 950, at: 12, since: 5, slack: 100 },
      { remaining: 920, at: 14, since: 11, slack: 100 },
    ],
    kept: { remaining: 900, at: 14 },
  },
  {
    title: 'a difference equal to the slack is explained by own calls',
    samples: [
      { remaining: 900, at: 10, since: 0 },
      { remaining: 1_000, at: 12, since: 5, slack: 100 },
    ],
    kept: { remaining: 900, at: 12 },
  },
  {
    title: 'a difference larger than the slack is a top-up',
    samples: [
      { remaining: 900, at: 10, since: 0 },
      { remaining: 1_001, at: 12, since: 5, slack: 100 },
    ],
    kept: { remaining: 1_001, at: 12 },
  },
  {
    title: 'a late response from before a top-up does not undo it',
    samples: [
      { remaining: 1_001, at: 12, since: 5, slack: 100 },
      { remaining: 900, at: 10, since: 0, slack: 100 },
    ],
    kept: { remaining: 1_001, at: 12 },
  },
  {
    title: 'a request sent just before the other response arrived overlaps it',
    samples: [
      { remaining: 900, at: 10 },
      { remaining: 950, at: 12, since: 9, slack: 100 },
    ],
    kept: { remaining: 900, at: 12 },
  },
  {
    title: 'a request sent when the other response arrived does not overlap it, and the newest counts',
    samples: [
      { remaining: 900, at: 10 },
      { remaining: 950, at: 12, since: 10, slack: 100 },
    ],
    kept: { remaining: 950, at: 12 },
  },
  {
    title: 'an older reading without overlap is ignored, even if it is lower',
    samples: [
      { remaining: 950, at: 12, since: 10, slack: 100 },
      { remaining: 900, at: 10, since: 0, slack: 100 },
    ],
    kept: { remaining: 950, at: 12 },
  },
  {
    title: 'without a slack the newest counts',
    samples: [
      { remaining: 900, at: 10 },
      { remaining: 901, at: 12, since: 5 },
    ],
    kept: { remaining: 901, at: 12 },
  },
  {
    title: 'without the time of the request nothing overlaps',
    samples: [
      { remaining: 900, at: 10 },
      { remaining: 950, at: 10, slack: 100 },
    ],
    kept: { remaining: 950, at: 10 },
  },
  {
    title: 'negative balances are compared like any other',
    samples: [
      { remaining: -3, at: 10, since: 0 },
      { remaining: 2, at: 12, since: 5, slack: 100 },
    ],
    kept: { remaining: -3, at: 12 },
  },
  {
    title: 'a known reading more than a minute ahead is replaced',
    samples: [
      { remaining: 900, at: 60_012 + 1 },
      { remaining: 950, at: 12, since: 5, slack: 100 },
    ],
    kept: { remaining: 950, at: 12 },
  },
  {
    title: 'a known reading one minute ahead counts as newer',
    samples: [
      { remaining: 900, at: 60_012 },
      { remaining: 950, at: 12, since: 5, slack: 100 },
    ],
    kept: { remaining: 900, at: 60_012 },
  },
]

export async function testBalance(t: Test, harness: Harness): Promise<void> {
  t.test('the newest balance is kept, in any order of arrival', async t => {
    const { ledger } = await harness.open(t)
    t.equal(await ledger.balance(), undefined, 'unknown is not 0')
    await ledger.recordBalance({ remaining: 500, at: 2_000 })
    await ledger.recordBalance({ remaining: 900, at: 1_999 })
    t.same(await ledger.balance(), { remaining: 500, at: 2_000 })
    await ledger.recordBalance({ remaining: 0, at: 2_001 })
    t.same(await ledger.balance(), { remaining: 0, at: 2_001 })
    await ledger.recordBalance({ remaining: -3, at: 1_764_547_200_123 })
    t.same(await ledger.balance(), { remaining: -3, at: 1_764_547_200_123 })
    await ledger.recordBalance({ remaining: 7, at: 1_764_547_140_123 })
    t.match(await ledger.balance(), { remaining: -3 }, 'a reading one minute older is ignored')
    await ledger.recordBalance({ remaining: 8, at: 1_764_547_140_122 })
    t.match(
      await ledger.balance(),
      { remaining: 8 },
      'a known reading more than a minute ahead was written by a wrong clock',
    )
  })

  for (const { title, samples, kept } of HISTORIES) {
    t.test(title, async t => {
      const { ledger } = await harness.open(t)
      for (const sample of samples) await ledger.recordBalance(moved(sample, NOW))
      t.same(await ledger.balance(), moved(kept, NOW))
    })
  }

  t.test('overlapping readings leave the lowest balance, in any order of arrival', async t => {
    const { ledger } = await harness.open(t)
    const sample = fc.record({
      remaining: fc.integer({ min: 500, max: 600 }),
      since: fc.integer({ min: 0, max: 49 }),
      at: fc.integer({ min: 50, max: 100 }),
    })
    let start = NOW
    await fc.assert(
      fc.asyncProperty(fc.array(sample, { minLength: 1, maxLength: 12 }), async samples => {
        start += 1_000
        await Promise.all(samples.map(one => ledger.recordBalance({ ...moved(one, start), slack: 100 })))
        const lowest = Math.min(...samples.map(({ remaining }) => remaining))
        const latest = Math.max(...samples.map(({ at }) => at))
        const kept = await ledger.balance()
        return kept?.remaining === lowest && kept.at === start + latest
      }),
      { numRuns: 40 },
    )
  })

  for (const [name, sample] of Object.entries({
    'an invalid balance': { remaining: 0.5, at: 1 },
    'an invalid time': { remaining: 5, at: Number.NaN },
    'an invalid time of the request': { remaining: 5, at: 1, since: -1 },
    'an invalid slack': { remaining: 5, at: 1, slack: 0.5 },
  })) {
    t.test(`${name} is refused`, async t => {
      const { ledger } = await harness.open(t)
      await t.rejects(ledger.recordBalance(sample), { name: 'StoreError' })
      t.equal(await ledger.balance(), undefined)
    })
  }
}

function moved<T extends { at: number; since?: number }>(sample: T, by: number): T {
  return { ...sample, at: sample.at + by, ...(sample.since !== undefined && { since: sample.since + by }) }
}
