import { readFile } from 'node:fs/promises'
import t from 'tap'
import { parse } from 'yaml'
import { ERRORS } from '../../../src/contracts/errors.js'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { ask } from '../../support/gateway/raw-client.js'

const gateway = await startTestGateway()
t.teardown(gateway.stop)

t.test('/openapi.yaml serves the file, and /docs shows it', async t => {
  const file = await readFile('openapi.yaml')
  const served = await ask(`${gateway.url}/openapi.yaml`)
  t.match(served, { status: 200, headers: { 'content-type': 'application/yaml; charset=utf-8' } })
  t.ok(served.body.equals(file))
  t.strictSame((await ask(`${gateway.url}/docs/json`)).json(), parse(file.toString()))
})

t.test('the page and its resources are served, with a policy that works without https', async t => {
  const page = await ask(`${gateway.url}/docs`)
  const policy = String(page.headers['content-security-policy'])
  t.match(policy, /script-src 'self'/)
  t.match(policy, /img-src 'self' data: blob:/, 'the result picture is a blob: URL')
  t.notMatch(policy, /upgrade-insecure-requests|unsafe|https?:/)
  const files = [...page.body.toString().matchAll(/(?:src|href)="([^"]+)"/g)].map(match => match[1] ?? '')
  t.ok(files.length >= 4)
  for (const file of files) t.match(await ask(gateway.url + file), { status: 200 }, file)
  t.notMatch(page.body.toString(), /<script>|<style>| on\w+=/, 'the policy forbids inline code')
})

t.test('the type of every problem links to its row', async t => {
  const page = await ask(`${gateway.url}/docs/errors`)
  t.match(page, { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } })
  t.match(page.headers['content-security-policy'], "default-src 'none'")
  for (const code of Object.keys(ERRORS)) t.ok(page.body.includes(`<tr id="${code}">`), code)
  const problem = (await ask(`${gateway.url}/nothing`)).json()
  t.equal(problem.type, '/docs/errors#not_found')
})

t.test('every alert links to its section of the runbook', async t => {
  const page = await ask(`${gateway.url}/docs/runbook`)
  t.match(page, { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } })
  t.match(page.headers['content-security-policy'], "default-src 'none'")
  const html = page.body.toString()
  const names = [...(await readFile('docs/runbook.md', 'utf8')).matchAll(/^## (\w+)$/gm)].map(([, name = '']) => name)
  t.ok(names.length > 20)
  for (const name of names) t.ok(html.includes(`<h2 id="${name.toLowerCase()}">${name}</h2>`), name)
  for (const [, target = ''] of html.matchAll(/href="#(\w+)"/g)) t.ok(html.includes(`<h2 id="${target}">`), target)
  t.match(html, '<code>sum by (code) (rate(segmind_gateway_upstream_requests_total[15m]))</code>')
  t.match(html, /<pre><code[^>]*>curl -m 5 [^<]+<\/code><\/pre>/)
  t.match(html, '<strong>Meaning.</strong>')
  const text = html.replace(/<(code|pre|style)>[\s\S]*?<\/\1>/g, '')
  t.notMatch(text, /[*`]|\]\(|^- |^#/m, 'no Markdown is left')
})
