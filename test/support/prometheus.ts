import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { freePort } from './free-port.js'

/** Where a package is unpacked that the machine does not have. */
const UNPACKED = '.build-prometheus/usr/bin'

export interface RunningProgram {
  url: string
  /** Ends it and removes its folder. */
  close(): Promise<void>
}

/** The path of a program of this machine, or of one unpacked below the repository. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), resolve(UNPACKED)]
  return folders.map(folder => join(folder, name)).find(path => existsSync(path))
}

/** The same; where there is none, says so, and answers undefined. With CI_REQUIRE_PROMETHEUS that is a failure. `what` is left out then. */
export function findOrSkip(t: Test, name: string, what: string): string | undefined {
  const found = findProgram(name)
  if (found !== undefined) return found
  const line = `no ${name} on this machine: ${what}`
  if (process.env.CI_REQUIRE_PROMETHEUS) t.fail(line)
  else t.pass(`SKIPPED: ${line}`)
  return undefined
}

/** Runs a program to its end and answers how it ended and what it said. */
export async function runProgram(path: string, ...args: string[]): Promise<{ code: number; said: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(path, args, { maxBuffer: 16 * 1024 ** 2 })
    return { code: 0, said: stdout + stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, said: stdout + stderr }
  }
}

/** Starts a Prometheus on a free port with a folder of its own; `config` is what its file says. */
export async function startPrometheus(program: string, config: object): Promise<RunningProgram> {
  const dir = await mkdtemp(join(tmpdir(), 'gateway-prometheus-'))
  const file = join(dir, 'prometheus.yml')
  await writeFile(file, stringify(config))
  return start(program, dir, '/-/ready', address => [
    ...[`--config.file=${file}`, `--storage.tsdb.path=${join(dir, 'data')}`],
    `--web.listen-address=${address}`,
  ])
}

/** Starts the exporter of Redis's own figures. */
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
  const child = spawn(program, args(address), { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(child, 'exit')
  // A test that is cut off must not leave it behind.
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  void exited.then(() => process.off('exit', kill))
  const said: string[] = []
  child.stderr.on('data', chunk => said.push(String(chunk)))
  const url = `http://${address}`
  await answers(url + readyPath, child, said)
  return {
    url,
    async close() {
      child.kill('SIGKILL')
      await exited
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Waits until it answers, or has ended. */
async function answers(url: string, child: ChildProcess, said: string[]): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}: ${said.slice(-3)}`)
    const answer = await fetch(url).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
