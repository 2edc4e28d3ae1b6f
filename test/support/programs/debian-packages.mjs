// Unpacks packages of Debian or Ubuntu below the repository, for any user and without changing the
// system.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const MINUTES = 60_000
/** Libraries of the running system. Versions of another system would break programs. */
const NOT_TAKEN = /^(libc6|libc-bin|libgcc-s1|libcrypt1)$/

/** Runs a program to its end. Throws with its last output when it fails. */
export function run(program, args, options = {}) {
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: 3 * MINUTES, maxBuffer: 1e8, ...options })
  if (done.status === 0) return done.stdout
  const output = `${done.error?.message ?? ''} ${done.stderr ?? ''}`.trim().split('\n').slice(-3).join(' ')
  throw new Error(`${program} ${args.at(-1)}: ${output}`)
}

/**
 * Unpacks packages below `folder`, with the libraries they need unless disabled. Downloads package
 * lists if those of the system are unusable. Returns the folder that replaces `/`. Throws without
 * apt, or for an unknown package.
 */
export function unpackedPackages(folder, packages, { libraries = true } = {}) {
  // apt resolves a relative folder below `/`.
  const work = resolve(folder)
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

/** Lists the libraries that packages need directly. */
function librariesOf(packages, options) {
  const lines = run('apt-cache', [...options, 'depends', '--important', ...packages]).split('\n')
  const names = lines.map(line => /^ +\|?(?:Pre)?Depends: ((?:lib|lua)[\w.+-]+)$/.exec(line)?.[1])
  return [...new Set(names)].filter(name => name && !NOT_TAKEN.test(name))
}
