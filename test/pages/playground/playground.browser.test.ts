import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Browser, Page, Request } from 'playwright-core'
import t, { type Test } from 'tap'
import { smallJpeg } from '../../fixtures/odd-images.js'
import { fakeMask } from '../../support/doubles/fake-mask.js'
import { startTestGateway, type TestGateway } from '../../support/gateway/gateway.js'
import {
  accessibilityViolations,
  type PageOptions,
  PLAIN_HOST,
  startChromium,
  type Visit,
  visit,
} from '../../support/pages/chromium.js'

const PHOTO = 'examples/photos/coffee.jpg'
const MAX_FIRST_LOAD_BYTES = 100_000

t.setTimeout(300_000)
const browser = await startChromium(t)
if (browser) await testPlayground(browser)

async function testPlayground(browser: Browser): Promise<void> {
  const gateway = await startTestGateway({ teams: { vision: { limits: { requests_per_minute: 100_000 } } } })
  t.teardown(gateway.stop)
  const { key, testKey, upstream } = gateway
  const keys = { key, testKey }

  const visits: Visit[] = []
  /** Opens a page with a key. The last test checks what no visit may do. */
  async function open(t: Test, own = testKey, options: PageOptions = {}, at: TestGateway = gateway) {
    const visited = await visit(browser, `${at.url}/`, options)
    visits.push(visited)
    t.teardown(visited.close)
    if (own !== '') await useKey(visited.page, own)
    return visited.page
  }

  t.test('the first load transfers less than 100 KB', async t => {
    const page = await open(t, '')
    const client = await page.context().newCDPSession(page)
    let bytes = 0
    client.on('Network.loadingFinished', ({ encodedDataLength }) => {
      bytes += encodedDataLength
    })
    await client.send('Network.enable')
    await client.send('Network.setCacheDisabled', { cacheDisabled: true })
    await page.reload()
    await says(page, '#quote', 'Enter your team key')
    t.ok(bytes > 5_000 && bytes < MAX_FIRST_LOAD_BYTES, `${bytes} bytes`)
    t.match(await page.title(), /Playground/)
  })

  t.test('a key is checked, stored for the tab and never part of the URL', async t => {
    const page = await open(t, '')
    await page.fill('#key', `${key.slice(0, -4)}AAAA`)
    await page.click('#use-key')
    await says(page, '#key-problem', /Invalid key.*Request id [\w-]{8}/)
    t.equal(await stored(page), '')
    await useKey(page, key)
    await says(page, '#team', /^Team vision/)
    t.equal(await stored(page), `tab ${key}`)
    t.notOk(page.url().includes(key))
    await page.reload()
    await shows(page, '#account')
    await page.click('#forget-key')
    await shows(page, '#key-form')
    t.equal(await stored(page), '')
    await page.check('#remember')
    await useKey(page, key)
    t.equal(await stored(page), `device ${key}`)
  })

  t.test('a click is quoted and segmented, and its cutout is free', async t => {
    const page = await open(t)
    const requests: Request[] = []
    page.on('request', request => request.method() === 'POST' && requests.push(request))
    await choose(page, PHOTO)
    await clickAt(page, 0.48, 0.5)
    await says(page, '#quote', /Free: answered by the sandbox/)
    t.ok(await page.isHidden('#result'), 'a quote does not segment')
    await page.click('#segment')
    await says(page, '#facts', /0 credits\s*New\s*Sandbox/)
    await says(page, '#facts', /Selection\d+ × \d+ at \d+, \d+/)
    await says(page, '#facts', /Request id[\w-]{8}/)
    await says(page, '#timing', /Segmind.*Network and browser/)
    t.match(await style(page, '#layer', 'maskImage'), /^url\("blob:/, 'the mask tints the image')

    await page.click('#output label:has-text("Cutout")')
    await says(page, '#facts', /0 credits\s*Cache hit/)
    t.equal(await page.locator('#entries li').count(), 2)
    await page.click('#layout label:has-text("Side by side")')
    t.equal(await widthOf(page, '#result-image'), 600)

    const bodies = requests.map(
      request => [new URL(request.url()).pathname, request.postDataBuffer()?.length ?? 0] as const,
    )
    t.strictSame(bodies.filter(([path]) => path === '/images').length, 1, 'the image is uploaded once')
    t.strictSame(
      bodies.filter(([path, length]) => path !== '/images' && length > 400),
      [],
      'later requests refer to its id',
    )
  })

  t.test('the price is shown before and after, and a repetition is free', async t => {
    const page = await open(t, key)
    const photo = await smallJpeg(64, 48)
    upstream.script({ body: fakeMask({ width: 64, height: 48 }) })
    const before = upstream.calls.length
    await choose(page, { name: 'small.jpg', mimeType: 'image/jpeg', buffer: photo })
    await page.fill('#prompt', 'a dog')
    await says(page, '#quote', /About 0\.00\d+ credits/)
    t.equal(upstream.calls.length, before, 'a quote buys nothing')
    await page.press('#prompt', 'Enter')
    await says(page, '#facts', /0\.0017 credits\s*New.*Remaining[\d.]+ credits/)
    await page.click('#segment')
    await says(page, '#facts', /0 credits\s*Cache hit/)
    t.equal(upstream.calls.length, before + 1)
    await says(page, '#spent', '0.0017 credits')
    await page.fill('#prompt', 'another dog')
    await says(page, '#quote', /About/)
    await page.fill('#prompt', 'a dog')
    await says(page, '#quote', 'Done')
  })

  t.test('points work with mouse and keyboard and can be undone', async t => {
    const page = await open(t)
    await choose(page, PHOTO)
    await clickAt(page, 0.25, 0.5)
    await clickAt(page, 0.5, 0.5, { button: 'right' })
    await clickAt(page, 0.75, 0.5, { modifiers: ['Shift'] })
    await points(page, ['+ 150, 200', '− 300, 200', '− 450, 200'])
    await drag(page, 0.25, 0.5, 0.25, 0.25)
    await points(page, ['+ 150, 100', '− 300, 200', '− 450, 200'])
    await page.click('#undo')
    await points(page, ['+ 150, 200', '− 300, 200', '− 450, 200'])
    await page.click('#clear')
    await points(page, [])
    await page.keyboard.press('Control+z')
    await points(page, ['+ 150, 200', '− 300, 200', '− 450, 200'])
    await page.click('#clear')

    await page.focus('#add-point')
    await page.keyboard.press('Enter')
    await points(page, ['+ 300, 200'])
    for (const pressed of ['ArrowRight', 'Shift+ArrowUp', 'Enter']) await page.keyboard.press(pressed)
    await points(page, ['− 301, 190'])
    t.match(await focused(page), 'Point 1, exclude, x 301, y 190')
    await page.keyboard.press('Control+z')
    await page.keyboard.press('Control+z')
    await points(page, ['+ 300, 200'])
    await page.keyboard.press('Delete')
    await points(page, [])

    await page.click('#point-kind label:has-text("exclude")')
    await clickAt(page, 0.5, 0.25)
    await points(page, ['− 300, 100'])
    await page.fill('#prompt', 'cup')
    await shows(page, '#prompt-hint')
  })

  t.test('an error shows advice and the request id of the log', { timeout: 60_000 }, async t => {
    const page = await open(t)
    await choose(page, PHOTO)
    await page.fill('#prompt', 'cup test:credits_exhausted')
    await page.press('#prompt', 'Enter')
    await says(page, '#problem', /Segmind account out of credits.*Try again in 60 s\..*No credits were spent\./)
    const id = (await page.textContent('#problem code')) ?? ''
    const line = await gateway.logged(({ reqId, requestId }) => [reqId, requestId].includes(id))
    t.ok(line, id)
    await page.fill('#prompt', 'cup')
    await page.click('#problem button')
    await shows(page, '#result')
    t.ok(await page.isHidden('#problem'))

    await page.setInputFiles('#file', { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('no picture') })
    await says(page, '#file-problem', 'notes.txt is not a JPEG, PNG or WebP file.')
    await page.setInputFiles('#file', { name: 'bad.png', mimeType: 'image/png', buffer: Buffer.from('no picture') })
    await says(page, '#file-problem', 'bad.png cannot be read as an image.')
  })

  t.test('an upload shows its progress, and upload and wait can be cancelled', async t => {
    const page = await open(t, key)
    const client = await page.context().newCDPSession(page)
    await client.send('Network.enable')
    const slow = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 20_000 }
    await client.send('Network.emulateNetworkConditions', slow)
    await choose(page, PHOTO)
    await says(page, '#progress-text', /Uploading, [\d.]+% of [\d.]+ KiB/)
    await page.click('#cancel')
    await page.waitForSelector('#progress', { state: 'hidden' })
    await client.send('Network.emulateNetworkConditions', { ...slow, uploadThroughput: -1 })

    const gate = upstream.hold()
    const arrived = upstream.arrived(upstream.calls.length + 1)
    await page.fill('#prompt', 'something slow')
    await page.click('#segment')
    await arrived
    await says(page, '#progress-text', 'Waiting for the result')
    const other = await open(t, key)
    await choose(other, PHOTO)
    await other.fill('#prompt', 'something slow')
    await says(other, '#quote', 'Free: identical request in flight')
    await page.click('#cancel')
    await says(page, '#quote', /Cancelled.*still charged/)
    await other.click('#segment')
    gate.open()
    await says(other, '#facts', /0 credits\s*(Coalesced|Cache hit)/)
    t.equal(upstream.inFlight, 0)
  })

  t.test('the history restores a result with its image and its request', async t => {
    const page = await open(t)
    await choose(page, PHOTO)
    await clickAt(page, 0.5, 0.5)
    await page.check('#every-click')
    await clickAt(page, 0.2, 0.2)
    await says(page, '#entries', /mask: 2 points/)
    await page.click('#output label:has-text("Overlay")')
    await says(page, '#quote', /Free: answered by the sandbox/)
    t.equal(await page.locator('#entries li').count(), 1, 'an overlay is another purchase and waits for Segment')
    await paste(page, 'examples/photos/cat.jpg', 'cat.jpg')
    await page.waitForSelector('#photo[alt="cat.jpg"]')
    await points(page, [])
    await drop(page, 'examples/photos/rocket.jpg', 'rocket.jpg')
    await page.waitForSelector('#photo[alt="rocket.jpg"]')
    t.ok(await page.isHidden('#result'))
    await page.click('#entries li:last-child button')
    await page.waitForSelector('#photo[alt="coffee.jpg"]')
    await points(page, ['+ 300, 200', '+ 120, 80'])
    t.ok(await page.isVisible('#result'))
    t.equal(await widthOf(page, '#photo'), 600)
  })

  t.test('the code snippets work and do not contain the key', async t => {
    const page = await open(t)
    await choose(page, PHOTO)
    await page.fill('#prompt', `the "red" cup's rim`)
    await page.click('#segment')
    await shows(page, '#result')
    const folder = await mkdtemp(join(tmpdir(), 'playground-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    await copyFile(PHOTO, join(folder, 'coffee.jpg'))
    const env = { PATH: process.env.PATH ?? '', SEGMIND_GATEWAY_KEY: testKey }
    const run = promisify(execFile)
    const how = { cwd: folder, env, timeout: 20_000 }

    const line = await page.inputValue('#snippet')
    t.match((await run('sh', ['-c', line], how)).stdout, /x-cache: HIT/i)
    t.ok((await readFile(join(folder, 'coffee-mask.jpg'))).length > 100)
    await page.click('#language label:has-text("Node")')
    const program = await page.inputValue('#snippet')
    await writeFile(join(folder, 'ask.mjs'), program)
    t.match((await run(process.execPath, ['ask.mjs'], how)).stdout, /^HIT 0/)
    await page.click('#language label:has-text("Python")')
    for (const text of [line, program, await page.inputValue('#snippet')]) t.notOk(text.includes(testKey))

    const saved = page.waitForEvent('download')
    await page.click('#download')
    t.equal((await saved).suggestedFilename(), 'coffee-mask.jpg')
    const exported = async (name: string) => {
      const download = page.waitForEvent('download')
      await page.click('#export-button')
      const file = await download
      t.equal(file.suggestedFilename(), name)
      return readFile(await file.path(), 'utf8')
    }
    t.ok(await page.isHidden('#simplify'))
    t.match(JSON.parse(await exported('coffee-rle.json')), { size: [400, 600] })
    await page.selectOption('#export-output', 'polygon')
    await page.fill('#simplify', '0')
    const asked = page.waitForRequest(request => request.url().endsWith('/segment'))
    t.match(JSON.parse(await exported('coffee-polygon.json')), { width: 600, height: 400, polygons: [{}] })
    t.match((await asked).postData(), /"output":"polygon","simplify":0/)
    await page.selectOption('#export-output', 'geojson')
    t.match(JSON.parse(await exported('coffee-geojson.geojson')), { type: 'Feature' })
    await page.selectOption('#export-output', 'yolo')
    t.match(await exported('coffee-yolo.txt'), /^0 0\.\d/)
  })

  t.test('it works without https', async t => {
    const page = await open(t, testKey, {}, { ...gateway, url: gateway.url.replace('127.0.0.1', PLAIN_HOST) })
    t.equal(await page.evaluate('isSecureContext'), false)
    const sent: string[] = []
    page.on('request', request => request.method() === 'POST' && sent.push(new URL(request.url()).pathname))
    await choose(page, PHOTO)
    await page.fill('#prompt', 'the cup')
    await says(page, '#quote', /Free/)
    await page.click('#segment')
    await says(page, '#facts', /0 credits/)
    t.strictSame(
      sent,
      ['/images', '/segment/quote', '/segment'],
      'uploaded once, although browsers do not hash without https',
    )
    await page.click('#copy-button')
    await says(page, '#copied', /Selected/)
  })

  t.test('a gateway that stores no images gets them with the request', async t => {
    const forgetful = await startTestGateway({ env: { IMAGE_TTL_SECONDS: '0' } })
    t.teardown(forgetful.stop)
    const page = await open(t, forgetful.testKey, {}, forgetful)
    await choose(page, PHOTO)
    await page.fill('#prompt', 'cup')
    await says(page, '#quote', /Free/)
    await page.click('#segment')
    await says(page, '#facts', /0 credits/)
    t.ok(await page.isHidden('#problem'))
  })

  for (const colorScheme of ['light', 'dark'] as const)
    for (const width of [1280, 360])
      t.test(`has no accessibility violations: ${colorScheme}, ${width} pixels`, async t => {
        const page = await open(t, '', { colorScheme, viewport: { width, height: 800 } })
        t.strictSame(await accessibilityViolations(page), [], 'empty page')
        await useKey(page, keys.testKey)
        await choose(page, PHOTO)
        await clickAt(page, 0.48, 0.5)
        await clickAt(page, 0.9, 0.9, { button: 'right' })
        await says(page, '#quote', /Free/)
        await page.click('#segment')
        await shows(page, '#result')
        t.strictSame(await accessibilityViolations(page), [], 'with a result')
        await page.fill('#prompt', 'test:budget_exhausted')
        await page.press('#prompt', 'Enter')
        await shows(page, '#problem')
        t.strictSame(await accessibilityViolations(page), [], 'with a problem')
        t.equal(await page.evaluate('document.documentElement.scrollWidth'), width, 'no horizontal overflow')
      })

  t.test('no visit sent a request elsewhere, violated the policy or threw an error', async t => {
    t.ok(visits.length > 10)
    for (const { foreignRequests, errors } of visits) t.strictSame([...foreignRequests, ...errors], [])
  })
}

async function useKey(page: Page, key: string): Promise<void> {
  await page.fill('#key', key)
  await page.click('#use-key')
  await shows(page, '#account')
}

async function choose(page: Page, photo: Parameters<Page['setInputFiles']>[1]): Promise<void> {
  await page.setInputFiles('#file', photo)
  await shows(page, '#work')
}

async function shows(page: Page, selector: string): Promise<void> {
  await page.waitForSelector(selector, { state: 'visible' })
}

/** Waits until an element has that text. */
async function says(page: Page, selector: string, text: string | RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: text, visible: true }).waitFor()
}

/** Clicks on the image. The position is in fractions of its sides. */
async function clickAt(page: Page, x: number, y: number, how: Parameters<Page['click']>[1] = {}): Promise<void> {
  const box = await surfaceOf(page)
  await page.click('#surface', { ...how, position: { x: box.width * x, y: box.height * y } })
}

async function drag(page: Page, x: number, y: number, toX: number, toY: number): Promise<void> {
  const box = await surfaceOf(page)
  await page.mouse.move(box.x + box.width * x, box.y + box.height * y)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width * toX, box.y + box.height * toY, { steps: 5 })
  await page.mouse.up()
}

async function surfaceOf(page: Page) {
  const surface = page.locator('#surface')
  await surface.scrollIntoViewIfNeeded()
  const box = await surface.boundingBox()
  if (!box) throw new Error('the image has no box')
  return box
}

/** Waits for points in the list. Allows one pixel of rounding. */
async function points(page: Page, wanted: string[]): Promise<void> {
  const near = (number: string) => `(${[-1, 0, 1].map(off => Number(number) + off).join('|')})`
  const pattern = wanted.map(text => `${text.replace('+', '\\+').replace(/\d+/g, near)}×`).join('')
  await page
    .locator('#point-list')
    .filter({ hasText: new RegExp(`^${pattern}$`) })
    .waitFor({ state: 'attached' })
}

/** Returns the natural width of an image once it is decoded. */
async function widthOf(page: Page, selector: string): Promise<number> {
  const image = `document.querySelector('${selector}')`
  return (await page.evaluate(`${image}.decode().then(() => ${image}.naturalWidth)`)) as number
}

async function paste(page: Page, photo: string, name: string): Promise<void> {
  await page.evaluate(
    `document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: ${await transferOf(photo, name)} }))`,
  )
}

async function drop(page: Page, photo: string, name: string): Promise<void> {
  await page.evaluate(
    `document.dispatchEvent(new DragEvent('drop', { dataTransfer: ${await transferOf(photo, name)} }))`,
  )
}

/** Returns a script that creates the data transfer of a pasted or dropped file. */
async function transferOf(photo: string, name: string): Promise<string> {
  const bytes = (await readFile(photo)).toString('base64')
  const file = `new File([Uint8Array.from(atob('${bytes}'), c => c.charCodeAt(0))], '${name}', { type: 'image/jpeg' })`
  return `(() => { const held = new DataTransfer(); held.items.add(${file}); return held })()`
}

/** Returns the stored keys and their storage. */
async function stored(page: Page): Promise<string> {
  const script = '["tab", Object.values(sessionStorage), "device", Object.values(localStorage)]'
  const [, tab = [], , device = []] = (await page.evaluate(script)) as string[][]
  return [...tab.map(key => `tab ${key}`), ...device.map(key => `device ${key}`)].join()
}

async function focused(page: Page): Promise<string> {
  return (await page.evaluate('document.activeElement.getAttribute("aria-label")')) as string
}

async function style(page: Page, selector: string, name: string): Promise<string> {
  return (await page.evaluate(`getComputedStyle(document.querySelector('${selector}')).${name}`)) as string
}
