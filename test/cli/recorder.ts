import type { CliIo } from '../../src/cli/io.js'

/** Creates a `CliIo` that records the output. */
export function recorder(env: NodeJS.ProcessEnv = {}): CliIo & { out: string[]; err: string[] } {
  const out: string[] = []
  const err: string[] = []
  return { env, out, err, stdout: line => out.push(line), stderr: line => err.push(line) }
}
