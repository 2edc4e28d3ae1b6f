// Builds the gateway into dist/: node .tools/build.mjs
// With --tests, compiles sources and tests into .build/ instead. Does nothing when no source has changed.
// Types are not checked here: `npm run types` does that.
import './node-version.mjs'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { cpSync, existsSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { isUpToDate } from './up-to-date.mjs'

const [CLIENT, PAGES] = ['client', 'pages'].map(name => join('src', name) + sep)
const STAMP = '.stamp'
/** Packages that load native code or workers from their own folder. */
const LOADED_FROM_DISK = ['fs-native-extensions', 'lmdb', 'pino', 'pino-pretty', 'sharp']
const TOOLS = ['.tools', 'tsconfig.json', 'package-lock.json']

/** Builds the gateway with its pages and client into `dist/`. Rejects on a syntax error. */
export function buildGateway() {
  return build('dist', ['src', ...TOOLS], async folder => {
    const modules = modulesIn('src').filter(file => !file.startsWith(CLIENT))
    const [pages, others] = [true, false].map(isPage => modules.filter(file => file.startsWith(PAGES) === isPage))
    const steps = [
      transpile(others, 'src', folder),
      transpile(pages, 'src', folder, { sourcemap: false }),
      compileClient(join(folder, 'client')),
    ]
    // All of them end before the folder is removed after a failure of one.
    for (const { reason } of await Promise.allSettled(steps)) if (reason) throw reason
    const { addAssets } = await import('../src/pages/assets.mjs')
    addAssets(folder)
  })
}

/** Compiles sources, tests and benchmarks into `.build/`, and bundles the gateway for the tests that spawn it. */
export function buildTests() {
  const folders = ['src', 'test', 'bench', 'examples']
  return build('.build', [...folders, ...TOOLS], async folder => {
    const steps = [transpile(folders.flatMap(modulesIn), '.', folder), bundleGateway(join(folder, 'gateway'))]
    for (const { reason } of await Promise.allSettled(steps)) if (reason) throw reason
  })
}

/**
 * Bundles the gateway with its packages into a few files, which load in two thirds of the processor
 * time of about a thousand modules.
 */
async function bundleGateway(outdir) {
  const esbuild = await import('esbuild')
  await esbuild.build({
    entryPoints: ['src/main.ts', 'src/sandbox/segmenter-worker.ts'],
    entryNames: '[name]',
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    charset: 'utf8',
    external: LOADED_FROM_DISK,
    // Bundled CommonJS packages require the modules of Node.js.
    banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)` },
    logLevel: 'silent',
  })
}

/**
 * Calls `produce` with a new folder and swaps that folder in for `target`. A process that runs from
 * `target` never sees a file that is only partly written.
 */
export async function build(target, sources, produce) {
  if (isUpToDate(join(target, STAMP), sources)) return
  const startedAt = new Date()
  const next = `.build-next-${randomUUID()}`
  const old = `${next}-old`
  try {
    await produce(next)
    writeFileSync(join(next, STAMP), '')
    // A source that changes during the build is newer than the stamp.
    utimesSync(join(next, STAMP), startedAt, startedAt)
    if (existsSync(target)) renameSync(target, old)
    renameSync(next, target)
  } finally {
    for (const folder of [next, old]) rmSync(folder, { recursive: true, force: true })
  }
}

function modulesIn(folder) {
  const files = readdirSync(folder, { recursive: true }).map(file => join(folder, file))
  return files.filter(file => file.endsWith('.ts') && !file.endsWith('.d.ts'))
}

async function transpile(entryPoints, outbase, outdir, changes = {}) {
  const esbuild = await import('esbuild')
  const options = {
    format: 'esm',
    platform: 'node',
    charset: 'utf8',
    sourcemap: true,
    sourcesContent: false,
    ...changes,
  }
  await esbuild.build({ entryPoints, outbase, outdir, logLevel: 'silent', ...options })
}

/**
 * Compiles the client with its type declarations, which only TypeScript writes and which takes most
 * of a build. Copies those of the last build if the client has not changed since.
 */
async function compileClient(outDir) {
  if (isUpToDate(join('dist', STAMP), [CLIENT, ...TOOLS])) {
    return cpSync(join('dist', 'client'), outDir, { recursive: true })
  }
  const tsc = ['node_modules/typescript/bin/tsc', '-p', join(CLIENT, 'tsconfig.json'), '--outDir', outDir]
  await promisify(execFile)(process.execPath, tsc)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await (process.argv.includes('--tests') ? buildTests() : buildGateway())
}
