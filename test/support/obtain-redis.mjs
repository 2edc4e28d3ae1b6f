// Finds or obtains a redis-server for the tests, without changing the system. Runs before anything is built, so it is plain JavaScript.
//
// In this order: the variable SEGMIND_TEST_REDIS_SERVER, a server that is installed, what an earlier run left in the cache,
// Debian's or Ubuntu's own packages unpacked into the cache, a build from source, else a message that says what to do.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MINUTES, run, unpackedPackages } from './debian-packages.mjs'

const VARIABLE = 'SEGMIND_TEST_REDIS_SERVER'
const NAMES = ['redis-server', 'valkey-server']
const USUAL_FOLDERS = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/usr/sbin', '/snap/bin']

/** Where a server obtained here lives, below the repository. */
export const CACHED_SERVER = join('node_modules', '.cache', 'redis', 'redis-server')

/** The path of a server that runs, or undefined. Throws when the variable names one that does not. */
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

/** Debian ships the server under another name and tells by the name it is called with which program it is to be. */
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

/** Lets the npm package redis-memory-server download and build Redis: needs make, a C compiler and the network. */
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

/** What was done, as a line for people. Throws with every reason when nothing worked. */
export function obtainRedisServer(root = process.cwd(), env = process.env) {
  const found = findRedisServer(root, env)
  if (found) return `Tests use the redis-server at ${found}`
  const target = dirname(resolve(root, CACHED_SERVER))
  mkdirSync(dirname(target), { recursive: true })
  const ways = { 'the packages of this system': fromAptPackages, 'a build from source': fromSource }
  const reasons = []
  for (const [way, obtain] of Object.entries(ways)) {
    try {
      obtain(target)
      if (runs(resolve(root, CACHED_SERVER)))
        return `Tests use a redis-server from ${way}, put into ${relative(root, target)}`
      reasons.push(`${way}: it does not run here`)
    } catch (error) {
      reasons.push(`${way}: ${error.message}`)
    }
    rmSync(target, { recursive: true, force: true })
  }
  throw new Error(
    `no redis-server was found, and none could be obtained\n${reasons.map(line => `  - ${line}`).join('\n')}`,
  )
}

const ADVICE = `The tests run against a real redis-server. Any one of these gives them one:
  sudo apt-get install redis-server    (Debian, Ubuntu)
  sudo dnf install redis               (Fedora; or valkey)
  brew install redis                   (macOS)
  ${VARIABLE}=/path/to/redis-server npm test
With docker only: docker create --name r redis:7 && docker cp r:/usr/local/bin/redis-server . gives a binary for the variable.`

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    console.log(obtainRedisServer())
  } catch (error) {
    console.error(`${error.message}\n\n${ADVICE}`)
    process.exitCode = 1
  }
}
