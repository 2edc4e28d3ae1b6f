import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { eventually } from '../eventually.js'
import { freePort } from './free-port.js'
import { guard, spawnGuarded } from './guardian.js'

/** Folder of the packages that the machine does not have. */
const UNPACKED = '.build-prometheus/usr/bin'

export interface RunningProgram {
  url: string
  /** Stops the program and removes its folder. */
  close(): Promise<void>
}

/** Finds a program in PATH or in `.build-prometheus/`. */
function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), resolve(UNPACKED)]
  return folders.map(folder => join(folder, name)).find(path => existsSync(path))
}

/**
 * Finds a program, or reports in one line that `leftOut` because it is missing and returns
 * undefined. With CI_REQUIRE_PROMETHEUS a missing program is a failure.
 */
export function findOrSkip(t: Test, name: string, leftOut: string): string | undefined {
  return foundOrSkip(t, name, findProgram(name), leftOut)
}

/** Finds the Redis exporter under either of its names, or skips as `findOrSkip` does. */
export function findRedisExporterOrSkip(t: Test, leftOut: string): string | undefined {
  const [debian, upstream] = ['prometheus-redis-exporter', 'redis_exporter']
  return foundOrSkip(t, debian, findProgram(debian) ?? findProgram(upstream), leftOut)
}

function foundOrSkip(t: Test, name: string, found: string | undefined, leftOut: string): string | undefined {
  if (found !== undefined) return found
  const line = `no ${name} on this machine: ${leftOut}`
  if (process.env.CI_REQUIRE_PROMETHEUS) t.fail(line)
  else t.pass(`SKIPPED: ${line}`)
  return undefined
}

/**
 * Makes promtool, which allocates much and keeps little, collect garbage less often: half the
 * processor time.
 */
const GARBAGE = { GOGC: '800' }

/** Runs a program to its end. Resolves with its exit code and its output. */
export async function runProgram(path: string, ...args: string[]): Promise<{ code: number; output: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(path, args, {
      env: { ...process.env, ...GARBAGE },
      maxBuffer: 16 * 1024 ** 2,
    })
    return { code: 0, output: stdout + stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, output: stdout + stderr }
  }
}

/**
 * Starts a Prometheus on a free port with its own folder. `config` is the text of its
 * configuration.
 */
export async function startPrometheus(program: string, config: object): Promise<RunningProgram> {
  const dir = await mkdtemp(join(tmpdir(), 'gateway-prometheus-'))
  const file = join(dir, 'prometheus.yml')
  await writeFile(file, stringify(config))
  return start(program, dir, '/-/ready', address => [
    ...[`--config.file=${file}`, `--storage.tsdb.path=${join(dir, 'data')}`],
    `--web.listen-address=${address}`,
  ])
}

/** Starts the Redis exporter. */
export async function startRedisExporter(program: string, redisUrl: string): Promise<RunningProgram> {
  const dir = await mkdtemp(join(tmpdir(), 'gateway-exporter-'))
  return start(program, dir, '/metrics', address => [`-redis.addr=${redisUrl}`, `-web.listen-address=${address}`])
}

async function start(
  program: string,
  dir: string,
  readyPath: string,
  args: (address: string) => string[],
): Promise<RunningProgram> {
  const address = `127.0.0.1:${await freePort()}`
  const guardian = guard(dir)
  const running = await spawnGuarded(program, args(address), { stdio: ['ignore', 'ignore', 'pipe'] })
  const output: string[] = []
  running.child.stderr?.on('data', chunk => output.push(String(chunk)))
  const close = async () => {
    await running.end('SIGKILL')
    await guardian.clean()
  }
  const url = `http://${address}`
  const early = running.exited.then(code => {
    throw new Error(`${program} ended with ${code}: ${output.slice(-3)}`)
  })
  try {
    await Promise.race([eventually(`${program} never answered`, () => answers(url + readyPath)), early])
  } catch (error) {
    await close()
    throw error
  }
  early.catch(() => undefined)
  return { url, close }
}

async function answers(url: string): Promise<boolean> {
  const answer = await fetch(url).catch(() => undefined)
  await answer?.arrayBuffer()
  return answer?.ok === true
}
