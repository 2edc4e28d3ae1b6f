import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import t from 'tap'

/** Makes a process believe that it is an older Node.js. */
const pretend = (version: string) =>
  `data:text/javascript,${encodeURIComponent(`
    Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })
    Object.defineProperty(process, 'version', { value: 'v${version}' })`)}`

function run(script: string, version: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const args = ['--import', pretend(version), resolve(script), 'help']
  return new Promise(resolve =>
    execFile(process.execPath, args, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    ),
  )
}

const { engines } = JSON.parse(readFileSync('package.json', 'utf8')) as { engines: { node: string } }
const oldest = /\d+\.\d+/.exec(engines.node)?.[0]

for (const script of ['.build/src/main.js', '.tools/prepare.mjs']) {
  t.test(`${script} names the oldest supported Node.js in one sentence`, async t => {
    for (const version of ['18.20.4', '20.18.3']) {
      const { code, stdout, stderr } = await run(script, version)
      t.equal(code, 1)
      t.equal(stdout, '')
      t.equal(stderr, `segmind-gateway requires Node.js ${oldest} or later; this is v${version}.\n`)
    }
  })
}

t.test('the oldest supported Node.js and later ones run the command line', async t => {
  for (const version of [`${oldest}.0`, '21.0.0', '24.1.0']) {
    t.match(await run('.build/src/main.js', version), { code: 0, stdout: /^Usage: segmind-gateway/ })
  }
})
