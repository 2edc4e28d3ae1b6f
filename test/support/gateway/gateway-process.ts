import type { ChildProcess } from 'node:child_process'
import { tmpdir } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { within } from '../eventually.js'
import { type GuardedProcess, spawnGuarded } from '../programs/guardian.js'

/** The gateway as `.tools/build.mjs --tests` bundles it, for a faster start. */
const BUNDLE = fileURLToPath(new URL('../../../gateway/main.js', import.meta.url))
/** The gateway in as many modules as `dist/` has. */
const MODULES = fileURLToPath(new URL('../../../src/main.js', import.meta.url))
/** These processes live for seconds: optimising their code takes a quarter of the start and does not pay. */
const V8_OPTIONS = ['--no-opt']
/** Time limit of a start. Several processes that start together on a loaded machine need long. */
const START_TIMEOUT_MS = 100_000

export interface GatewayProcess {
  url: string
  metricsUrl: string
  child: ChildProcess
  /** The lines of its log so far. */
  lines: string[]
  /** Sends the signal and resolves with the exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>
}

export interface SpawnOptions {
  /** Starts the gateway as users do: not bundled, without options of the V8 engine. */
  asShipped?: boolean
  /** Starts it as npm does: as the child of a shell, which does not pass signals on. */
  underNpm?: boolean
}

/** Starts the gateway as its own process, without waiting until it listens. */
export function spawnGateway(
  env: Record<string, string>,
  { asShipped = false, underNpm = false }: SpawnOptions = {},
): Promise<GuardedProcess> {
  const program = [process.execPath, ...(asShipped ? [MODULES] : [...V8_OPTIONS, BUNDLE]), 'serve']
  // A shell replaces itself with a last command.
  const [command = '', ...args] = underNpm ? ['sh', '-c', `'${program.join("' '")}'; exit $?`] : program
  return spawnGuarded(command, args, {
    env: {
      ...(underNpm && { npm_lifecycle_event: 'start' }),
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: '0',
      METRICS_PORT: '0',
      ...env,
    },
    // Outside of the checkout, so that its `.env` is not read.
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** Starts the gateway as its own process and waits until it listens. */
export async function startGatewayProcess(
  env: Record<string, string>,
  options?: SpawnOptions,
): Promise<GatewayProcess> {
  const { child, exited, end } = await spawnGateway(env, options)
  const lines: string[] = []
  const errors: string[] = []
  child.stderr?.on('data', chunk => errors.push(String(chunk)))
  const listening = new Promise<{ url: string; metrics: string }>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line => {
      lines.push(line)
      if (line.includes('"msg":"listening"')) resolve(JSON.parse(line))
    })
    void exited.then(() => reject(new Error(`the gateway did not start: ${errors.join('')}${lines.join('\n')}`)))
  })
  const { url, metrics } = await within('the gateway never listened', listening, { timeoutMs: START_TIMEOUT_MS })
  return { url, metricsUrl: metrics, child, lines, end }
}
