import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { dispatch } from '../../src/cli/dispatch.js'
import type { Command } from '../../src/cli/io.js'
import * as usage from '../../src/cli/usage.js'
import type { Settings } from '../../src/config/index.js'
import { type Store, StoreError, type UsageDay } from '../../src/contracts/store.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { usageDay } from '../support/doubles/usage.js'
import { recorder } from './recorder.js'

const DAY = usageDay('2026-11-01', 'vision', {
  requests: 4,
  hits: 1,
  coalesced: 1,
  savedByCache: 1_700_000,
  paidCalls: 2,
  charged: 3_400_000,
  shared: -850_000,
})

/** A store whose ledger answers one day of every month, and what became of it. */
function staged(answer: () => Promise<UsageDay[]> = async () => [DAY]) {
  const seen: { queries: unknown[]; closed: number; settings?: Pick<Settings, 'store'> } = { queries: [], closed: 0 }
  const ledger = {
    usage: (month: string, team?: string) => {
      seen.queries.push([month, team])
      return answer()
    },
  }
  const store = { ledger, records: memoryRecords(), close: async () => void seen.closed++ } as unknown as Store
  const openStore = async (settings: Pick<Settings, 'store'>) => {
    seen.settings = settings
    return store
  }
  return { seen, openStore }
}

async function ran(
  args: string[],
  env: NodeJS.ProcessEnv = {},
  { seen, openStore } = staged(),
  now = '2026-11-30T23:30:00Z',
) {
  const io = recorder(env)
  const clock = () => Date.parse(now)
  const command: Command = { help: usage.help, run: (words, its) => usage.run(words, its, openStore, clock) }
  const code = await dispatch(['usage', ...args], io, { usage: command })
  return { code, out: io.out, err: io.err.join('\n'), seen }
}

t.test('the month defaults to the current one in BUDGET_TIMEZONE', async t => {
  t.strictSame((await ran([])).seen.queries, [['2026-11', undefined]])
  t.strictSame((await ran([], { BUDGET_TIMEZONE: 'Europe/Berlin' })).seen.queries, [['2026-12', undefined]])
  t.strictSame(
    (await ran([], { BUDGET_TIMEZONE: 'America/New_York' }, staged(), '2027-01-01T03:00:00Z')).seen.queries,
    [['2026-12', undefined]],
  )
  t.strictSame((await ran(['--month', '2026-02', '--team', 'vision'])).seen.queries, [['2026-02', 'vision']])
})

t.test('the statement is a table, CSV or JSON', async t => {
  const table = await ran([])
  t.equal(table.code, 0)
  t.match(table.out, [/^day/, /^2026-11-01 {2}vision .*0\.0034/, /total/])
  t.match((await ran(['--csv'])).out, [/^day,team,requests/, /^2026-11-01,vision,4,1,1,2,0\.0034,/])
  t.match(JSON.parse((await ran(['--json'])).out.join('\n')), {
    month: '2026-11',
    total: { charged_credits: '0.0034' },
  })
})

t.test('the billed amount follows CHARGEBACK', async t => {
  const billed = async (env: NodeJS.ProcessEnv) =>
    JSON.parse((await ran(['--json'], env)).out.join('\n')).total.billed_credits
  t.equal(await billed({}), '0.0034')
  t.equal(await billed({ CHARGEBACK: 'split' }), '0.00255')
})

t.test('closing and reopening a month appear in the statement', async t => {
  const world = staged()
  const later = '2026-12-01T00:00:00Z'
  const did = (...args: string[]) => ran([...args, '--month', '2026-11'], {}, world, later)
  const closed = await did('close')
  t.match(closed, { code: 0, err: '2026-11 is closed.' })
  t.match(closed.out.at(-1), 'closed 2026-12-01T00:00:00.000Z by cli; since then nothing was booked to it')
  t.match((await did()).out.at(-1), /^closed /)
  t.match(JSON.parse((await did('--json')).out.join('')), { closed: { by: 'cli' }, closings: [{ what: 'closed' }] })
  const reopened = await did('reopen', '--csv')
  t.match(reopened, { code: 0, err: '2026-11 is open again.', out: [/^day,/, /^2026-11-01,vision,4/] })
  t.match(await did('reopen'), { code: 1, out: [], err: 'The month 2026-11 is not closed.' })
  const { closings } = JSON.parse((await did('--json')).out.join(''))
  t.strictSame(
    closings.map(({ what }: { what: string }) => what),
    ['closed', 'reopened'],
  )
})

t.test('a month that cannot be closed yet has exit code 1', async t => {
  const { code, out, err } = await ran(['close', '--month', '2026-11'])
  t.strictSame([code, out], [1, []])
  t.match(err, /^The month 2026-11 cannot be closed yet: it is not over/)
})

t.test('the configured store is opened and closed', async t => {
  const { seen } = await ran([], { REDIS_URL: 'redis://127.0.0.1:1' })
  t.equal(seen.settings?.store.redisUrl?.reveal(), 'redis://127.0.0.1:1')
  t.equal(seen.closed, 1)
})

t.test('a failing store has exit code 1 and is closed', async t => {
  const failing = staged(() => Promise.reject(new StoreError('Redis cannot be reached')))
  const { code, out, err, seen } = await ran([], {}, failing)
  t.strictSame({ code, out, err }, { code: 1, out: [], err: 'Redis cannot be reached' })
  t.equal(seen.closed, 1)
})

t.test('wrong usage has exit code 2 before a store is opened', async t => {
  const mistakes = [
    ['--month', '2026-13'],
    ['--month', 'november'],
    ['--team', 'No Team'],
    ['--csv', '--json'],
    ['2026-11'],
    ['--cvs'],
    ['close'],
    ['reopen', '--csv'],
    ['close', '--month', '2026-10', '--team', 'vision'],
    ['close', 'reopen', '--month', '2026-10'],
  ]
  for (const args of mistakes) {
    const { code, seen } = await ran(args)
    t.equal(code, 2, args.join(' '))
    t.equal(seen.settings, undefined)
  }
})

t.test('invalid settings have exit code 1 and are all named', async t => {
  const { code, err } = await ran([], { PORT: 'x', REDIS_URL: 'y' })
  t.equal(code, 1)
  t.match(err, /PORT: .*\n.*REDIS_URL: /)
})

t.test('a command that uses the store of the sandbox prints a notice', async t => {
  const main = fileURLToPath(new URL('../../src/main.js', import.meta.url))
  const noticeOf = (args: string[], env: NodeJS.ProcessEnv) => {
    const options = {
      env: { PATH: process.env.PATH, DATA_DIR: t.testdir(), ...env },
      cwd: tmpdir(),
      encoding: 'utf8',
    } as const
    const { status, stderr } = spawnSync(process.execPath, [main, ...args], options)
    t.equal(status, 0)
    return stderr
  }
  for (const args of [['usage'], ['alerts', 'secret'], ['keys', 'create', 'vision']]) {
    t.match(noticeOf(args, {}), /^SEGMIND_API_KEY is not set, so this is the store of the sandbox\. /m, args.join(' '))
    t.notMatch(noticeOf(args, { SEGMIND_API_KEY: 'SG_0123456789abcdef' }), 'SEGMIND_API_KEY')
  }
})
