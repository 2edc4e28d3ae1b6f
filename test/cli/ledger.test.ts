import t, { type Test } from 'tap'
import * as command from '../../src/cli/ledger.js'
import * as usage from '../../src/cli/usage.js'
import { openStore } from '../../src/store/open-store.js'
import { call, charged } from '../store/suite/samples.js'
import { recorder } from './recorder.js'

const NOW = Date.UTC(2027, 0, 15)
const opened: Parameters<typeof command.run>[2] = async ({ store }) => (await openStore(store)).store

async function world(t: Test) {
  const dir = t.testdir()
  const env = { DATA_DIR: dir, SEGMIND_API_KEY: 'x', REDIS_URL: '' }
  const store = await opened({ store: { dataDir: dir, maxBytes: 1e6, isSandbox: false, redisUrl: undefined } as never })
  t.teardown(() => store.close())
  const ran = async (tool: Pick<typeof command, 'run'>, ...args: string[]) => {
    const io = recorder(env)
    return { code: await tool.run(args, io, opened, () => NOW), out: io.out, err: io.err }
  }
  return { store, ran }
}

t.test('good books exit with 0, beside a gateway', async t => {
  const { store, ran } = await world(t)
  t.match(await ran(command, 'verify'), { code: 0, out: [/^no epoch yet: 0 calls/, /^ok: 0 days in 0 months$/] })
  await store.ledger.reserve(call('a'), {})
  await store.ledger.settle(call('b', { day: '2026-12-01', month: '2026-12' }), charged(1_700_000))
  t.match(await ran(command, 'verify'), {
    code: 0,
    out: [
      /^epoch .*, sequence 2, checksum .*: 1 call for 0\.0017 credits, 1 reserved for 0\.0000001$/,
      /^ok: 2 days in 2 months$/,
    ],
  })
  t.match(await ran(command, 'accept'), { code: 0, out: ['The ledger is whole. There is nothing to accept.'] })
})

t.test('a closed month that was altered, and an audit log that was, exit with 1', async t => {
  const { store, ran } = await world(t)
  const { records } = store
  await store.ledger.settle(call('a'), charged(1_700_000))
  t.equal((await ran(usage, 'close', '--month', '2026-11')).code, 0)
  t.match(await ran(command, 'verify'), { code: 0 })
  const closing = await records.get('closing:2026-11')
  await records.put('closing:2026-11', (closing?.value ?? '').replaceAll('1700000', '1600000'), closing?.version ?? '')
  t.match(await ran(command, 'verify'), {
    code: 1,
    out: [/^epoch/, '2026-11: the frozen statement differs from its digest in the audit log'],
  })
  t.equal((await ran(usage, 'reopen', '--month', '2026-11')).code, 0)
  t.match(await ran(command, 'verify'), { code: 0 }, 'an open month has no frozen statement')
  const entry = await records.get('audit:1')
  await records.put('audit:1', (entry?.value ?? '').replace('month.closed', 'month.opened'), entry?.version ?? '')
  t.match(await ran(command, 'verify'), { code: 1, out: [/^epoch/, /^audit entry 2 does not follow entry 1/] })
})

t.test('a closed month stays as it was when its calls are rolled up', async t => {
  const { store, ran } = await world(t)
  for (const id of ['a', 'b']) await store.ledger.settle(call(id), charged(1_700_000))
  await ran(usage, 'close', '--month', '2026-11')
  const closed = await ran(usage, '--month', '2026-11', '--json')
  const seal = await store.records.get('closing:2026-11')
  for await (const _step of store.ledger.rollUp(call('a').day));
  t.same(await ran(usage, '--month', '2026-11', '--json'), closed)
  t.same(await store.records.get('closing:2026-11'), seal)
  t.match(await ran(command, 'verify'), { code: 0 })
})

t.test('sums that keep changing are a note, and an eviction policy is a problem', async t => {
  const { store } = await world(t)
  await store.ledger.reserve(call('a'), {})
  let changes = 0
  let mayEvict = false
  const busy = async () => ({
    ...store,
    mayEvict: () => mayEvict,
    ledger: { ...store.ledger, lastStep: async () => ++changes },
    close: async () => {},
  })
  const ran = async (verb: string) => {
    const io = recorder({ DATA_DIR: t.testdir(), SEGMIND_API_KEY: 'x' })
    return { code: await command.run([verb], io, busy, () => NOW), out: io.out, err: io.err }
  }
  const notes = [/^note: 2026-11-\d\d: not verified, because/, /^note: 2026-11: not verified/]
  t.match(await ran('verify'), {
    code: 0,
    out: [/^epoch/, ...notes, /^ok: 1 day in 1 month, 2 sums not verified$/],
  })
  t.equal(changes, 2 * 2 * 3 * 5, 'each sum is read in three rounds')
  mayEvict = true
  t.match(await ran('verify'), { code: 1, out: [/^epoch/, ...notes, /^Redis may evict the ledger: .*volatile-lru$/] })
  t.match(await ran('accept'), { code: 1, out: ['There is nothing to accept.'], err: [/^Redis may evict the ledger/] })
})

t.test('wrong usage is reported', async t => {
  for (const args of [[], ['repair'], ['verify', 'more']])
    await t.rejects(command.run(args, recorder(), opened), { name: 'UsageError' })
})

t.test('export prints every call of the ledger, or of a month, as JSON with exact amounts', async t => {
  const { store, ran } = await world(t)
  await store.ledger.reserve(call('late', { at: call('x').at + 5 }), {})
  await store.ledger.settle(call('early'), { ...charged(1_700_001), upstreamRequestId: 'u' })
  await store.ledger.settle(call('old', { day: '2026-10-01', month: '2026-10' }), charged(9_000_000_000_000))
  const all = await ran(command, 'export')
  t.equal(all.code, 0)
  const lines = all.out.map(line => JSON.parse(line))
  t.same(lines.map(({ callId }) => callId).sort(), ['early', 'late', 'old'])
  t.match(
    lines.find(({ callId }) => callId === 'early'),
    {
      state: 'charged',
      team: 'vision',
      at: /^\d{4}-\d\d-\d\dT.*Z$/,
      estimateCredits: '0.0000001',
      costCredits: '0.001700001',
      upstreamRequestId: 'u',
      settledAt: /Z$/,
    },
  )
  t.equal(lines.find(({ callId }) => callId === 'late').costCredits, undefined, 'a call in flight has no cost yet')
  const october = await ran(command, 'export', '--month', '2026-10')
  t.match(october.out, [/"callId":"old".*"costCredits":"9000"/])
  t.equal(october.out.length, 1)
  for (const args of [['export', '--month', '2026'], ['verify', '--month', '2026-10'], ['burn'], []])
    await t.rejects(ran(command, ...args), /month|verify, accept or export/)
})

t.test('export names the calls that were rolled up', async t => {
  const { store, ran } = await world(t)
  for (const id of ['a', 'b']) await store.ledger.settle(call(id), charged(1_700_001))
  await store.ledger.reserve(call('open'), {})
  for await (const _step of store.ledger.rollUp(call('a').day));
  const { out } = await ran(command, 'export')
  t.match(
    out.map(line => JSON.parse(line)),
    [
      { callId: 'open', state: 'reserved' },
      {
        state: 'rolled up',
        day: '2026-11-30',
        team: 'vision',
        calls: 2,
        costCredits: '0.003400002',
        digest: /^[0-9a-f]{40}$/,
      },
    ],
  )
  t.match(await ran(command, 'verify'), { code: 0, out: [/2 calls for 0\.003400002 credits/, /^ok/] })
})
