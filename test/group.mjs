// Runs compiled test files one after another in this process, each as a subtest. TEST_FILES lists them,
// separated by spaces: tap would put arguments into the names of folders.
// The files share what is expensive to load: tap, the packages and the gateway's modules.
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'

/** Time limit of a file that does not set a longer one. */
const TIMEOUT_MS = 120_000
/** Methods that test files call on the `t` of tap. */
const METHODS = ['test', 'teardown', 'beforeEach', 'setTimeout']

t.setTimeout(0)
const runFile = t.test.bind(t)
for (const file of process.env.TEST_FILES.split(' ')) {
  await runFile(file, { timeout: TIMEOUT_MS }, async subtest => {
    for (const method of METHODS) t[method] = subtest[method].bind(subtest)
    await import(pathToFileURL(resolve('.build', file.replace(/\.ts$/, '.js'))).href)
  })
}
