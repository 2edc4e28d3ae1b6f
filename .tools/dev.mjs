// Runs the gateway with a readable log and restarts it when a source changes: npm run dev
// Without a Segmind key, the sandbox runs as a separate process. A restart keeps its credits and jobs.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, watch } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { buildGateway } from './build.mjs'

const MAIN = 'dist/main.js'
/** Key of a sandbox at SANDBOX_URL (docs/reference.md, Settings). */
const SANDBOX_KEY = 'SG_sandbox'
const UPSTREAMS = ['SEGMIND_API_KEY', 'SEGMIND_API_KEY_FILE', 'SANDBOX', 'SANDBOX_URL']
/** An editor writes several files within this time, in milliseconds. */
const PAUSE_MS = 100

if (existsSync('.env')) process.loadEnvFile('.env')

let timer
let watchers = []
let restarts = Promise.resolve()
let isStopping = false
let gateway
const sandbox = UPSTREAMS.some(name => process.env[name]) ? undefined : await startSandbox()
const env = { LOG_FORMAT: 'pretty', ...process.env, ...(sandbox && { SANDBOX_URL: sandbox.url }) }
startGateway()
watchSources()
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop)

/** Watches each folder by itself: a recursive watch loses files that an editor saves by renaming. */
function watchSources() {
  for (const watcher of watchers) watcher.close()
  const entries = readdirSync('src', { recursive: true, withFileTypes: true })
  const folders = entries.filter(entry => entry.isDirectory()).map(({ parentPath, name }) => join(parentPath, name))
  watchers = ['src', ...folders, 'openapi.yaml'].map(path => watch(path, () => onChange(path)))
}

function onChange(path) {
  if (sandbox && path.startsWith(join('src', 'sandbox')))
    console.log('The sandbox keeps its code until npm run dev is restarted.')
  clearTimeout(timer)
  timer = setTimeout(() => {
    restarts = restarts.then(restart)
  }, PAUSE_MS)
}

async function restart() {
  // A new folder, or a file that was replaced, needs a new watcher.
  watchSources()
  try {
    await buildGateway()
  } catch (error) {
    console.error(error.message)
    return
  }
  await end(gateway)
  if (!isStopping) startGateway()
}

function startGateway() {
  // A process group of its own: Ctrl-C must reach the gateway once, because a second signal abandons paid calls.
  gateway = spawn(process.execPath, ['--enable-source-maps', MAIN, 'serve'], { env, stdio: 'inherit', detached: true })
}

/** Resolves with the child and its URL once it listens. */
async function startSandbox() {
  const args = [MAIN, 'sandbox', '--port', '0', '--key', SANDBOX_KEY]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`The sandbox ended with ${code}.`)))
  ended.catch(() => {})
  const [line] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended])
  return { child, url: /http:\S+/.exec(line)[0] }
}

async function stop() {
  if (isStopping) return
  isStopping = true
  await end(gateway)
  if (sandbox) await end(sandbox.child)
  process.exit()
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}
