import { existsSync } from 'node:fs'
import { AxeBuilder } from '@axe-core/playwright'
import { type Browser, type BrowserContext, type CDPSession, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]
/** A host name of this machine that browsers, unlike localhost, do not treat as secure. */
export const PLAIN_HOST = 'gateway.test'
/** The browser's own console message about an error response. */
const HARMLESS = /^Failed to load resource: the server responded with a status of/
const LIMIT_MS = 20_000
const ARGS = [
  '--no-sandbox',
  '--disable-dev-shm-usage',
  '--disable-gpu',
  '--disable-software-rasterizer',
  '--disable-background-networking',
  '--disable-component-update',
  `--host-resolver-rules=MAP ${PLAIN_HOST} 127.0.0.1`,
]

/** A page, and its violations: requests to other servers, CSP reports, uncaught errors. */
export interface Visit {
  page: Page
  /** URLs of requests to other servers. */
  foreignRequests: string[]
  /** Uncaught errors, and errors and warnings of the console. */
  errors: string[]
  /** Returns the bytes received so far, with headers. */
  transferred(): number
  close(): Promise<void>
}

/**
 * Starts the Chromium of this machine, or the one at CHROMIUM_PATH, without a window. Returns
 * undefined if there is none. With CI_REQUIRE_CHROMIUM that fails the test.
 */
export async function startChromium(t: Test): Promise<Browser | undefined> {
  const { CHROMIUM_PATH, CI_REQUIRE_CHROMIUM } = process.env
  const executablePath = [CHROMIUM_PATH, ...PLACES].find(path => path && existsSync(path))
  if (executablePath === undefined) {
    const line = 'no Chromium found (set CHROMIUM_PATH): the pages are not tested in a browser'
    if (CI_REQUIRE_CHROMIUM) t.fail(line)
    else t.pass(`SKIPPED: ${line}`)
    return undefined
  }
  const browser = await chromium.launch({ executablePath, args: ARGS })
  t.teardown(() => browser.close())
  return browser
}

export interface PageOptions {
  /** Default: 1280 × 900. */
  viewport?: { width: number; height: number }
  colorScheme?: 'light' | 'dark'
  reducedMotion?: 'reduce'
}

/** Opens a URL in a page without stored data and records the page's violations. */
export async function visit(browser: Browser, url: string, options: PageOptions = {}): Promise<Visit> {
  const visit = await blankPage(browser, new URL(url).origin, options)
  await visit.page.goto(url)
  return visit
}

/**
 * Opens a blank page and removes what earlier pages of `origin` have stored. The test navigates.
 * All pages are tabs of one window: a window takes two seconds of processor time.
 */
export async function blankPage(browser: Browser, origin: string, options: PageOptions = {}): Promise<Visit> {
  const context = browser.contexts()[0] ?? (await openWindow(browser))
  const page = await context.newPage()
  const { viewport = { width: 1280, height: 900 }, ...media } = options
  await page.setViewportSize(viewport)
  await page.emulateMedia(media)
  const foreignRequests: string[] = []
  const errors: string[] = []
  page.on('request', request => {
    if (!request.url().startsWith(`${origin}/`) && !/^(blob|data):/.test(request.url()))
      foreignRequests.push(request.url())
  })
  page.on('pageerror', error => errors.push(String(error)))
  page.on('console', message => {
    const isError = ['error', 'warning'].includes(message.type())
    if (isError && !HARMLESS.test(message.text())) errors.push(message.text())
  })
  const session = await context.newCDPSession(page)
  const transferred = await countBytes(session)
  await session.send('Network.clearBrowserCache')
  await session.send('Storage.clearDataForOrigin', { origin, storageTypes: 'all' })
  return { page, foreignRequests, errors, transferred, close: () => page.close() }
}

/** Opens a window with one tab, which keeps it open. */
async function openWindow(browser: Browser): Promise<BrowserContext> {
  const context = await browser.newContext()
  context.setDefaultTimeout(LIMIT_MS)
  await context.newPage()
  return context
}

async function countBytes(session: CDPSession): Promise<() => number> {
  let bytes = 0
  session.on('Network.loadingFinished', ({ encodedDataLength }) => {
    bytes += encodedDataLength
  })
  await session.send('Network.enable')
  return () => bytes
}

/**
 * Lists the accessibility violations of a page without frames. The legacy mode of axe does not open
 * a second page for its report. Without the lists of what passed, a run takes a quarter less time.
 * Each run would load half a megabyte of axe twice, so a page keeps the one that it has.
 */
export async function accessibilityViolations(page: Page): Promise<string[]> {
  const isLoaded = await page.evaluate('typeof axe === "object"')
  const { violations } = await new AxeBuilder({ page, ...(isLoaded ? { axeSource: 'void 0' } : {}) })
    .options({ resultTypes: ['violations'] })
    .setLegacyMode()
    .analyze()
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
  )
}
