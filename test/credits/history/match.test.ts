import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { HistoryRow } from '../../../src/contracts/request-history.js'
import type { LedgerEntry } from '../../../src/contracts/store.js'
import { costOf, matchRows, relevantTo } from '../../../src/credits/history/match.js'
import { cacheKey } from '../../../src/segment/cache-key.js'

const MINUTE = 60_000
const NOW = Date.UTC(2026, 10, 28, 12)
const SINCE = NOW - 60 * MINUTE

function unknown(callId: string, at: number, more: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    callId,
    team: 'vision',
    keyId: 'k',
    requestId: callId,
    at,
    day: '2026-11-28',
    month: '2026-11',
    resultId: callId,
    estimate: 20,
    state: 'unknown',
    settled: { outcome: 'unknown', cost: 20, costSource: 'estimate', settledAt: at + MINUTE },
    ...more,
  }
}

function charged(callId: string, at: number, id?: string): LedgerEntry {
  const settled = { outcome: 'charged', cost: 17, costSource: 'header', settledAt: at + 1000 } as const
  return unknown(callId, at, { state: 'charged', settled: { ...settled, ...(id && { upstreamRequestId: id }) } })
}

function row(requestId: string, at: number, more: Partial<HistoryRow> = {}): HistoryRow {
  return { requestId, model: 'sam-v2-image', status: 'completed', cost: 17, at, ...more }
}

const match = (rows: HistoryRow[], entries: LedgerEntry[], now = NOW) => {
  const { assigned, foreign } = matchRows({ rows, entries, since: SINCE, now })
  const isRelevant = relevantTo(
    { rows, since: SINCE, now },
    entries.filter(({ state }) => state === 'unknown'),
  )
  deepEqual(
    matchRows({ rows, entries: entries.filter(isRelevant), since: SINCE, now }),
    { assigned, foreign },
    'the relevant calls suffice',
  )
  return {
    assigned: assigned.map(pair => `${pair.entry.callId}=${pair.row.requestId}`),
    foreign: foreign.map(({ requestId }) => requestId),
  }
}

const T = NOW - 30 * MINUTE

t.test('the cost of a request is known when it has ended', async t => {
  t.equal(costOf(row('r', T)), 17)
  t.equal(costOf(row('r', T, { status: 'failed' })), 0)
  t.equal(costOf(row('r', T, { status: 'pending' })), undefined)
  const { cost: _none, ...late } = row('r', T)
  t.equal(costOf(late), undefined)
})

t.test('calls without an id are matched where it is certain', async t => {
  const one = unknown('a', T)
  t.same(match([row('r', T)], [one]), { assigned: ['a=r'], foreign: [] })
  t.same(match([row('r', T), row('s', T + 100)], [unknown('b', T + 50), one]), {
    assigned: ['a=r', 'b=s'],
    foreign: [],
  })
  t.same(match([row('r', T), row('s', T)], [one]), { assigned: [], foreign: [] }, 'two rows, one call')
  t.same(match([row('r', T)], [one, unknown('b', T + 5)]), { assigned: [], foreign: [] }, 'one row, two calls')
  t.same(match([row('r', T, { status: 'pending' })], [one]), { assigned: [], foreign: [] }, 'a running row')
  t.same(match([row('r', T, { model: 'flux' })], [one]), { assigned: [], foreign: ['r'] }, 'another model')
  t.same(match([row('r', T + 5 * MINUTE)], [one]), { assigned: [], foreign: ['r'] }, 'another time')
  t.same(match([row('r', T)], [one, charged('b', T)]), { assigned: [], foreign: [] }, 'a charged call without an id')
})

t.test('failed rows end calls without an id only after ten minutes', async t => {
  const failed = row('r', T, { status: 'failed', cost: 0 })
  t.same(match([failed], [unknown('a', T)]).assigned, ['a=r'])
  t.same(match([failed], [unknown('a', T)], T + 5 * MINUTE).assigned, [])
  t.same(match([failed, row('s', T)], [unknown('a', T)]).assigned, ['a=s'], 'a refused call next to it')
})

t.test('a row of no call is foreign, unless its call may still be booked', async t => {
  const own = charged('a', T, 'r')
  t.same(match([row('r', T), row('x', T)], [own]).foreign, ['x'])
  t.same(match([row('r', T), row('x', NOW - MINUTE)], [own]).foreign, [], 'too new')
  t.same(match([row('r', T), row('x', T, { cost: 0 })], [own]).foreign, [], 'free of charge')
  const running = unknown('b', NOW - 10 * MINUTE, { state: 'reserved' })
  const { settled: _none, ...open } = running
  t.same(match([row('r', T), row('x', NOW - 5 * MINUTE)], [own, open]).foreign, [], 'a call in flight')
  t.same(
    match([row('r', T)], [unknown('v', T, { jobId: 'r' })]),
    { assigned: [], foreign: [] },
    'a job of an unknown call',
  )
})

t.test('nothing is concluded when the ids of rows and responses differ', async t => {
  const rows = [row('r', T), row('s', T + 10 * MINUTE)]
  t.same(match(rows, [charged('a', T, 'other'), unknown('b', T + 10 * MINUTE)]), { assigned: [], foreign: [] })
})

t.test('what a row says was asked decides, whatever the order', async t => {
  const digest = 'd'.repeat(64)
  const ask = (prompt: string) => ({ image: digest, params: { prompt, overlayMask: true } })
  const entry = (callId: string, prompt: string, scope = '') =>
    unknown(callId, T, { resultId: cacheKey(digest, ask(prompt).params, scope) })
  const rows = [row('r', T, { question: ask('dog') }), row('s', T + 1, { question: ask('cat') })]
  t.same(match(rows, [entry('a', 'cat'), entry('b', 'dog', 'vision')]).assigned, ['a=s', 'b=r'])
  const stripped = unknown('a', T, { resultId: 'of the image with metadata', sentKey: entry('a', 'cat').resultId })
  t.same(match(rows, [stripped]).assigned, ['a=s'], 'the history has the image as it was sent')
  t.same(match(rows.slice(0, 1), [entry('a', 'cat')]).assigned, [], 'one row, of another question')
  t.same(match([...rows, row('q', T)], [entry('a', 'cat'), unknown('z', T)]).assigned, ['a=s'])
  t.same(match(rows.slice(1), [entry('a', 'cat'), entry('b', 'cat')]).assigned, [], 'two calls with one question')
})

t.test('a few of many calls suffice to match rows', async t => {
  const many = Array.from({ length: 5_000 }, (_, index) => charged(`c${index}`, T + index, `id-${index}`))
  const far = Array.from({ length: 5_000 }, (_, index) => charged(`n${index}`, SINCE - index))
  const open = unknown('u', T + 10 * MINUTE)
  const rows = [row('id-7', T + 7), row('u', T + 10 * MINUTE)]
  const kept = [...many, ...far, open].filter(relevantTo({ rows, since: SINCE, now: NOW }, [open]))
  t.same(
    kept.map(({ callId }) => callId),
    ['c0', 'c7', 'u'],
    'the call of each row, and one whose row is missing',
  )
})

t.test('the relevant calls lead to the same matches as all calls', async t => {
  const minute = fc.nat(90).map(minutes => NOW - minutes * MINUTE)
  const id = fc.option(
    fc.nat(5).map(each => `id-${each}`),
    { nil: undefined },
  )
  const aCall = fc.record({ at: minute, id, state: fc.constantFrom('charged', 'unknown', 'reserved') })
  const calls = fc.array(aCall, { maxLength: 12 }).map(list =>
    list.map(({ at, id, state }, index) => {
      if (state === 'charged') return charged(`c${index}`, at, id)
      if (state === 'unknown') return unknown(`c${index}`, at, id === undefined ? {} : { jobId: id })
      const { settled: _none, ...call } = unknown(`c${index}`, at, { state: 'reserved' })
      return call
    }),
  )
  const rows = fc.uniqueArray(fc.record({ at: minute, id: fc.nat(9) }), { selector: ({ id }) => id, maxLength: 8 })
  fc.assert(
    fc.property(calls, rows, (entries, found) => {
      match(
        found.map(({ id, at }) => row(`id-${id}`, at)),
        entries,
      )
    }),
  )
  t.pass('`match` compares both')
})
