import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../gateway/gateway.js'
import { startChromium } from './chromium.js'

export const ADMIN_KEY = 'operator-key-0123456789'

/** Runs tests of the dashboard in the system's Chromium. Without Chromium it passes with a note. */
export function inBrowser(tests: (t: Test, browser: Browser) => Promise<void>): void {
  t.setTimeout(300_000)
  t.test('the dashboard', { timeout: 300_000 }, async t => {
    const browser = await startChromium(t)
    if (browser) await tests(t, browser)
  })
}

export async function startGateway(t: Test, options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await startTestGateway({ ...options, env: { ADMIN_KEY } })
  t.teardown(() => gateway.stop())
  return gateway
}

export async function signIn(page: Page): Promise<void> {
  await page.fill('#key', ADMIN_KEY)
  await page.fill('#name', 'Maren')
  await page.click('#sign-in-submit')
  await isLive(page)
}

export function isLive(page: Page): Promise<void> {
  return page.locator('#connection[data-state=live]').waitFor()
}

/** Waits until an element that matches the selector has the text. */
export async function text(page: Page, selector: string, wanted: string | RegExp): Promise<void> {
  const exact = typeof wanted === 'string' ? new RegExp(`^\\s*${wanted.replaceAll('.', '\\.')}\\s*$`) : wanted
  await page.locator(selector).filter({ hasText: exact }).first().waitFor()
}

export function rowOf(team: string): string {
  return `#teams-table tr[data-key="${team}"]`
}
