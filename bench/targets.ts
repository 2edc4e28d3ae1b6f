import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { eventually } from '../test/support/eventually.js'

/** A server under measurement, on the first processor. The load and the upstream use the second. */
export interface Target {
  name: string
  port: number
  pid: number
}

export const SERVER_CPU = 0
export const LOAD_CPU = 1
const NGINX = '/usr/sbin/nginx'
const NGINX_LUA = '/usr/lib/nginx/modules/ngx_http_lua_module.so'
const VARNISH = '/usr/sbin/varnishd'

const children: ChildProcess[] = []

/** Starts a program on one processor. It is killed with this process. */
export function pinned(cpu: number, program: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const [command = '', ...args] = existsSync('/usr/bin/taskset')
    ? ['/usr/bin/taskset', '-c', String(cpu), ...program]
    : program
  const child = spawn(command, args, {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  return child
}

process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** Starts a Node.js program that logs its URL once it listens. */
export async function startNode(
  name: string,
  program: readonly string[],
  { cpu = SERVER_CPU, env = {} }: { cpu?: number; env?: Record<string, string> } = {},
): Promise<Target> {
  const child = pinned(cpu, program, env)
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  for await (const line of lines)
    if (line.includes('"msg":"listening"')) {
      // The rest of the log is dropped.
      child.stdout?.resume()
      return { name, port: Number(new URL(JSON.parse(line).url).port), pid: child.pid ?? 0 }
    }
  throw new Error(`${name} did not start`)
}

export function peer(name: string, mode: string, node: string, upstream = '', picture = ''): Promise<Target> {
  const program = fileURLToPath(new URL('./peer.js', import.meta.url))
  const cpu = mode === 'upstream' ? LOAD_CPU : SERVER_CPU
  return startNode(name, [node, program, mode, upstream], { cpu, env: { BENCH_PICTURE: picture } })
}

/**
 * Starts nginx with a cache whose key is a digest of the body. Undefined if it is not installed.
 */
export async function nginx(dir: string, upstream: number): Promise<Target | undefined> {
  if (!existsSync(NGINX) || !existsSync(NGINX_LUA)) return undefined
  const port = await freePort()
  const home = join(dir, 'nginx')
  await mkdir(join(home, 'cache'), { recursive: true })
  const file = join(home, 'nginx.conf')
  await writeFile(
    file,
    `load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module ${NGINX_LUA};
user root;
worker_processes 1;
daemon off;
pid ${home}/pid;
error_log ${home}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_max_body_size 64m;
  client_body_buffer_size 64m;
  client_body_temp_path ${home}/body;
  proxy_temp_path ${home}/proxy;
  proxy_cache_path ${home}/cache keys_zone=results:10m max_size=1g;
  keepalive_requests 10000000;
  server {
    listen 127.0.0.1:${port};
    location / {
      set $digest '';
      rewrite_by_lua_block { ngx.req.read_body(); ngx.var.digest = ngx.md5(ngx.req.get_body_data() or '') }
      proxy_cache results;
      proxy_cache_methods POST;
      proxy_cache_key $digest;
      proxy_cache_valid 200 1d;
      proxy_pass http://127.0.0.1:${upstream};
    }
  }
}
`,
  )
  const child = pinned(SERVER_CPU, [NGINX, '-p', home, '-c', file])
  return listening({ name: 'nginx', port, pid: child.pid ?? 0 })
}

/** Starts Varnish with the digest of the body in the key. Undefined if it is not installed. */
export async function varnish(dir: string, upstream: number): Promise<Target | undefined> {
  if (!existsSync(VARNISH)) return undefined
  const port = await freePort()
  const home = join(dir, 'varnish')
  await mkdir(home, { recursive: true })
  const file = join(home, 'cache.vcl')
  await writeFile(
    file,
    `vcl 4.1;
import std;
import bodyaccess;
backend default { .host = "127.0.0.1"; .port = "${upstream}"; }
sub vcl_recv { std.cache_req_body(64MB); set req.http.x-method = req.method; return (hash); }
sub vcl_hash { bodyaccess.hash_req_body(); return (lookup); }
sub vcl_backend_fetch { set bereq.method = bereq.http.x-method; }
sub vcl_backend_response { set beresp.ttl = 1d; }
`,
  )
  const child = pinned(SERVER_CPU, [
    ...[VARNISH, '-j', 'none', '-F', '-n', home, '-a', `127.0.0.1:${port}`, '-f', file],
    ...['-s', 'malloc,1g', '-p', 'workspace_client=256k'],
  ])
  return listening({ name: 'Varnish', port, pid: child.pid ?? 0 })
}

async function listening(target: Target): Promise<Target | undefined> {
  try {
    await eventually(
      `${target.name} never answered`,
      () => fetch(`http://127.0.0.1:${target.port}/`).catch(() => false),
      {
        timeoutMs: 10_000,
      },
    )
    return target
  } catch (error) {
    console.error(`${(error as Error).message}; it is left out`)
    return undefined
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}

/** Processor time, memory and page faults of a process and its children so far, from /proc. */
export interface Usage {
  cpuSeconds: number
  minorFaults: number
  residentBytes: number
}

const TICKS = 100

export function usageOf(pid: number): Usage {
  const sum = { cpuSeconds: 0, minorFaults: 0, residentBytes: 0 }
  for (const each of treeOf(pid)) {
    const fields = readFileSync(`/proc/${each}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    sum.minorFaults += Number(fields[7])
    sum.cpuSeconds += (Number(fields[11]) + Number(fields[12])) / TICKS
    sum.residentBytes += Number(fields[21]) * 4096
  }
  return sum
}

function treeOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  return [pid, ...children.flatMap(treeOf)]
}
