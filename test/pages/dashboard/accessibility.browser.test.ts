import type { TestGateway } from '../../support/gateway/gateway.js'
import { accessibilityViolations, blankPage } from '../../support/pages/chromium.js'
import { ADMIN_KEY, inBrowser, isLive, signIn, startGateway, text } from '../../support/pages/dashboard-page.js'

inBrowser(async (t, browser) => {
  await t.test('has no accessibility violations', async t => {
    const soon = new Date(Date.now() + 5 * 86_400_000).toISOString().slice(0, 10)
    const teams = {
      vision: { budget: { daily: 0.002, alert_at: [0.8] } },
      'with-a-rather-long-team-name': { protected: true },
    }
    const gateway = await startGateway(t, { teams })
    await asOperator(gateway, '/teams/vision/keys', { expires: soon, note: 'labelling ui' })
    await gateway.segment({ prompt: 'dog' })
    await gateway.segment({})
    for (const colorScheme of ['light', 'dark'] as const) {
      for (const width of [1280, 360]) {
        const options = { colorScheme, viewport: { width, height: 800 }, reducedMotion: 'reduce' as const }
        const { page, close } = await blankPage(browser, gateway.url, options)
        await page.goto(`${gateway.url}/dashboard`)
        const name = `${colorScheme}, ${width} pixels`
        await page.locator('#sign-in').waitFor()
        t.strictSame(await accessibilityViolations(page), [], `${name}: sign-in`)
        await page.keyboard.press('Tab')
        await signIn(page)
        await text(page, '#alerts', /Team vision has used/)
        await page.locator('.plot canvas').nth(5).waitFor()
        await page.locator('details summary').first().click()
        await page.locator('#audit-table tbody tr').first().waitFor()
        await page.locator('#month-action').waitFor()
        t.strictSame(await accessibilityViolations(page), [], `${name}: page`)
        const overhang = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
        t.equal(overhang, 0, `${name}: no horizontal overflow`)
        await page
          .getByRole('button', { name: /^Revoke/ })
          .first()
          .click()
        t.strictSame(await accessibilityViolations(page), [], `${name}: dialog`)
        await close()
      }
    }
  })

  await t.test('can be used with the keyboard alone', async t => {
    const gateway = await startGateway(t)
    const { page, close } = await blankPage(browser, gateway.url)
    t.teardown(close)
    await page.goto(`${gateway.url}/dashboard`)
    await page.locator('#key:focus').waitFor()
    await page.keyboard.type(ADMIN_KEY)
    await page.keyboard.press('Enter')
    await isLive(page)
    await page.locator('.skip').focus()
    await page.keyboard.press('Enter')
    t.equal(await page.evaluate('document.activeElement.id'), 'main')
    await page.locator('#ranges input').first().focus()
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('ArrowRight')
    t.equal(await page.evaluate(`document.querySelector('#ranges :checked').value`), '24', 'two steps from 1 h')
    const sort = page.locator('#teams-table').getByRole('button', { name: 'Today' })
    await sort.focus()
    await page.keyboard.press('Enter')
    t.equal(await page.locator('#teams-table th[aria-sort]').getAttribute('aria-sort'), 'descending')
    await page
      .getByRole('button', { name: /^Revoke/ })
      .first()
      .focus()
    await page.keyboard.press('Enter')
    await page.locator('dialog').waitFor()
    await page.keyboard.press('Escape')
    t.match(await page.evaluate('document.activeElement.dataset.focus'), /^Revoke /, 'the focus returns')
  })
})

async function asOperator(gateway: TestGateway, path: string, body: object): Promise<void> {
  const headers = { 'x-api-key': ADMIN_KEY, 'content-type': 'application/json' }
  await gateway.fetch(`/admin${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
}
