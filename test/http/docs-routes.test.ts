import { readFile } from 'node:fs/promises'
import t from 'tap'
import { parse } from 'yaml'
import { ERRORS } from '../../src/errors.js'
import { startTestGateway } from '../support/gateway.js'
import { ask } from '../support/raw-client.js'

const gateway = await startTestGateway()
t.teardown(gateway.stop)

t.test('/openapi.yaml is the file, /docs shows it', async t => {
  const file = await readFile('openapi.yaml')
  const served = await ask(`${gateway.url}/openapi.yaml`)
  t.match(served, { status: 200, headers: { 'content-type': 'application/yaml; charset=utf-8' } })
  t.ok(served.body.equals(file))
  t.strictSame((await ask(`${gateway.url}/docs/json`)).json(), parse(file.toString()))
})

t.test('the page and everything it loads is served, under a policy that works without https', async t => {
  const page = await ask(`${gateway.url}/docs`)
  const policy = String(page.headers['content-security-policy'])
  t.match(policy, /default-src 'self'/)
  t.match(policy, /img-src 'self' data: blob:/, 'the answered picture is a blob: URL')
  t.notMatch(policy, /upgrade-insecure-requests|unsafe|https?:/)
  const files = [...page.body.toString().matchAll(/(?:src|href)="([^"]+)"/g)].map(match => match[1] ?? '')
  t.ok(files.length >= 5)
  for (const file of files) t.match(await ask(gateway.url + file), { status: 200 }, file)
  t.notMatch(page.body.toString(), /<script>|<style>| on\w+=/, 'nothing inline, which the policy forbids')
})

t.test('the type of every problem leads to its row', async t => {
  const page = await ask(`${gateway.url}/docs/errors`)
  t.match(page, { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } })
  t.match(page.headers['content-security-policy'], "default-src 'none'")
  for (const code of Object.keys(ERRORS)) t.ok(page.body.includes(`<tr id="${code}">`), code)
  const problem = (await ask(`${gateway.url}/nothing`)).json()
  t.equal(problem.type, '/docs/errors#not_found')
})

t.test('every alert leads to its section of the runbook', async t => {
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
  t.match(html, '<strong>What it means.</strong>')
  const text = html.replace(/<(code|pre|style)>[\s\S]*?<\/\1>/g, '')
  t.notMatch(text, /[*`]|\]\(|^- |^#/m, 'no Markdown is left')
})

t.test('nothing outside the page’s folder is served', async t => {
  for (const path of [
    '/docs/static/../package.json',
    '/docs/static/%2e%2e/package.json',
    '/docs/static/..%2fpackage.json',
  ]) {
    const { status } = await ask(gateway.url + path)
    t.ok(status === 400 || status === 404, `${path}: ${status}`)
  }
})
