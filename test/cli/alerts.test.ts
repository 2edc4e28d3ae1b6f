import t from 'tap'
import * as alerts from '../../src/cli/alerts.js'
import { dispatch } from '../../src/cli/dispatch.js'
import type { Command, OpenStore } from '../../src/cli/io.js'
import type { Settings } from '../../src/config/index.js'
import type { Store } from '../../src/contracts/store.js'
import { isSigned, startReceiver } from '../alerts/receiver.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { recorder } from './recorder.js'

const GIVEN = `whsec_${Buffer.alloc(32, 5).toString('base64')}`

/** A store of which only the records are there, and what became of it. */
function staged() {
  const seen: { opened: Settings['store'][]; closed: number } = { opened: [], closed: 0 }
  const records = memoryRecords()
  const store = { records, close: async () => void seen.closed++ } as unknown as Store
  const openStore: OpenStore = async settings => {
    seen.opened.push(settings.store)
    return store
  }
  return { seen, records, openStore }
}

async function ran(
  args: string[],
  env: NodeJS.ProcessEnv = {},
  { seen, records, openStore } = staged(),
  options: Partial<alerts.AlertsCommandOptions> = {},
) {
  const io = recorder(env)
  const run: Command['run'] = (words, its) => alerts.run(words, its, { openStore, ...options })
  const code = await dispatch(['alerts', ...args], io, { alerts: { help: alerts.help, run } })
  return { code, out: io.out, err: io.err.join('\n'), seen, records }
}

t.test('test sends one signed message and prints the response, without the path of the URL', async t => {
  const receiver = await startReceiver(t)
  const now = () => Date.parse('2026-11-27T10:00:00Z')
  const { code, out, err, seen } = await ran(
    ['test'],
    { ALERT_WEBHOOK_URL: receiver.url, ALERT_WEBHOOK_SECRET: GIVEN },
    staged(),
    { now },
  )
  t.strictSame(
    { code, out, err },
    { code: 0, out: [`${new URL(receiver.url).origin} answered 200 OK after 0 ms`], err: '' },
  )
  t.equal(receiver.received.length, 1)
  t.match(receiver.received[0]?.message, {
    type: 'test',
    timestamp: '2026-11-27T10:00:00.000Z',
    data: {},
    text: /test/,
  })
  t.ok(await isSigned(receiver.received[0]!, GIVEN))
  t.strictSame(seen.opened, [], 'the store is not needed')
})

t.test('without ALERT_WEBHOOK_SECRET the secret in the store signs, and secret prints it', async t => {
  const receiver = await startReceiver(t)
  const options = staged()
  t.equal((await ran(['test'], { ALERT_WEBHOOK_URL: receiver.url, DATA_DIR: '/tmp/data' }, options)).code, 0)
  const { code, out, err } = await ran(['secret'], {}, options)
  t.strictSame({ code, err, lines: out.length }, { code: 0, err: '', lines: 1 })
  t.ok(await isSigned(receiver.received[0]!, out[0]!))
  t.equal(options.seen.opened[0]?.dataDir, '/tmp/data')
  t.equal(options.seen.closed, 2)
})

t.test('secret prints ALERT_WEBHOOK_SECRET without opening a store', async t => {
  const { code, out, seen } = await ran(['secret'], { ALERT_WEBHOOK_SECRET: GIVEN })
  t.strictSame({ code, out, opened: seen.opened }, { code: 0, out: [GIVEN], opened: [] })
})

t.test('a refusal has exit code 1 after one attempt, and shows no secret', async t => {
  const receiver = await startReceiver(t)
  for (const [status, message] of [
    [404, '404 Not Found'],
    [302, '302 Found'],
    [503, '503 Service Unavailable'],
  ] as const) {
    receiver.otherwise = status
    const { code, out, err } = await ran(['test'], { ALERT_WEBHOOK_URL: receiver.url, ALERT_WEBHOOK_SECRET: GIVEN })
    t.strictSame({ code, out, err }, { code: 1, out: [], err: `${new URL(receiver.url).origin} answered ${message}` })
  }
  t.equal(receiver.received.length, 3)
})

t.test('a silent or missing receiver has exit code 1', async t => {
  const receiver = await startReceiver(t)
  const over = new AbortController()
  receiver.otherwise = () => over.abort(new DOMException('over', 'TimeoutError'))
  const env = { ALERT_WEBHOOK_URL: receiver.url, ALERT_WEBHOOK_SECRET: GIVEN }
  const silent = await ran(['test'], env, staged(), { deadline: () => over.signal })
  t.match(silent, { code: 1, out: [], err: /^http:\/\/127\.0\.0\.1:\d+ did not answer in time$/ })
  const unreachable = await ran(['test'], { ...env, ALERT_WEBHOOK_URL: 'http://user:HIDDEN@127.0.0.1:1/HIDDEN?HIDDEN' })
  t.strictSame(
    { code: unreachable.code, err: unreachable.err },
    { code: 1, err: 'http://127.0.0.1:1 could not be reached (ECONNREFUSED)' },
  )
})

t.test('a missing URL and a failing store are reported', async t => {
  t.match(await ran(['test']), { code: 1, out: [], err: /^ALERT_WEBHOOK_URL is not set/ })
  const options = staged()
  options.records.failing = 'before'
  const receiver = await startReceiver(t)
  t.match(await ran(['test'], { ALERT_WEBHOOK_URL: receiver.url }, options), { code: 1, out: [], err: 'down' })
  t.match(await ran(['secret'], {}, options), { code: 1, out: [], err: 'down' })
  t.equal(options.seen.closed, 2)
  t.equal(receiver.received.length, 0)
})

t.test('wrong usage has exit code 2, and invalid settings have exit code 1', async t => {
  for (const args of [[], ['tests'], ['test', 'now'], ['secret', '--json']])
    t.equal((await ran(args)).code, 2, args.join(' '))
  const { code, err } = await ran(['test'], { ALERT_WEBHOOK_URL: 'ftp://HIDDEN', ALERT_WEBHOOK_SECRET: 'HIDDEN' })
  t.equal(code, 1)
  t.match(err, /ALERT_WEBHOOK_URL: .*\n.*ALERT_WEBHOOK_SECRET: /)
  t.notMatch(err, 'HIDDEN')
})
