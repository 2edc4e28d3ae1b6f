import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'

/** Where Prometheus's tools are unpacked for the tests, where the machine has none. */
const OBTAINED = '.build-prometheus/usr/bin'

/**
 * The path of a tool of Prometheus: the machine's own, else the one that was obtained for the tests. Where there is none, says so, and
 * answers undefined; with CI_REQUIRE_PROMETHEUS that is a failure.
 */
export function findTool(t: Test, name: 'promtool' | 'amtool' | 'prometheus'): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), OBTAINED]
  const found = folders.map(folder => join(folder, name)).find(path => existsSync(path))
  if (found !== undefined) return found
  const line = `no ${name} on this machine: the rules were not tried`
  if (process.env.CI_REQUIRE_PROMETHEUS) t.fail(line)
  else t.pass(`SKIPPED: ${line}`)
  return undefined
}

/** Runs a tool and answers how it ended and what it said. */
export async function runTool(path: string, ...args: string[]): Promise<{ code: number; said: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(path, args, { maxBuffer: 16 * 1024 ** 2 })
    return { code: 0, said: stdout + stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, said: stdout + stderr }
  }
}
