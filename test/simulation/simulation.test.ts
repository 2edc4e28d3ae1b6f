import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'

const run = promisify(execFile)

/** The simulation replaces the clock and the timers of its process, so it has one of its own. */
async function simulate(...options: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, ['.build/test/simulation/run.js', ...options]).catch(error => error)
  return stdout
}

t.setTimeout(480_000)

t.test('a seed gives the same history each time', async t => {
  const [one, other] = await Promise.all([simulate('--seeds', '5'), simulate('--seeds', '5')])
  const hashOf = (output: string) => /hash (\w+)/.exec(output)?.[1]
  t.ok(hashOf(one))
  t.equal(hashOf(one), hashOf(other))
})

t.test('under faults, the gateway keeps its promises to the nanocredit', async t => {
  const output = await simulate('--from', '1', '--seeds', '300')
  t.match(output, /^300 seeds, \d+ requests, 0 violations/)
})

t.test('in days without faults nothing is reported but the price change and the top-up', async t => {
  t.match(await simulate('--days', '2'), /^2 days, \d+ requests, \d+ calls, 0 violations/)
})
