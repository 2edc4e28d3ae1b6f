// Finds or obtains a redis-server for the tests, without changing the system. Plain JavaScript,
// because it runs before anything is built.
//
// Sources, in order of preference: the variable SEGMIND_TEST_REDIS_SERVER, an installed server, the
// cache of an earlier run, packages of Debian or Ubuntu unpacked into the cache, a build from
// source.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join, relative, resolve } from 'node:path'
import { MINUTES, run, unpackedPackages } from './debian-packages.mjs'

const VARIABLE = 'SEGMIND_TEST_REDIS_SERVER'
const NAMES = ['redis-server', 'valkey-server']
const USUAL_FOLDERS = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/usr/sbin', '/snap/bin']

/** Path of an obtained server, relative to the repository. */
export const CACHED_SERVER = join('node_modules', '.cache', 'redis', 'redis-server')

/**
 * Returns the path of a working server, or undefined. Throws when the variable names a server that
 * does not run.
 */
export function findRedisServer(root = process.cwd(), env = process.env) {
  const named = env[VARIABLE]
  if (named) {
    if (runs(named)) return named
    throw new Error(`${VARIABLE} is ${named}, which does not run as a redis-server`)
  }
  const folders = [...(env.PATH ?? '').split(delimiter).filter(Boolean), ...USUAL_FOLDERS]
  const candidates = folders.flatMap(folder => NAMES.map(name => join(folder, name)))
  return [...candidates, resolve(root, CACHED_SERVER)].find(path => existsSync(path) && runs(path))
}

function runs(path) {
  const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 10_000 })
  return status === 0 && /server/i.test(stdout)
}

/** Unpacks the distribution's packages into `target`. */
function fromAptPackages(target) {
  const work = `${target}.apt`
  try {
    install(unpackedPackages(work, ['redis-tools']), target)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/**
 * Moves unpacked packages into `target`. Debian's binary acts as the server when it is called by
 * the server's name.
 */
function install(root, target) {
  rmSync(target, { recursive: true, force: true })
  mkdirSync(join(target, 'bin'), { recursive: true })
  renameSync(root, join(target, 'root'))
  symlinkSync(join('..', 'root', 'usr', 'bin', 'redis-check-rdb'), join(target, 'bin', 'redis-server'))
  const files = readdirSync(join(target, 'root'), { recursive: true }).filter(file => /\.so(\.|$)/.test(file))
  const folders = new Set(files.map(file => `$here/root/${dirname(file)}`))
  const lines = ['#!/bin/sh', 'here="$' + '{0%/*}"', `export LD_LIBRARY_PATH="${[...folders].join(':')}"`]
  writeFileSync(join(target, 'redis-server'), [...lines, 'exec "$here/bin/redis-server" "$@"', ''].join('\n'))
  chmodSync(join(target, 'redis-server'), 0o755)
}

/**
 * Downloads and builds Redis with the npm package redis-memory-server. Requires make, a C compiler
 * and network access.
 */
function fromSource(target) {
  const downloads = join(target, 'built')
  const env = { ...process.env, REDISMS_DOWNLOAD_DIR: downloads, npm_config_ignore_scripts: 'false' }
  const args = [
    'install',
    '--no-save',
    '--no-package-lock',
    '--prefix',
    join(target, 'npm'),
    'redis-memory-server@^0.17',
  ]
  mkdirSync(join(target, 'npm'), { recursive: true })
  run('npm', args, { env, timeout: 10 * MINUTES, shell: process.platform === 'win32' })
  const built = readdirSync(downloads, { recursive: true }).find(file => /(^|[\\/])redis-server$/.test(file))
  if (!built) throw new Error('redis-memory-server left no redis-server behind')
  symlinkSync(relative(target, join(downloads, built)), join(target, 'redis-server'))
}

/**
 * Returns one line that names the server in use. Throws with the reason of each failure when there
 * is none.
 */
export function obtainRedisServer(root = process.cwd(), env = process.env) {
  const found = findRedisServer(root, env)
  if (found) return `Tests use the redis-server at ${found}`
  const target = dirname(resolve(root, CACHED_SERVER))
  mkdirSync(dirname(target), { recursive: true })
  const sources = { 'the packages of this system': fromAptPackages, 'a build from source': fromSource }
  const reasons = []
  for (const [source, obtain] of Object.entries(sources)) {
    try {
      obtain(target)
      if (runs(resolve(root, CACHED_SERVER)))
        return `Tests use a redis-server from ${source}, installed in ${relative(root, target)}`
      reasons.push(`${source}: it does not run here`)
    } catch (error) {
      reasons.push(`${source}: ${error.message}`)
    }
    rmSync(target, { recursive: true, force: true })
  }
  throw new Error(
    `no redis-server was found, and none could be obtained\n${reasons.map(line => `  - ${line}`).join('\n')}\n\n${ADVICE}`,
  )
}

const ADVICE = `The tests run against a real redis-server. Any one of these provides one:
  sudo apt-get install redis-server    (Debian, Ubuntu)
  sudo dnf install redis               (Fedora; or valkey)
  brew install redis                   (macOS)
  ${VARIABLE}=/path/to/redis-server npm test
With docker only: docker create --name r redis:7 && docker cp r:/usr/local/bin/redis-server . gives a binary for the variable.`
