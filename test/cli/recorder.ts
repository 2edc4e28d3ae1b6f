import type { CliIo } from '../../src/cli/io.js'

/** An `CliIo` that keeps what was said. */
export function recorder(env: NodeJS.ProcessEnv = {}): CliIo & { out: string[]; err: string[] } {
  const out: string[] = []
  const err: string[] = []
  return { env, out, err, stdout: line => out.push(line), stderr: line => err.push(line) }
}
