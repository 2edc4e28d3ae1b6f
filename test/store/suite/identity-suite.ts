import type { Test } from 'tap'
import type { LedgerStore, LedgerWitness } from '../../../src/contracts/store.js'
import { call, charged, DAY, type Harness, MONTH, NO_TOTALS, unknown } from './samples.js'

/** Returns what a process remembers of the ledger. */
async function witnessOf(ledger: LedgerStore): Promise<LedgerWitness> {
  const { epoch, sequence, checksum } = await ledger.totals()
  return { epoch, sequence, checksum }
}

const OTHER: LedgerWitness = { epoch: '2c1ff7e2-5d45-4bd2-8a5a-111111111111', sequence: 7, checksum: 'ab'.repeat(20) }
const LIMITS = { daily: 1_000, monthly: 10_000 }

export async function testIdentity(t: Test, harness: Harness): Promise<void> {
  t.test('the first step writes the epoch, and each step changes the checksum', async t => {
    const { ledger } = await harness.open(t)
    t.same(await ledger.totals(), NO_TOTALS)
    const seen = new Set<string>()
    const steps = [
      () => ledger.reserve(call('a'), {}),
      () => ledger.note(call('a', { jobId: 'job' })),
      () => ledger.settle(call('a'), unknown(90)),
      () => ledger.settle(call('a'), charged(70, { costSource: 'estimate' })),
      () => ledger.settle(call('a'), charged(60)),
      () => ledger.reserve(call('b'), {}),
      () => ledger.release(call('b')),
    ]
    const epochs = new Set<string>()
    for (const [index, step] of steps.entries()) {
      await step()
      const { epoch, sequence, checksum } = await witnessOf(ledger)
      t.equal(sequence, index + 1)
      t.match(checksum, /^[0-9a-f]{40}$/)
      epochs.add(epoch)
      seen.add(checksum)
      t.equal(await ledger.lastStep(DAY), sequence)
      t.equal(await ledger.lastStep(MONTH), sequence)
    }
    t.equal(seen.size, steps.length)
    t.equal(epochs.size, 1)
    t.match([...epochs][0], /^[0-9a-f-]{36}$/)
    const before = await witnessOf(ledger)
    for (const step of steps.slice(0, 5)) await step()
    t.same(await witnessOf(ledger), before, 'a step that changes nothing is none')
  })

  t.test(
    'two ledgers have different epochs, and equal steps after different ones have different checksums',
    async t => {
      const [one, other] = [(await harness.open(t)).ledger, (await harness.open(t)).ledger]
      await one.reserve(call('a'), {})
      await other.reserve(call('b'), {})
      await one.reserve(call('c'), {})
      await other.reserve(call('c'), {})
      const [first, second] = [await witnessOf(one), await witnessOf(other)]
      t.equal(first.sequence, second.sequence)
      t.not(first.epoch, second.epoch)
      t.not(first.checksum, second.checksum)
    },
  )

  t.test('a ledger that is ahead of what a process has seen is whole', async t => {
    const { ledger } = await harness.open(t)
    t.match(await ledger.reserve(call('a'), LIMITS, { epoch: '', sequence: 0, checksum: '' }), { ok: true })
    const seen = await witnessOf(ledger)
    t.match(await ledger.reserve(call('b'), LIMITS, seen), { ok: true })
    t.match(await ledger.reserve(call('c'), LIMITS, seen), { ok: true })
    t.equal((await ledger.totals(seen)).loss, undefined)
  })

  const losses = [
    { title: 'an emptied ledger', reason: 'replaced', steps: 0, behind: () => OTHER },
    { title: 'another ledger', reason: 'replaced', steps: 3, behind: () => OTHER },
    {
      title: 'a ledger with fewer steps',
      reason: 'rolled back',
      steps: 3,
      behind: (seen: LedgerWitness) => ({ ...seen, sequence: seen.sequence + 1 }),
    },
    {
      title: 'a ledger with other steps',
      reason: 'altered',
      steps: 3,
      behind: (seen: LedgerWitness) => ({ ...seen, checksum: OTHER.checksum }),
    },
    {
      title: 'a ledger that was rolled back and has made other steps since',
      reason: 'rolled back',
      steps: 3,
      behind: (seen: LedgerWitness) => ({ ...seen, sequence: seen.sequence - 1, checksum: OTHER.checksum }),
    },
  ] as const
  for (const { title, reason, steps, behind } of losses) {
    t.test(`${title} refuses budgeted calls, books the others, and is marked until it is accepted`, async t => {
      const { ledger } = await harness.open(t)
      for (let step = 0; step < steps; step++) await ledger.reserve(call(`old-${step}`), {})
      const found = await witnessOf(ledger)
      const expected = behind(found)
      const old = steps * 100
      t.match(await ledger.reserve(call('a'), { daily: 1_000 }, expected), {
        ok: false,
        window: 'lost',
        booked: { daily: old, monthly: old },
        totals: { sequence: steps, loss: { reason, expected, found } },
      })
      t.equal(await ledger.entry(DAY, 'a'), undefined)
      t.match(await ledger.reserve(call('a'), { monthly: 1_000 }), { ok: false, window: 'lost' }, 'without a witness')
      t.match(await ledger.reserve(call('a'), {}, expected), { ok: true }, 'without a budget')
      t.match(await ledger.reserve(call('a'), LIMITS, expected), { ok: true }, 'the call is booked already')
      t.match(await ledger.reserve(call('b'), { floor: 0 }, expected), { ok: true }, 'a floor is no budget')
      await ledger.settle(call('b'), charged(50))
      t.match((await ledger.totals()).loss, { reason, expected, found }, 'the first discovery is kept')

      await ledger.accept()
      const accepted = await witnessOf(ledger)
      t.notOk([expected.epoch, found.epoch].includes(accepted.epoch), 'a new epoch')
      t.match(await ledger.totals(expected), { loss: undefined, sequence: steps + 3, spent: 50 })
      t.match(await ledger.reserve(call('c'), LIMITS, expected), { ok: true }, 'the accepted loss is none')
      t.match(await ledger.reserve(call('d'), LIMITS, accepted), { ok: true })
      t.match(
        await ledger.reserve(call('e'), LIMITS, OTHER.epoch === expected.epoch ? { ...OTHER, epoch: 'x' } : OTHER),
        {
          ok: false,
          window: 'lost',
        },
      )
    })
  }

  t.test('a repeated reservation discovers a loss', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a'), LIMITS)
    t.match(await ledger.reserve(call('a'), LIMITS, OTHER), { ok: true, totals: { loss: { reason: 'replaced' } } })
    t.match(await ledger.totals(), { sequence: 1, loss: { reason: 'replaced' } })
  })

  t.test('a settlement discovers a loss and is booked', async t => {
    const { ledger } = await harness.open(t)
    for (const id of ['a', 'b']) await ledger.reserve(call(id), LIMITS)
    const seen = await witnessOf(ledger)
    t.match(await ledger.settle(call('a'), charged(70), seen), { loss: undefined })
    const expected = { ...seen, checksum: OTHER.checksum }
    t.match(await ledger.settle(call('b'), charged(70), expected), {
      spent: 140,
      loss: { reason: 'rolled back', expected },
    })
    t.match(await ledger.totals(), { loss: { reason: 'rolled back' } })
    await ledger.accept()
    t.match(
      await ledger.settle(call('b'), charged(70), OTHER),
      { loss: { reason: 'replaced' } },
      'also by one that changes nothing',
    )
  })

  t.test('the last thousand steps are compared, and a witness of an older one is not', async t => {
    const { ledger } = await harness.open(t)
    const ids = Array.from({ length: 1_002 }, (_, index) => `call-${index}`)
    await Promise.all(ids.map(id => ledger.reserve(call(id), {})))
    const { epoch } = await ledger.totals()
    const lossAt = async (sequence: number) => (await ledger.totals({ epoch, sequence, checksum: OTHER.checksum })).loss
    t.same([await lossAt(1), await lossAt(2)], [undefined, undefined])
    for (const sequence of [3, 1_001]) t.match(await lossAt(sequence), { reason: 'rolled back' })
  })

  t.test('a read discovers a loss, and the epoch that the operator knows is accepted as well', async t => {
    const { ledger } = await harness.open(t)
    const lost = { sequence: 0, loss: { reason: 'replaced', expected: OTHER } }
    t.match(await ledger.totals(OTHER), lost)
    t.equal((await ledger.totals()).loss, undefined, 'a comparison marks nothing')
    t.match(await ledger.totals(OTHER, { isMarking: true }), lost)
    t.match(await ledger.totals(), lost)
    t.match(await ledger.reserve(call('a'), LIMITS), { ok: false, window: 'lost' })
    await ledger.accept('known-to-the-operator')
    for (const epoch of [OTHER.epoch, 'known-to-the-operator'])
      t.equal((await ledger.totals({ ...OTHER, epoch })).loss, undefined)
    t.match(await ledger.totals({ ...OTHER, epoch: 'third' }), { loss: { reason: 'replaced' } })
  })

  t.test('many processes that discover a loss at once book nothing with a budget', async t => {
    const { ledger } = await harness.open(t)
    const ids = Array.from({ length: 30 }, (_, index) => `call-${index}`)
    const outcomes = await Promise.all(ids.map(id => ledger.reserve(call(id), LIMITS, OTHER)))
    t.ok(outcomes.every(outcome => !outcome.ok && outcome.window === 'lost'))
    t.match(await ledger.totals(), { reserved: 0, reservedCalls: 0, sequence: 0 })
  })

  t.test('the books list the months and what each team has booked', async t => {
    const { ledger } = await harness.open(t)
    t.same([await ledger.months(), await ledger.monthly(MONTH), await ledger.lastStep(DAY)], [[], {}, 0])
    await ledger.reserve(call('a'), {})
    await ledger.reserve(call('b', { team: 'other', day: '2026-12-01', month: '2026-12' }), {})
    await ledger.settle(call('c', { team: 'third' }), charged(70))
    t.same(await ledger.months(), [MONTH, '2026-12'])
    t.same(await ledger.monthly(MONTH), { vision: 100, third: 70 })
    t.same(await ledger.monthly('2026-12'), { other: 100 })
    t.same(
      await Promise.all([DAY, '2026-12-01', MONTH, '2026-12'].map(window => ledger.lastStep(window))),
      [3, 2, 3, 2],
    )
  })

  t.test('a ledger of the previous version gets its epoch with the next step', async t => {
    const store = await harness.open(t)
    await store.ledger.reserve(call('a'), {})
    const { ledger } = await harness.downgrade(t, store)
    t.match(await ledger.totals({ epoch: '', sequence: 9, checksum: '' }), { epoch: '', loss: undefined })
    t.match(await ledger.reserve(call('b'), LIMITS), { ok: true, booked: { daily: 200, monthly: 200 } })
    t.match((await ledger.totals()).epoch, /^[0-9a-f-]{36}$/)
    t.match(await ledger.reserve(call('c'), LIMITS, await witnessOf(ledger)), { ok: true })
  })
}
