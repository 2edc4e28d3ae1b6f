import { get } from 'node:http'
import { isIPv6 } from 'node:net'
import { parseArgs } from 'node:util'
import { loadSlices } from '../config/index.js'
import { type CliIo, usageError } from './io.js'

export const help = `Checks that the running gateway is alive (for the container's HEALTHCHECK)

segmind-gateway health
    Requests /healthz on HOST and PORT, with a timeout of two seconds. Exit code 0 if it responds with 200, else 1.`

const EVERY_ADDRESS = ['0.0.0.0', '::', '::0', '0:0:0:0:0:0:0:0']
const TIMEOUT_MS = 2000

/** `segmind-gateway health`. `timeoutMs` is for tests. */
export async function run(args: string[], io: CliIo, timeoutMs = TIMEOUT_MS): Promise<number> {
  parseArgs({ args, options: {} })
  const { host, port } = loadSlices(io.env, ['server']).server
  if (port === 0) throw usageError('with PORT=0 the port is not known; set PORT')
  const url = `http://${reachable(host)}:${port}/healthz`
  const problem = await request(url, timeoutMs)
  if (problem === undefined) io.stdout('ok')
  else io.stderr(`${url}: ${problem}`)
  return problem === undefined ? 0 : 1
}

/** Returns an address to connect to. HOST may mean all addresses. */
function reachable(host: string): string {
  if (EVERY_ADDRESS.includes(host)) return '127.0.0.1'
  return isIPv6(host) ? `[${host}]` : host
}

/**
 * Sends the request. Not through `fetch`, which refuses some ports. Without an agent, so that the
 * process exits at once.
 */
function request(url: string, timeoutMs: number): Promise<string | undefined> {
  return new Promise(resolve => {
    const sent = get(url, { agent: false, signal: AbortSignal.timeout(timeoutMs) }, answer => {
      resolve(answer.statusCode === 200 ? undefined : `status ${answer.statusCode}`)
      sent.destroy()
    })
    sent.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ABORT_ERR' ? `no response within ${timeoutMs} ms` : (error.code ?? 'no response'))
    })
  })
}
