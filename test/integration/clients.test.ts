import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import axios from 'axios'
import FormDataPackage from 'form-data'
import t from 'tap'
import * as undici from 'undici'
import { otherJpeg } from '../fixtures/jpeg.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'

const run = promisify(execFile)

interface Outcome {
  status: number
  type: string
  bytes: number
}

/** Sends a photo with a selection by one client. */
type Client = (gateway: TestGateway, photo: string) => Promise<Outcome>

const clients: Record<string, Client> = {
  'axios with form-data': async (gateway, photo) => {
    const form = new FormDataPackage()
    form.append('image', createReadStream(photo))
    form.append('prompt', 'dog')
    form.append('overlay_mask', 'true')
    return fromAxios(
      await axios.post(`${gateway.url}/segment`, form, {
        headers: { ...form.getHeaders(), 'x-api-key': gateway.key },
        responseType: 'arraybuffer',
        adapter: 'http',
      }),
    )
  },
  'axios with JSON': async (gateway, photo) =>
    fromAxios(
      await axios.post(
        `${gateway.url}/segment`,
        { image: (await readFile(photo)).toString('base64'), prompt: 'dog', overlay_mask: true },
        { headers: { 'x-api-key': gateway.key }, responseType: 'arraybuffer', adapter: 'http' },
      ),
    ),
  'undici FormData': async (gateway, photo) => {
    const form = new undici.FormData()
    form.append('prompt', 'dog')
    form.append('image', new Blob([new Uint8Array(await readFile(photo))]), 'photo')
    const answer = await undici.fetch(`${gateway.url}/segment`, {
      method: 'POST',
      body: form,
      headers: { 'x-api-key': gateway.key },
    })
    return {
      status: answer.status,
      type: answer.headers.get('content-type') ?? '',
      bytes: (await answer.arrayBuffer()).byteLength,
    }
  },
  'fetch with a Bearer key': async (gateway, photo) => {
    const form = new FormData()
    form.append(
      'image',
      new File([new Uint8Array(await readFile(photo))], 'a.bin', { type: 'application/octet-stream' }),
    )
    form.append('prompt', 'dog')
    const answer = await fetch(`${gateway.url}/segment`, {
      method: 'POST',
      body: form,
      headers: { authorization: `Bearer ${gateway.key}` },
    })
    return {
      status: answer.status,
      type: answer.headers.get('content-type') ?? '',
      bytes: (await answer.arrayBuffer()).byteLength,
    }
  },
  'curl -F, file first': (gateway, photo) => curl(gateway, ['-F', `image=@${photo}`, '-F', 'prompt=dog']),
  'curl -F, file last, no content type': (gateway, photo) =>
    curl(gateway, ['-F', 'overlay_mask=1', '-F', 'prompt=dog', '-F', `image=@${photo};type=application/octet-stream`]),
  'curl -F, chunked': (gateway, photo) =>
    curl(gateway, ['-H', 'transfer-encoding: chunked', '-F', `image=@${photo}`, '-F', 'prompt=dog']),
  'curl with JSON from a file': async (gateway, photo) => {
    const json = `${photo}.json`
    await writeFile(json, JSON.stringify({ image: (await readFile(photo)).toString('base64'), prompt: 'dog' }))
    return curl(gateway, [
      '-H',
      'content-type: application/json',
      '-H',
      'accept: application/json',
      '--data-binary',
      `@${json}`,
    ])
  },
  'Python requests': (gateway, photo) =>
    python(
      gateway,
      photo,
      `import requests
r = requests.post(url, headers={'x-api-key': key}, files={'image': open(photo, 'rb').read()}, data={'prompt': 'dog', 'overlay_mask': True, 'base64': False})
print(r.status_code, r.headers['content-type'], len(r.content))`,
    ),
  'Python httpx': (gateway, photo) =>
    python(
      gateway,
      photo,
      `import httpx
r = httpx.post(url, headers={'x-api-key': key}, files={'image': ('photo.jpg', open(photo, 'rb'), 'image/jpeg')}, data={'prompt': 'dog', 'overlay_mask': 'True'})
print(r.status_code, r.headers['content-type'], len(r.content))`,
    ),
}

t.test('third-party clients get the picture, and all of their requests have one cache key', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const photo = join(t.testdir({}), 'photo.jpg')
  await writeFile(photo, await otherJpeg(7))
  const sizes = new Set<number>()
  for (const [name, client] of Object.entries(clients)) {
    const outcome = await client(gateway, photo).catch((error: unknown) => {
      if (!isMissing(error)) throw error
      t.comment(`${name} is not installed`)
    })
    if (!outcome) continue
    t.match(outcome, { status: 200, type: 'image/jpeg' }, name)
    sizes.add(outcome.bytes)
  }
  t.equal(sizes.size, 1, 'all clients get the same bytes')
  t.equal(gateway.upstream.calls.length, 1, 'bought once')
})

t.test('an upload over 1 MB with Expect: 100-continue arrives completely', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const photo = join(t.testdir({}), 'large.jpg')
  await writeFile(photo, Buffer.concat([await otherJpeg(8), Buffer.alloc(3_000_000)]))
  const outcome = await curl(gateway, [
    '-H',
    'Expect: 100-continue',
    '-F',
    `image=@${photo}`,
    '-F',
    'prompt=dog',
  ]).catch((error: unknown) => {
    if (!isMissing(error)) throw error
    t.comment('curl is not installed')
  })
  if (outcome) t.equal(outcome.status, 200)
  if (outcome) t.equal(gateway.upstream.calls[0]?.image.byteLength, 3_000_000 + (await otherJpeg(8)).length)
})

function fromAxios(answer: { status: number; headers: object; data: ArrayBuffer }): Outcome {
  const headers = answer.headers as Record<string, string>
  return { status: answer.status, type: headers['content-type'] ?? '', bytes: answer.data.byteLength }
}

async function curl(gateway: TestGateway, args: string[]): Promise<Outcome> {
  const write = '%{http_code} %{content_type} %{size_download}'
  const { stdout } = await run('curl', [
    '-sS',
    '-o',
    '/dev/null',
    '-w',
    write,
    '-H',
    `x-api-key: ${gateway.key}`,
    ...args,
    `${gateway.url}/segment`,
  ])
  return fromLine(stdout)
}

async function python(gateway: TestGateway, photo: string, script: string): Promise<Outcome> {
  const head = `import sys\nurl, key, photo = sys.argv[1:4]\n`
  for (const interpreter of ['python3', '/usr/bin/python3']) {
    try {
      const { stdout } = await run(interpreter, ['-c', head + script, `${gateway.url}/segment`, gateway.key, photo])
      return fromLine(stdout)
    } catch (error) {
      if (!isMissing(error)) throw error
    }
  }
  throw Object.assign(new Error('this Python package is not installed'), { code: 'ENOENT' })
}

function fromLine(line: string): Outcome {
  const [status, type = '', bytes] = line.trim().split(' ')
  return { status: Number(status), type, bytes: Number(bytes) }
}

/** Thrown if a client is not installed: no program, or no Python package. */
function isMissing(error: unknown): boolean {
  return (
    (error as { code?: string }).code === 'ENOENT' ||
    /ModuleNotFoundError/.test((error as { stderr?: string }).stderr ?? '')
  )
}
