import { openPage } from '../support/browser.js'
import { ADMIN_KEY, inBrowser, isLive, rowOf, signIn, started, text } from '../support/dashboard-page.js'
import { startTestGateway } from '../support/gateway.js'

const FIRST_LOAD_BYTES = 100_000

inBrowser(async (t, browser) => {
  await t.test('asks for the key, keeps it in the tab, and forgets it', async t => {
    const gateway = await started(t)
    const { page, context } = await openPage(browser, gateway.url)
    t.teardown(() => context.close())
    await page.goto(`${gateway.url}/dashboard`)
    await page.fill('#key', gateway.key)
    await page.click('#sign-in-submit')
    await page.getByRole('alert').getByText("a team's key").waitFor()
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
    await page.click('#log-out')
    await page.locator('#sign-in').waitFor()
    t.equal(await page.evaluate('sessionStorage.length'), 0)
    t.equal(await page.inputValue('#key'), '')
  })

  await t.test('moves when a segmentation is bought', async t => {
    const gateway = await started(t, { teams: { vision: { budget: { daily: 1 } }, labelling: {} } })
    const watched = await openPage(browser, gateway.url)
    const { page, context } = watched
    t.teardown(() => context.close())
    await page.goto(`${gateway.url}/dashboard`)
    await signIn(page)
    await page.locator('.plot canvas').nth(5).waitFor()
    t.ok(watched.transferred() > 10_000, 'something was measured')
    t.ok(watched.transferred() < FIRST_LOAD_BYTES, `${watched.transferred()} bytes came`)
    await text(page, '#balance', '10.0000')
    await text(page, '#runway', 'unknown')
    t.equal((await gateway.segment({ prompt: 'dog' })).status, 200)
    await text(page, '#balance', '9.9983')
    await text(page, '#balance-note', /^fresh heard (just now|\d+ s ago)$/)
    await text(page, rowOf('vision'), /0\.0017.*0\.0017 of 1\.00/)
    t.match(await page.textContent(rowOf('labelling')), /0\.0000/)
    t.equal((await gateway.segment({ prompt: 'dog' })).headers.get('x-cache'), 'HIT')
    await text(page, '#credit-tiles', /Saved today0\.0017/)
    await gateway.segment({})
    await page.getByRole('cell', { name: '/segment' }).waitFor()
    await page.getByRole('button', { name: /^Explain request/ }).click()
    await page.locator('dialog .explanation').getByText('missing_selection').waitFor()
    await page.keyboard.press('Escape')
    await page.locator('dialog').waitFor({ state: 'detached' })
    t.strictSame(watched.complaints, [])
    t.strictSame(watched.strayRequests, [])
  })

  await t.test('says when the connection is lost and how old the figures are, and finds it again', async t => {
    const first = await startTestGateway({ env: { ADMIN_KEY } })
    t.teardown(() => first.stop())
    const { keys, url } = first
    const { page, context } = await openPage(browser, url)
    t.teardown(() => context.close())
    await page.goto(`${url}/dashboard`)
    await signIn(page)
    await text(page, '#balance', '10.0000')
    await first.stop()
    await text(page, '#connection', 'Connection lost')
    await text(page, '#lost-text', /not of now\. They were right .* (ago|just now)\./)
    await text(page, '#balance-note', /^last known/)
    await text(page, '#spoken', /connection is lost/)
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

  await t.test('acts after it has asked, and the audit log has it', async t => {
    const gateway = await started(t, { teams: { vision: { budget: { daily: 1 } } } })
    const watched = await openPage(browser, gateway.url)
    const { page, context } = watched
    t.teardown(() => context.close())
    await page.goto(`${gateway.url}/dashboard`)
    await signIn(page)
    const dialog = page.locator('dialog')

    await page.click('#key-new')
    await dialog.getByLabel('Team').fill('labelling')
    await dialog.getByRole('button', { name: 'Make the key' }).click()
    const secret = await dialog.getByLabel('The key').inputValue()
    t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': secret } })).status, 200)
    await page.keyboard.press('Escape')
    t.ok(await dialog.isVisible(), 'what is shown once does not go by a slip')
    await dialog.getByRole('button', { name: 'Done' }).click()
    const made = page.locator('#keys-table tr', { hasText: 'labelling' })
    await made.getByText('active').waitFor()
    t.equal(await page.evaluate('document.activeElement.id'), 'key-new', 'the focus is where it was')

    await made.getByRole('button', { name: /^Replace/ }).click()
    await dialog.getByLabel('Days until the old key ends').fill('3')
    await dialog.getByRole('button', { name: 'Replace the key' }).click()
    const next = await dialog.getByLabel('The key').inputValue()
    await dialog.getByRole('button', { name: 'Done' }).click()
    t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': next } })).status, 200)

    const id = (await made.first().getAttribute('data-key')) ?? ''
    await made
      .first()
      .getByRole('button', { name: /^Revoke/ })
      .click()
    t.ok(await dialog.getByRole('button', { name: 'Revoke the key' }).isDisabled(), 'not before it is typed')
    await dialog.getByRole('textbox').fill(id)
    await dialog.getByRole('button', { name: 'Revoke the key' }).click()
    await text(page, '#audit-table tbody tr', new RegExp(`Maren.*revoked the key ${id}`))
    t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': secret } })).status, 401)

    await page.getByRole('button', { name: 'Set a temporary budget for vision' }).click()
    await dialog.getByRole('button', { name: 'Set this budget' }).click()
    await dialog.getByRole('alert').getByText('daily or monthly is needed').waitFor()
    await dialog.getByLabel('Daily budget').fill('7.5')
    await dialog.getByRole('button', { name: 'Set this budget' }).click()
    await text(page, '#audit-table tbody tr', /set a temporary budget for vision.*daily 7\.50 credits/)
    await text(page, rowOf('vision'), /temporary budget until .* of 7\.50/)
    await page.getByRole('button', { name: 'End the temporary budget of vision' }).click()
    await dialog.getByRole('button', { name: 'End it' }).click()
    await text(page, '#audit-table tbody tr', /ended the temporary budget of vision/)

    const result = (await gateway.segment({ prompt: 'dog' })).headers.get('x-result-id') ?? ''
    await page.fill('#purge-id', result)
    await page.click('#purge [type=submit]')
    await dialog.getByRole('button', { name: 'Purge it' }).click()
    await text(page, '#audit-table tbody tr', new RegExp(`purged the result ${result}`))
    t.equal((await gateway.segment({ prompt: 'dog' })).headers.get('x-cache'), 'MISS')

    const month = await page.inputValue('#month')
    await page.getByRole('button', { name: `Close ${month}` }).click()
    await dialog.getByRole('textbox').fill(month)
    await dialog.getByRole('button', { name: 'Close the month' }).click()
    await text(page, '#audit-table tbody tr', new RegExp(`closed the month ${month}`))
    await page.getByRole('button', { name: `Reopen ${month}` }).click()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    t.strictSame(
      watched.complaints.filter(complaint => !complaint.includes('400 (Bad Request)')),
      [],
    )
  })
})
