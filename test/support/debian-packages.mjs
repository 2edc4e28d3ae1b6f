// Debian's and Ubuntu's packages, unpacked below the repository: for any user, without changing the system.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

export const MINUTES = 60_000
/** Belongs to the running system: mixing in another one's would break more than it helps. */
const NOT_TAKEN = /^(libc6|libc-bin|libgcc-s1|libcrypt1)$/

/** Runs a program to its end; throws its last words when it fails. */
export function run(program, args, options = {}) {
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: 3 * MINUTES, maxBuffer: 1e8, ...options })
  if (done.status === 0) return done.stdout
  const words = `${done.error?.message ?? ''} ${done.stderr ?? ''}`.trim().split('\n').slice(-3).join(' ')
  throw new Error(`${program} ${args.at(-1)}: ${words}`)
}

/**
 * Unpacks these packages below `work`, with the libraries they need unless told not to, and with package lists of its own where
 * the system's do not serve. Gives the folder that stands for `/`. Throws where there is no apt, or no such package.
 */
export function unpackedPackages(work, packages, { libraries = true } = {}) {
  rmSync(work, { recursive: true, force: true })
  mkdirSync(join(work, 'debs'), { recursive: true })
  try {
    download(work, packages, libraries, [])
  } catch {
    download(work, packages, libraries, freshLists(work))
  }
  for (const file of readdirSync(join(work, 'debs')))
    run('dpkg-deb', ['-x', join(work, 'debs', file), join(work, 'root')])
  return join(work, 'root')
}

function freshLists(work) {
  for (const folder of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(join(work, folder), { recursive: true })
  const options = [
    `Dir::State=${join(work, 'state')}`,
    `Dir::State::lists=${join(work, 'state', 'lists')}`,
    `Dir::Cache=${join(work, 'cache')}`,
    'APT::Sandbox::User=',
    'Acquire::Retries=2',
  ].flatMap(option => ['-o', option])
  run('apt-get', [...options, '-qq', 'update'])
  return options
}

function download(work, packages, libraries, options) {
  const wanted = new Set(packages)
  for (let level = libraries ? packages : []; level.length > 0; ) {
    const found = librariesOf(level, options)
    level = found.filter(name => !wanted.has(name))
    for (const name of level) wanted.add(name)
  }
  run('apt-get', [...options, '-qq', 'download', ...wanted], { cwd: join(work, 'debs') })
}

/** The libraries that these packages need directly. */
function librariesOf(packages, options) {
  const lines = run('apt-cache', [...options, 'depends', '--important', ...packages]).split('\n')
  const names = lines.map(line => /^ +\|?(?:Pre)?Depends: ((?:lib|lua)[\w.+-]+)$/.exec(line)?.[1])
  return [...new Set(names)].filter(name => name && !NOT_TAKEN.test(name))
}
