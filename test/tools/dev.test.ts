import { appendFileSync, cpSync, readFileSync, renameSync, symlinkSync } from 'node:fs'
import { resolve } from 'node:path'
import t from 'tap'
import { eventually } from '../support/eventually.js'
import { segmentForm } from '../support/gateway/gateway.js'
import { spawnGuarded } from '../support/programs/guardian.js'

const photo = readFileSync('examples/photos/coffee.jpg')
const COPIED = [
  '.tools',
  'src',
  'docs/runbook.md',
  'examples/photos',
  'openapi.yaml',
  'package.json',
  'package-lock.json',
]

t.test('npm run dev restarts the gateway on a change, and the sandbox keeps its credits', async t => {
  const cwd = t.testdir({ docs: {}, examples: {} })
  // The last build comes last, so that it is newer than its sources.
  for (const path of [...COPIED, 'tsconfig.json', 'dist']) cpSync(path, `${cwd}/${path}`, { recursive: true })
  symlinkSync(resolve('node_modules'), `${cwd}/node_modules`)
  const env = { PATH: process.env.PATH, PORT: '0', METRICS_PORT: '0', HOST: '127.0.0.1' }
  const dev = await spawnGuarded(process.execPath, ['.tools/dev.mjs'], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => dev.end('SIGTERM'))
  let output = ''
  for (const stream of [dev.child.stdout, dev.child.stderr]) stream?.on('data', chunk => (output += chunk))
  const urlOf = (start: number) =>
    eventually(`start ${start} never listened`, () => [...output.matchAll(/is ready on (\S+)/g)][start - 1]?.[1])
  const remaining = async (url: string, prompt: string) => {
    const headers = { 'x-api-key': /SG_gw\w+/.exec(output)?.[0] ?? '' }
    const answer = await fetch(`${url}/segment`, { method: 'POST', body: segmentForm({ prompt }, photo), headers })
    t.equal(answer.status, 200)
    return Number(answer.headers.get('x-remaining-credits'))
  }

  const before = await remaining(await urlOf(1), 'dog')
  appendFileSync(`${cwd}/src/cli/health.ts`, 'not a program (')
  await eventually('the error was never reported', () => output.includes('src/cli/health.ts'))
  // Saved as editors do: the file is replaced.
  cpSync('src/cli/health.ts', `${cwd}/health.ts`)
  renameSync(`${cwd}/health.ts`, `${cwd}/src/cli/health.ts`)
  const after = await remaining(await urlOf(2), 'cat')
  t.ok(after < before && after > before - 0.01, `${before}, then ${after} credits`)
  appendFileSync(`${cwd}/src/cli/health.ts`, '\n// changed again\n')
  await urlOf(3)
  t.match(output, /INFO: listening/, 'the log is pretty')
  t.equal(await dev.end('SIGTERM'), 0)
})
