import { startTestGateway } from '../../support/gateway/gateway.js'
import { blankPage } from '../../support/pages/chromium.js'
import { ADMIN_KEY, inBrowser, isLive, rowOf, signIn, startGateway, text } from '../../support/pages/dashboard-page.js'

const FIRST_LOAD_BYTES = 100_000

inBrowser(async (t, browser) => {
  await t.test('a sign-in lasts for the tab until the operator signs out', async t => {
    const gateway = await startGateway(t)
    const { page, close } = await blankPage(browser, gateway.url)
    t.teardown(close)
    await page.goto(`${gateway.url}/dashboard`)
    await page.fill('#key', gateway.key)
    await page.click('#sign-in-submit')
    await page.getByRole('alert').getByText('a team key').waitFor()
    t.match(await page.textContent('#sign-in-problem'), /Request id/)
    await signIn(page)
    t.equal(await page.textContent('#operator'), 'Maren')
    await page.reload()
    await isLive(page)
    const kept = await page.evaluate(
      `({ tab: sessionStorage.length, rest: localStorage.length + document.cookie.length })`,
    )
    t.strictSame(kept, { tab: 1, rest: 0 })
    t.notMatch(page.url(), ADMIN_KEY)
    await page.click('#sign-out')
    await page.locator('#sign-in').waitFor()
    t.equal(await page.evaluate('sessionStorage.length'), 0)
    t.equal(await page.inputValue('#key'), '')
  })

  await t.test('figures update when a result is bought', async t => {
    const gateway = await startGateway(t, { teams: { vision: { budget: { daily: 1 } }, labelling: {} } })
    const watched = await blankPage(browser, gateway.url)
    const { page } = watched
    t.teardown(watched.close)
    await page.goto(`${gateway.url}/dashboard`)
    await signIn(page)
    await page.locator('.plot canvas').nth(5).waitFor()
    t.ok(watched.transferred() > 10_000, 'bytes are counted')
    t.ok(watched.transferred() < FIRST_LOAD_BYTES, `${watched.transferred()} bytes`)
    await text(page, '#balance', '10.0000')
    await text(page, '#runway', 'unknown')
    t.equal((await gateway.segment({ prompt: 'dog' })).status, 200)
    await text(page, '#balance', '9.9983')
    await text(page, '#balance-note', /^fresh updated (just now|\d+ s ago)$/)
    await text(page, rowOf('vision'), /0\.0017.*0\.0017 of 1\.00/)
    t.match(await page.textContent(rowOf('labelling')), /0\.0000/)
    t.equal((await gateway.segment({ prompt: 'dog' })).headers.get('x-cache'), 'HIT')
    await text(page, '#credit-tiles', /Saved today0\.0017/)
    await gateway.segment({})
    await page.getByRole('cell', { name: '/segment' }).waitFor()
    await page.getByRole('button', { name: /^Details of request/ }).click()
    await page.locator('dialog .explanation').getByText('missing_selection').waitFor()
    await page.keyboard.press('Escape')
    await page.locator('dialog').waitFor({ state: 'detached' })
    t.strictSame(watched.errors, [])
    t.strictSame(watched.foreignRequests, [])
  })

  await t.test('a lost connection and the age of the figures are shown until it is back', async t => {
    const first = await startTestGateway({ env: { ADMIN_KEY } })
    t.teardown(() => first.stop())
    const { keys, url } = first
    const { page, close } = await blankPage(browser, url)
    t.teardown(close)
    await page.goto(`${url}/dashboard`)
    await signIn(page)
    await text(page, '#balance', '10.0000')
    await first.stop()
    await text(page, '#connection', 'Connection lost')
    await text(page, '#lost-text', /out of date: last updated .*(ago|just now)\./)
    await text(page, '#balance-note', /^last known/)
    await text(page, '#announcement', /Connection lost/)
    t.equal(await page.textContent('#balance'), '10.0000', 'the last figures stay')
    const env = { ADMIN_KEY, PORT: new URL(url).port }
    const second = await startTestGateway({ env, keys })
    t.teardown(() => second.stop())
    await page.evaluate(`document.getElementById('retry').click()`)
    await isLive(page)
    t.notOk(await page.isVisible('#lost'))
    await second.segment({ prompt: 'cat' })
    await text(page, '#balance', '9.9983')
  })

  await t.test('actions run after confirmation and appear in the audit log', async t => {
    const gateway = await startGateway(t, { teams: { vision: { budget: { daily: 1 } } } })
    const watched = await blankPage(browser, gateway.url)
    const { page } = watched
    t.teardown(watched.close)
    await page.goto(`${gateway.url}/dashboard`)
    await signIn(page)
    const dialog = page.locator('dialog')

    await page.click('#key-new')
    await dialog.getByLabel('Team').fill('labelling')
    await dialog.getByRole('button', { name: 'Create key' }).click()
    const secret = await dialog.getByLabel('Secret').inputValue()
    t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': secret } })).status, 200)
    await page.keyboard.press('Escape')
    t.ok(await dialog.isVisible(), 'Escape does not close a result that is shown once')
    await dialog.getByRole('button', { name: 'Done' }).click()
    const made = page.locator('#keys-table tr', { hasText: 'labelling' })
    await made.getByText('active').waitFor()
    t.equal(await page.evaluate('document.activeElement.id'), 'key-new', 'the focus returns to the button')

    await made.getByRole('button', { name: /^Rotate/ }).click()
    await dialog.getByLabel('Overlap in days').fill('3')
    await dialog.getByRole('button', { name: 'Rotate key' }).click()
    const next = await dialog.getByLabel('Secret').inputValue()
    await dialog.getByRole('button', { name: 'Done' }).click()
    t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': next } })).status, 200)

    const id = (await made.first().getAttribute('data-key')) ?? ''
    await made
      .first()
      .getByRole('button', { name: /^Revoke/ })
      .click()
    t.ok(
      await dialog.getByRole('button', { name: 'Revoke key' }).isDisabled(),
      'disabled before the confirmation is typed',
    )
    await dialog.getByRole('textbox').fill(id)
    await dialog.getByRole('button', { name: 'Revoke key' }).click()
    await text(page, '#audit-table tbody tr', new RegExp(`Maren.*revoked key ${id}`))
    t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': secret } })).status, 401)

    await page.getByRole('button', { name: 'Set a temporary budget for vision' }).click()
    await dialog.getByRole('button', { name: 'Set budget' }).click()
    await dialog
      .getByRole('alert')
      .getByText(/daily or monthly/)
      .waitFor()
    await dialog.getByLabel('Daily budget').fill('7.5')
    await dialog.getByRole('button', { name: 'Set budget' }).click()
    await text(page, '#audit-table tbody tr', /set a temporary budget for vision.*daily 7\.50 credits/)
    await text(page, rowOf('vision'), /temporary budget until .* of 7\.50/)
    await page.getByRole('button', { name: 'End the temporary budget of vision' }).click()
    await dialog.getByRole('button', { name: 'End temporary budget' }).click()
    await text(page, '#audit-table tbody tr', /ended the temporary budget of vision/)

    const result = (await gateway.segment({ prompt: 'dog' })).headers.get('x-result-id') ?? ''
    await page.fill('#purge-id', result)
    await page.click('#purge [type=submit]')
    await dialog.getByRole('button', { name: 'Purge result' }).click()
    await text(page, '#audit-table tbody tr', new RegExp(`purged result ${result}`))
    t.equal((await gateway.segment({ prompt: 'dog' })).headers.get('x-cache'), 'MISS')

    const month = await page.inputValue('#month')
    await page.getByRole('button', { name: `Close ${month}` }).click()
    await dialog.getByRole('textbox').fill(month)
    await dialog.getByRole('button', { name: 'Close month' }).click()
    await text(page, '#audit-table tbody tr', new RegExp(`closed month ${month}`))
    await page.getByRole('button', { name: `Reopen ${month}` }).click()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    t.strictSame(watched.errors, [])
  })
})
