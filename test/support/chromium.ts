import { existsSync } from 'node:fs'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]
/** A name of this machine to which browsers, without https, give less than to localhost. */
export const PLAIN_HOST = 'gateway.test'
/** What a browser writes down of itself: that the gateway refused something. */
const HARMLESS = /^Failed to load resource: the server responded with a status of/
const LIMIT_MS = 20_000

/** A page, and what it did that nobody may see: asked another server, broke its policy, failed in its own code. */
export interface Visit {
  page: Page
  context: BrowserContext
  /** Requests to others than the gateway. */
  strangers: string[]
  /** Of the console and of code. */
  complaints: string[]
  /** Bytes that came over the network so far, headers included. */
  transferred(): number
  close(): Promise<void>
}

/**
 * Starts the Chromium of this machine, without a window. Where there is none, says so, and answers undefined; with CI_REQUIRE_CHROMIUM
 * that is a failure. CHROMIUM_PATH names another one.
 */
export async function startChromium(t: Test): Promise<Browser | undefined> {
  const { CHROMIUM_PATH, CI_REQUIRE_CHROMIUM } = process.env
  const executablePath = [CHROMIUM_PATH, ...PLACES].find(path => path && existsSync(path))
  if (executablePath === undefined) {
    const line = 'no Chromium on this machine (CHROMIUM_PATH names one): pages were not tried in a browser'
    if (CI_REQUIRE_CHROMIUM) t.fail(line)
    else t.pass(`SKIPPED: ${line}`)
    return undefined
  }
  const names = `--host-resolver-rules=MAP ${PLAIN_HOST} 127.0.0.1`
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage', names] })
  t.teardown(() => browser.close())
  return browser
}

/** Opens a page in a browser profile of its own, and watches it. */
export async function visit(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const visit = await blankPage(browser, new URL(url).origin, options)
  await visit.page.goto(url)
  return visit
}

/** The same, where the test itself says when the page goes where. */
export async function blankPage(browser: Browser, origin: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  context.setDefaultTimeout(LIMIT_MS)
  const page = await context.newPage()
  const strangers: string[] = []
  const complaints: string[] = []
  page.on('request', request => {
    if (!request.url().startsWith(`${origin}/`) && !/^(blob|data):/.test(request.url())) strangers.push(request.url())
  })
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('console', message => {
    const isComplaint = ['error', 'warning'].includes(message.type())
    if (isComplaint && !HARMLESS.test(message.text())) complaints.push(message.text())
  })
  const transferred = await countBytes(context, page)
  return { page, context, strangers, complaints, transferred, close: () => context.close() }
}

async function countBytes(context: BrowserContext, page: Page): Promise<() => number> {
  const session = await context.newCDPSession(page)
  let bytes = 0
  session.on('Network.loadingFinished', ({ encodedDataLength }) => {
    bytes += encodedDataLength
  })
  await session.send('Network.enable')
  return () => bytes
}
