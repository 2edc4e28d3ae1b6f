import t from 'tap'
import { dispatch } from '../../src/cli/dispatch.js'
import * as waste from '../../src/cli/waste.js'
import type { LedgerEntry, RolledUpCalls, Store } from '../../src/contracts/store.js'
import { anEntry } from '../credits/ledger-world.js'
import { pagesOf } from '../support/entries-of.js'
import { recorder } from './recorder.js'

const settled = { outcome: 'charged', cost: 1_700_000, costSource: 'header', settledAt: 1 } as const

function entry(day: string, hour: number, changes: Partial<LedgerEntry> = {}): LedgerEntry {
  const at = Date.parse(`${day}T00:00:00Z`) + hour * 3_600_000
  return anEntry(`${day} ${hour}`, { at, day, month: day.slice(0, 7), state: 'charged', settled, ...changes })
}

async function ran(
  args: string[],
  entries: LedgerEntry[],
  env: NodeJS.ProcessEnv = {},
  marks: Record<string, RolledUpCalls[]> = {},
) {
  const io = recorder(env)
  const seen = { days: [] as string[], closed: 0 }
  const ledger = {
    entries: (day: string) => {
      seen.days.push(day)
      return pagesOf(entries.filter(each => each.day === day))
    },
    rolledUp: async (day: string) => marks[day] ?? [],
  }
  const openStore = async () => ({ ledger, close: async () => void seen.closed++ }) as unknown as Store
  const now = () => Date.parse('2026-11-30T23:30:00Z')
  const command = { help: waste.help, run: (words: string[], its: typeof io) => waste.run(words, its, openStore, now) }
  const code = await dispatch(['waste', ...args], io, { waste: command })
  return { code, out: io.out.join('\n'), err: io.err.join('\n'), seen }
}

t.test('the table shows each kind with credits, share and advice', async t => {
  const image = { width: 4096, height: 2048, bytes: 2_000_000 }
  const { code, out, seen } = await ran([], [entry('2026-10-31', 23, { image }), entry('2026-11-01', 1, { image })])
  t.equal(code, 0)
  t.match(out, 'Paid in 2026-11: 1 calls, 0.0017 credits.')
  t.match(out, /evicted and bought again +1 +0\.0017 +100\.0 % +increase STORE_MAX_BYTES/)
  t.match(out, /no-cache and no-store +0 +0 +0\.0 %$/m)
  t.match(out, /same pixels, other bytes +unknown$/m)
  t.match(out, /larger than 1024 pixels +1 +0\.0017 +100\.0 %/)
  t.match(out, 'Set PIXEL_DIGEST=true to detect')
  t.match(out, /carried 1\.9 MB more than needed/)
  t.match(out, /vision +0\.0017 +0\.0017/)
  t.equal(seen.days[0], '2026-10-01')
  t.equal(seen.days.at(-1), '2026-11-30')
  t.equal(seen.closed, 1)
})

t.test('--json prints JSON with decimal strings', async t => {
  const bought = [entry('2026-11-01', 0), entry('2026-11-01', 1), entry('2026-11-02', 2, { purchase: 'no-cache' })]
  const json = JSON.parse((await ran(['--json', '--month', '2026-11'], bought)).out)
  t.match(json, {
    month: '2026-11',
    paid: { calls: 3, credits: '0.0051' },
    waste: { evicted: { calls: 1, credits: '0.0017', teams: { vision: { calls: 1 } }, top: [{ resultId: 'k' }] } },
    noCacheThoughFresh: { calls: 1, credits: '0.0017' },
  })
  t.equal(json.waste.samePixels, undefined, 'an unknown kind is omitted')
})

t.test('the time to live comes from the settings', async t => {
  const bought = [entry('2026-11-01', 0), entry('2026-11-01', 1)]
  t.match((await ran([], bought, { CACHE_TTL_SECONDS: '3600' })).out, /expired and bought again +1 /)
})

t.test('calls that were rolled up are in the sum, and the report says what it cannot know', async t => {
  const mark = (team: string, calls: number) => ({
    team,
    calls,
    charged: calls * 1_000_000,
    digest: '',
    isIntact: true,
  })
  const marks = { '2026-10-31': [mark('vision', 4)], '2026-11-02': [mark('vision', 2), mark('other', 1)] }
  const bought = [entry('2026-11-01', 0), entry('2026-11-01', 1)]
  const { out } = await ran([], bought, {}, marks)
  t.match(out, 'Paid in 2026-11: 5 calls, 0.0064 credits.')
  t.match(out, /evicted and bought again +1 /)
  t.match(out, '3 calls, 0.003 credits, were rolled up (LEDGER_RETENTION_DAYS). Only their sum is known')
  t.match(out, '4 calls before the month were rolled up, so what was bought again is not complete.')
  t.match(out, '2 calls have no image size.')
  const json = JSON.parse((await ran(['--json', '--team', 'vision'], [], {}, marks)).out)
  t.match(json, { paid: { calls: 2, credits: '0.002' }, rolledUp: { calls: 2, credits: '0.002' }, rolledUpBefore: 4 })
  t.same(json.waste, {}, 'no kind is known without entries')
})

t.test('a month without calls and wrong options have a message', async t => {
  t.equal((await ran(['--month', '2026-01'], [])).out, 'There were no paid calls in 2026-01.')
  t.match(await ran(['--month', 'May'], []), { code: 2, err: /--month takes/ })
  t.match(await ran(['--team', 'A B'], []), { code: 2, err: /--team takes/ })
})
