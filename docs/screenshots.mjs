// Takes the screenshots of README.md: node docs/screenshots.mjs, after npm run build. Needs Chromium (CHROMIUM_PATH, default
// /usr/bin/chromium). Starts its own gateway with the sandbox and a few teams that send requests. Nothing is paid.
import { spawn } from 'node:child_process'
import { openAsBlob } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'
import { createClient } from '../dist/client/index.js'

const OUTPUT = 'docs/screenshots'
const ADMIN_KEY = 'operators-for-screenshots'
const executablePath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium'
const VIEW = { viewport: { width: 1280, height: 860 }, deviceScaleFactor: 1, colorScheme: 'light' }
const PHOTO = 'examples/photos/coffee.jpg'

const folder = await mkdtemp(join(tmpdir(), 'screenshots-'))
const env = {
  PATH: process.env.PATH,
  HOST: '127.0.0.1',
  PORT: '0',
  METRICS_PORT: '0',
  SANDBOX: 'true',
  DATA_DIR: folder,
  ADMIN_KEY,
}
const gateway = spawn(process.execPath, ['dist/main.js', 'serve'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
try {
  const url = await listening()
  const key = (await readFile(join(folder, 'first-team.key'), 'utf8')).trim()
  await mkdir(OUTPUT, { recursive: true })
  await makeTraffic(url, key)
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  await takePlayground(browser, url, key)
  await takeDashboard(browser, url)
  await browser.close()
} finally {
  gateway.kill('SIGTERM')
  await new Promise(resolve => gateway.once('close', resolve))
  await rm(folder, { recursive: true, force: true })
}

function listening() {
  return new Promise((resolve, reject) => {
    gateway.once('close', code => reject(new Error(`the gateway ended with ${code}`)))
    createInterface({ input: gateway.stdout }).on('line', line => {
      const url = /"url":"([^"]+)".*"msg":"listening"/.exec(line)?.[1]
      if (url) resolve(url)
    })
  })
}

/** Sends requests of three teams: purchases, hits and errors. */
async function makeTraffic(url, firstKey) {
  const keys = [firstKey]
  for (const team of ['labelling', 'catalogue']) {
    const headers = { 'x-api-key': ADMIN_KEY, 'x-operator': 'Ada', 'content-type': 'application/json' }
    const body = JSON.stringify({ expires: '20d', note: 'production' })
    const made = await fetch(`${url}/admin/teams/${team}/keys`, { method: 'POST', headers, body })
    keys.push((await made.json()).key)
  }
  for (const [index, key] of keys.entries()) {
    const client = createClient({ url, key, attempts: 1 })
    for (const photo of ['coffee', 'cat', 'rocket'].slice(index)) {
      const image = await openAsBlob(`examples/photos/${photo}.jpg`)
      for (const prompt of ['the main thing', 'the background', 'the main thing'])
        await client.segment(image, { prompt }).catch(() => {})
    }
    await client.segment(`sha256:${'0'.repeat(64)}`, { prompt: 'dog' }).catch(() => {})
  }
}

async function takePlayground(browser, url, key) {
  const page = await (await browser.newContext(VIEW)).newPage()
  await page.goto(url)
  await page.fill('#key', key)
  await page.click('#use-key')
  await page.locator('#file').setInputFiles(PHOTO)
  await page.locator('#photo').waitFor()
  await page.click('#surface', { position: { x: 390, y: 270 } })
  await page.click('#segment:enabled')
  await page.locator('#result').waitFor()
  await page.locator('#layer').waitFor()
  await page.screenshot({ path: `${OUTPUT}/playground.jpg`, type: 'jpeg', quality: 82 })
}

async function takeDashboard(browser, url) {
  const page = await (await browser.newContext(VIEW)).newPage()
  await page.goto(`${url}/dashboard`)
  await page.locator('input[type=password]').fill(ADMIN_KEY)
  await page.keyboard.press('Enter')
  await page.getByText('labelling').first().waitFor()
  await page.locator('.plot canvas').first().waitFor()
  await page.screenshot({ path: `${OUTPUT}/dashboard.jpg`, type: 'jpeg', quality: 82 })
}
