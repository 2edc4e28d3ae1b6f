import { parseArgs } from 'node:util'
import { newSandboxKey, type SandboxOptions, startSandbox } from '../sandbox/server.js'

interface Io {
  stdout: (line: string) => void
  stderr: (line: string) => void
  /** Ends the command like SIGINT and SIGTERM; for tests. */
  signal?: AbortSignal
}

const USAGE =
  'usage: segmind-gateway sandbox [--host 127.0.0.1] [--port 9000] [--key SG_…] [--latency ms] [--credits n]'

/**
 * Runs a separate sandbox until SIGINT or SIGTERM. Returns the exit code: 0, 1 when it cannot
 * listen, 2 for a wrong option.
 */
export async function sandbox(args: string[], io: Io): Promise<number> {
  const options = readOptions(args)
  if (typeof options === 'string') {
    io.stderr(options)
    io.stderr(USAGE)
    return 2
  }
  try {
    const running = await startSandbox(options)
    // Before the output, so that a signal after it always stops the sandbox.
    const stopped = untilStopped(io.signal)
    io.stdout(`Segmind sandbox: ${running.url}`)
    io.stdout(`key: ${running.apiKey}`)
    await stopped
    await running.close()
    return 0
  } catch (error) {
    io.stderr(`The sandbox could not start: ${error instanceof Error ? error.message : String(error)}`)
    return 1
  }
}

function readOptions(args: string[]): SandboxOptions | string {
  const text = { type: 'string' } as const
  try {
    const { values } = parseArgs({ args, options: { host: text, port: text, key: text, latency: text, credits: text } })
    const { host = '127.0.0.1', key = newSandboxKey() } = values
    const port = numberOf(values.port ?? '9000', WHOLE)
    const latencyMs = numberOf(values.latency ?? '0', WHOLE)
    const credits = numberOf(values.credits ?? '10', DECIMAL)
    if (!(port <= 65_535)) return '--port must be a whole number from 0 to 65535'
    if (!(latencyMs <= 600_000)) return '--latency must be a whole number from 0 to 600000 (ms)'
    if (!(credits <= 1_000_000)) return '--credits must be a number from 0 to 1000000'
    if (host.trim() === '') return '--host must not be empty'
    if (!/^[\x21-\x7e]+$/.test(key)) return '--key must be printable ASCII characters without spaces'
    return { host, port, latencyMs, credits, apiKey: key }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

const WHOLE = /^\d{1,9}$/
const DECIMAL = /^\d{1,9}(?:\.\d{1,9})?$/

/** Parses a number. Returns NaN for any other form; `Number` would read an empty text as 0. */
function numberOf(text: string, form: RegExp): number {
  return form.test(text) ? Number(text) : Number.NaN
}

function untilStopped(signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const stop = () => {
      process.off('SIGINT', stop)
      process.off('SIGTERM', stop)
      signal?.removeEventListener('abort', stop)
      resolve()
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
    signal?.addEventListener('abort', stop)
    if (signal?.aborted) stop()
  })
}
