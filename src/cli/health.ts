import { get } from 'node:http'
import { isIPv6 } from 'node:net'
import { parseArgs } from 'node:util'
import { loadSlices } from '../config.js'
import { type CliIo, usageError } from './io.js'

export const help = `Asks the running gateway whether it is alive (for the container's HEALTHCHECK)

segmind-gateway health
    Asks /healthz on HOST and PORT, for two seconds. Ends with 0 when the answer is good, else with 1.`

const EVERY_ADDRESS = ['0.0.0.0', '::', '::0', '0:0:0:0:0:0:0:0']
const TIMEOUT_MS = 2000

/** `segmind-gateway health`. `timeoutMs` is for tests. */
export async function run(args: string[], io: CliIo, timeoutMs = TIMEOUT_MS): Promise<number> {
  parseArgs({ args, options: {} })
  const { host, port } = loadSlices(io.env, ['server']).server
  if (port === 0) throw usageError('PORT=0 takes a free port: nobody knows which one')
  const url = `http://${reachable(host)}:${port}/healthz`
  const problem = await ask(url, timeoutMs)
  if (problem === undefined) io.stdout('ok')
  else io.stderr(`${url}: ${problem}`)
  return problem === undefined ? 0 : 1
}

/** An address to connect to, where HOST may mean all of them. */
function reachable(host: string): string {
  if (EVERY_ADDRESS.includes(host)) return '127.0.0.1'
  return isIPv6(host) ? `[${host}]` : host
}

/** Not by `fetch`, which refuses some ports; and on a connection of its own, so that the process ends at once. */
function ask(url: string, timeoutMs: number): Promise<string | undefined> {
  return new Promise(resolve => {
    const request = get(url, { agent: false, signal: AbortSignal.timeout(timeoutMs) }, answer => {
      resolve(answer.statusCode === 200 ? undefined : `status ${answer.statusCode}`)
      request.destroy()
    })
    request.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ABORT_ERR' ? `no answer within ${timeoutMs} ms` : (error.code ?? 'no answer'))
    })
  })
}
