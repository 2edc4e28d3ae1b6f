import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { dispatch } from '../../src/cli/dispatch.js'
import type { Command } from '../../src/cli/io.js'
import * as usage from '../../src/cli/usage.js'
import type { Settings } from '../../src/config.js'
import { type Store, StoreError, type UsageDay } from '../../src/storage.js'
import { memoryRecords } from '../support/memory-records.js'
import { usageDay } from '../support/usage.js'
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
  const seen: { asked: unknown[]; closed: number; settings?: Settings } = { asked: [], closed: 0 }
  const ledger = {
    usage: (month: string, team?: string) => {
      seen.asked.push([month, team])
      return answer()
    },
  }
  const store = { ledger, records: memoryRecords(), close: async () => void seen.closed++ } as unknown as Store
  const openStore = async (settings: Settings) => {
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

t.test('the month is the present one in BUDGET_TIMEZONE, or the one that is asked for', async t => {
  t.strictSame((await ran([])).seen.asked, [['2026-11', undefined]])
  t.strictSame((await ran([], { BUDGET_TIMEZONE: 'Europe/Berlin' })).seen.asked, [['2026-12', undefined]])
  t.strictSame((await ran([], { BUDGET_TIMEZONE: 'America/New_York' }, staged(), '2027-01-01T03:00:00Z')).seen.asked, [
    ['2026-12', undefined],
  ])
  t.strictSame((await ran(['--month', '2026-02', '--team', 'vision'])).seen.asked, [['2026-02', 'vision']])
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

t.test('what is billed follows CHARGEBACK', async t => {
  const billed = async (env: NodeJS.ProcessEnv) =>
    JSON.parse((await ran(['--json'], env)).out.join('\n')).total.billed_credits
  t.equal(await billed({}), '0.0034')
  t.equal(await billed({ CHARGEBACK: 'split' }), '0.00255')
})

t.test('a month is closed and reopened, and every statement says so', async t => {
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

t.test('a month that cannot be closed yet is exit code 1', async t => {
  const { code, out, err } = await ran(['close', '--month', '2026-11'])
  t.strictSame([code, out], [1, []])
  t.match(err, /^The month 2026-11 cannot be closed yet: it is not over/)
})

t.test('the store is the one the settings name, and is closed again', async t => {
  const { seen } = await ran([], { REDIS_URL: 'redis://127.0.0.1:1' })
  t.equal(seen.settings?.store.redisUrl?.reveal(), 'redis://127.0.0.1:1')
  t.equal(seen.closed, 1)
})

t.test('a store that fails is exit code 1, and is closed, too', async t => {
  const failing = staged(() => Promise.reject(new StoreError('Redis cannot be reached')))
  const { code, out, err, seen } = await ran([], {}, failing)
  t.strictSame({ code, out, err }, { code: 1, out: [], err: 'Redis cannot be reached' })
  t.equal(seen.closed, 1)
})

t.test('mistakes in the command line are exit code 2, before any store is opened', async t => {
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

t.test('bad settings are exit code 1, all of them named', async t => {
  const { code, err } = await ran([], { PORT: 'x', REDIS_URL: 'y' })
  t.equal(code, 1)
  t.match(err, /PORT: .*\n.*REDIS_URL: /)
})

t.test('whoever looks into the store of the sandbox, or leaves something there, is told so', async t => {
  const main = fileURLToPath(new URL('../../src/main.js', import.meta.url))
  const said = (args: string[], env: NodeJS.ProcessEnv) => {
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
    t.match(said(args, {}), /^There is no SEGMIND_API_KEY here: this is the store of the sandbox, /m, args.join(' '))
    t.notMatch(said(args, { SEGMIND_API_KEY: 'SG_0123456789abcdef' }), 'SEGMIND_API_KEY')
  }
})
