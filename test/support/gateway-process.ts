import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url))

export interface GatewayProcess {
  url: string
  metricsUrl: string
  child: ChildProcess
  /** Every line of its log so far. */
  lines: string[]
  /** `SIGKILL`, or any other signal; resolves with the exit code once the process is gone. */
  end(signal: NodeJS.Signals): Promise<number | null>
}

/** The same process, which need not begin to listen. */
export function spawnGateway(env: Record<string, string>) {
  const child = spawn(process.execPath, [MAIN, 'serve'], {
    env: { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: '0', METRICS_PORT: '0', ...env },
    // A `.env` of the checkout is none of the test's business.
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // A test that is cut off must not leave its gateways behind.
  const kill = () => child.kill('SIGKILL')
  const exited = once(child, 'exit') as Promise<[code: number | null]>
  process.once('exit', kill)
  void exited.then(() => process.off('exit', kill))
  return { child, exited }
}

/** Starts the gateway as a process of its own, the way `npm start` does, and waits until it listens. */
export async function startGatewayProcess(env: Record<string, string>): Promise<GatewayProcess> {
  const { child, exited } = spawnGateway(env)
  const lines: string[] = []
  const errors: string[] = []
  child.stderr.on('data', chunk => errors.push(String(chunk)))
  const listening = new Promise<{ url: string; metrics: string }>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', line => {
      lines.push(line)
      if (line.includes('"msg":"listening"')) resolve(JSON.parse(line))
    })
    void exited.then(() => reject(new Error(`the gateway did not start: ${errors.join('')}${lines.join('\n')}`)))
  })
  const { url, metrics } = await listening
  return {
    url,
    metricsUrl: metrics,
    child,
    lines,
    async end(signal) {
      child.kill(signal)
      const [code] = await exited
      return code
    },
  }
}
