import { execFile, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { StoreError } from '../../src/contracts/store.js'
import { createLog, openLogDestination } from '../../src/telemetry/log.js'

async function logged(t: Test, write: (log: ReturnType<typeof createLog>) => void): Promise<string> {
  const output = new PassThrough()
  const destination = await openLogDestination('pretty', { isTerminal: false, output })
  t.ok(destination)
  write(createLog('info', destination))
  destination?.end()
  output.end()
  return text(output)
}

t.test('LOG_FORMAT auto is pretty on a terminal only', async t => {
  const output = createWriteStream('/dev/null')
  t.teardown(() => output.close())
  const isPretty = async (format: 'auto' | 'json' | 'pretty', isTerminal: boolean) =>
    (await openLogDestination(format, { isTerminal, output })) !== undefined
  t.equal(await isPretty('auto', true), true)
  t.equal(await isPretty('auto', false), false)
  t.equal(await isPretty('json', true), false)
  t.equal(await isPretty('pretty', false), true)
})

t.test('the pretty log has one line an event, with its fields, and masks keys', async t => {
  const lines = await logged(t, log => log.info({ team: 'vision', apiKey: 'SG_secret' }, 'request'))
  t.match(lines, /^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: request \{"team":"vision","apiKey":"\[secret\]"\}\n$/)
})

t.test('the pretty log shows the stack of a defect, and only the message of a store failure', async t => {
  const lines = await logged(t, log => {
    for (const err of ['no error', null, { code: 'E1' }]) log.error({ err }, 'rejected')
    log.error({ err: new TypeError('x is not a function') }, 'request failed')
    log.warn({ err: new StoreError('Redis is not connected') }, 'store operation failed')
  })
  t.match(lines, /rejected *\n +err: "no error"\n/)
  t.match(lines, /err: TypeError: x is not a function\n +at /)
  t.match(lines, /store operation failed *\n +err: Redis is not connected\n$/)
})

const program = (code: string) => [
  '--input-type=module',
  '--eval',
  `import { createLog } from '${new URL('../../src/telemetry/log.js', import.meta.url)}'; const log = createLog('info'); ${code}`,
]

t.test('every line is on stdout when the process ends, in order, with its time', async t => {
  const from = Date.now()
  const ends = ['process.exit(3)', 'throw new Error()', '']
  for (const end of ends) {
    const code = `for (let n = 0; n < 200; n++) log.info({ n }, 'line'); ${end}`
    const running = promisify(execFile)(process.execPath, program(code))
    const { stdout } = (await running.catch((error: unknown) => error)) as { stdout: string }
    const lines = stdout.split('\n').slice(0, -1)
    const parsed = lines.map(line => JSON.parse(line) as { n: number; time: string })
    t.strictSame(
      parsed.map(({ n }) => n),
      Array.from({ length: 200 }, (_, n) => n),
      `ended by ${end || 'itself'}`,
    )
    for (const { time } of parsed) {
      const at = Date.parse(time)
      if (at < from || at > Date.now() || new Date(at).toISOString() !== time) t.fail(`the time ${time} is wrong`)
    }
  }
})

t.test('a line is written soon, while the process runs on', async t => {
  const child = spawn(process.execPath, program("log.info('one'); setInterval(() => {}, 1000)"))
  t.teardown(() => child.kill())
  child.stdout.setEncoding('utf8')
  for await (const chunk of child.stdout) {
    t.match(JSON.parse(chunk), { level: 'info', msg: 'one' })
    break
  }
})
