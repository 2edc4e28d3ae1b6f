// Runs compiled test files one after another in this process, each as a subtest. TEST_FILES lists them,
// separated by spaces: tap would put arguments into the names of folders.
// The files share what is expensive to load: tap, the packages and the gateway's modules.
import asyncHooks from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

/** Time limit of a file that does not set a longer one. */
const TIMEOUT_MS = 240_000
/** Methods that test files call on the `t` of tap. */
const METHODS = ['test', 'teardown', 'beforeEach', 'setTimeout']

const t = await importTap()
t.setTimeout(0)
const runFile = t.test.bind(t)
process.on('uncaughtException', error => {
  console.error(error)
  process.exit(1)
})
for (const file of process.env.TEST_FILES.split(' ')) {
  await runFile(file, { timeout: TIMEOUT_MS }, async subtest => {
    for (const method of METHODS) t[method] = subtest[method].bind(subtest)
    await import(pathToFileURL(resolve('.build', file.replace(/\.ts$/, '.js'))).href)
  })
}

/**
 * Imports tap without its hook on every promise, which finds the test of an uncaught error and takes
 * a tenth to a third of the processor time of the tests. Here an uncaught error ends the process.
 */
async function importTap() {
  const { createHook } = asyncHooks
  const replace = value => {
    asyncHooks.createHook = value
    syncBuiltinESMExports()
  }
  replace(() => ({ enable() {}, disable() {} }))
  const { default: tap } = await import('tap')
  // The hook is created with the first test.
  tap.setTimeout(0)
  replace(createHook)
  return tap
}
