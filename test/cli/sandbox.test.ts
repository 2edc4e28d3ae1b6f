import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { sandbox } from '../../src/cli/sandbox.js'

function watch(t: Test, args: string[]) {
  const stop = new AbortController()
  const lines = { out: [] as string[], err: [] as string[] }
  const started = new Promise<void>(resolve => {
    const stdout = (line: string) => {
      lines.out.push(line)
      if (lines.out.length === 2) resolve()
    }
    const exit = sandbox(args, { stdout, stderr: line => lines.err.push(line), signal: stop.signal })
    t.teardown(() => stop.abort())
    Object.assign(lines, { exit })
    void exit.then(() => resolve())
  })
  return { lines: lines as typeof lines & { exit: Promise<number> }, started, stop: () => stop.abort() }
}

t.test('the command prints its URL and its key, and exits with 0', async t => {
  const { lines, started, stop } = watch(t, ['--port', '0', '--credits', '0.25'])
  await started
  const [url = '', key = ''] = lines.out.map(line => line.split(': ')[1])
  t.match(key, /^SG_[0-9a-f]{16}$/)
  const answer = await fetch(`${url}/v1/get-user-credits`, { headers: { 'x-api-key': key } })
  t.strictSame(await answer.json(), { credits: 0, 'free-credits': 0.25 })
  stop()
  t.equal(await lines.exit, 0)
  await t.rejects(fetch(url))
})

t.test('--key sets the key', async t => {
  const { lines, started } = watch(t, ['--port', '0', '--key', 'SG_aaaaaaaaaaaaaaaa'])
  await started
  t.equal(lines.out[1], 'key: SG_aaaaaaaaaaaaaaaa')
})

t.test('a port in use is an error with exit code 1', async t => {
  const first = watch(t, ['--port', '0'])
  await first.started
  const port = new URL(first.lines.out[0]?.split(': ')[1] ?? '').port
  const second = watch(t, ['--port', port])
  t.equal(await second.lines.exit, 1)
  t.match(second.lines.err[0], /could not start.*EADDRINUSE/)
})

for (const args of [
  ['--port', 'x'],
  ['--port', '70000'],
  ['--latency', '-1'],
  ['--latency=-1'],
  ['--credits', 'many'],
  ['--port', ''],
  ['--port', ' '],
  ['--port', '0x10'],
  ['--latency', ''],
  ['--latency', '1.5'],
  ['--latency', '600001'],
  ['--credits', ''],
  ['--credits', '1e3'],
  ['--credits', '1000001'],
  ['--host', ''],
  ['--key', ''],
  ['--key', 'a b'],
  ['--nonsense'],
  ['extra'],
]) {
  t.test(`"${args.join(' ')}" prints the usage and exits with 2`, async t => {
    const { lines } = watch(t, args)
    t.equal(await lines.exit, 2)
    t.match(lines.err.at(-1), /^usage: /)
  })
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(`${signal} ends the process with exit code 0`, async t => {
    const command = new URL('../../src/cli/sandbox.js', import.meta.url).href
    const script = `const { sandbox } = await import(${JSON.stringify(command)})
      process.exitCode = await sandbox(['--port', '0'], { stdout: console.log, stderr: console.error })`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {},
    })
    t.teardown(() => child.kill('SIGKILL'))
    const exited = once(child, 'exit')
    let output = ''
    for await (const chunk of child.stdout) {
      output += chunk
      if (output.includes('key: ')) child.kill(signal)
    }
    t.strictSame(await exited, [0, null])
  })
}
