import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startTestGateway } from '../support/gateway/gateway.js'

interface Exit {
  code: number
  stdout: string
  stderr: string
}

/** Runs an example against a gateway with a test key and a plain segmenter. */
async function open(t: Test) {
  const gateway = await startTestGateway()
  const folder = await mkdtemp(join(tmpdir(), 'examples-'))
  t.teardown(async () => {
    await gateway.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const env = { PATH: process.env.PATH, SEGMIND_GATEWAY_URL: gateway.url, SEGMIND_GATEWAY_KEY: gateway.testKey }
  const run = (command: string, args: string[], { input = '', key = gateway.testKey } = {}) =>
    new Promise<Exit>(resolve => {
      const child = execFile(command, args, { env: { ...env, SEGMIND_GATEWAY_KEY: key } }, (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
      )
      child.stdin?.end(input)
    })
  return { gateway, folder, run }
}

t.test('the labelling example uploads its photo once and writes COCO annotations', async t => {
  const { gateway, folder, run } = await open(t)
  const output = join(folder, 'annotations.json')
  const script = ['examples/labelling.mjs', 'examples/photos/coffee.jpg', output]
  const input = '290,200 cup\n\n470,260 saucer\n290,200 cup\nwhere?\n5000,1\n'
  const { stdout, stderr, code } = await run(process.execPath, script, { input })
  t.equal(code, 1, 'the example skips invalid clicks')
  t.match(stderr, /where\?: invalid_request.*\n5000,1: invalid_parameter/)
  const photo = await readFile('examples/photos/coffee.jpg')
  t.match(stdout, new RegExp(`3 annotations, 0\\.000000000 credits, ${photo.length} bytes of photo sent`))
  t.match(stdout, /cup: .*miss[\s\S]*saucer: .*miss[\s\S]*cup: .*hit/)
  const { images, categories, annotations } = JSON.parse(await readFile(output, 'utf8'))
  t.match(images, [{ id: 1, file_name: 'coffee.jpg', width: 600, height: 400 }])
  t.match(categories, [{ name: 'thing' }, { id: 2, name: 'cup' }, { id: 3, name: 'saucer' }])
  t.match(annotations, [{ category_id: 2, segmentation: { counts: String, size: [400, 600] } }, { category_id: 3 }, {}])
  t.equal(gateway.upstream.calls.length, 0)
})

t.test('the client example reports a picture, a known photo and a failure', async t => {
  const { folder, run } = await open(t)
  const output = join(folder, 'cat.jpg')
  const script = ['examples/client.mjs', 'examples/photos/cat.jpg', 'cat', output]
  t.match((await run(process.execPath, script)).stdout, /^miss, cost 0 credits, photo sent/)
  t.match((await run(process.execPath, script)).stdout, /^hit, cost 0 credits, photo known/)
  t.equal((await readFile(output)).readUInt16BE(0), 0xffd8)
  const failing = [...script.slice(0, 2), 'a cat test:credits_exhausted', output]
  t.match(await run(process.execPath, failing), { code: 1, stderr: /^503 credits_exhausted: / })
  t.match(await run(process.execPath, script, { key: 'SG_gwrong' }), { code: 1, stderr: /^401 unauthorized: / })
})

t.test('the curl example sends each kind of request', async t => {
  const { run } = await open(t)
  const { stdout, code, stderr } = await run('sh', ['examples/curl.sh'])
  t.equal(code, 0, stderr)
  for (const picture of ['cup.jpg', 'point.jpg', 'mask.jpg', 'cup.png', 'cup.json'])
    t.match(stdout, `→ demo-output/${picture}`)
  t.match(stdout, /"id":"cup"[^\n]*"status":200/)
  t.match(stdout, /"id":"table"[^\n]*"status":200/)
})
