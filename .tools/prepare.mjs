// Installs the packages and builds, each only if something has changed: node .tools/prepare.mjs [--tests]
// With --tests, also provides a redis-server and compiles the tests.
import './node-version.mjs'
import { execFileSync } from 'node:child_process'
import { existsSync, utimesSync } from 'node:fs'
import { isUpToDate } from './up-to-date.mjs'

const INSTALLED = 'node_modules/.package-lock.json'

const isForTests = process.argv.includes('--tests')

try {
  const hasTools = ['esbuild', 'typescript'].every(name => existsSync(`node_modules/${name}`))
  if (!hasTools || !isUpToDate(INSTALLED, ['package-lock.json'])) install()
  const { buildGateway, buildTests } = await import('./build.mjs')
  if (isForTests) {
    const { obtainRedisServer } = await import('../test/support/programs/obtain-redis.mjs')
    console.log(obtainRedisServer())
  }
  await Promise.all([buildGateway(), isForTests && buildTests()])
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}

function install() {
  console.log('Installing packages. The first time, this takes about a minute.')
  const isWindows = process.platform === 'win32'
  const args = ['install', '--no-save', '--include=dev', '--loglevel=error']
  execFileSync(isWindows ? 'npm.cmd' : 'npm', args, { stdio: 'inherit', shell: isWindows })
  // npm does not write this file when every package is installed already.
  utimesSync(INSTALLED, new Date(), new Date())
}
