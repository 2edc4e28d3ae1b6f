import { existsSync, readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { settingsMarkdown } from '../src/config.js'
import { ERRORS } from '../src/errors.js'

const readme = readFileSync('README.md', 'utf8')
const DOCS = readdirSync('docs').filter(name => name.endsWith('.md'))
const PAGES = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'examples/README.md', 'src/client/README.md'],
  ...DOCS.map(name => `docs/${name}`),
]

t.test('the settings table of the README is what the gateway reads (npm run docs writes it)', async t => {
  const [, table] = /<!-- settings: [^\n]*-->\n([\s\S]*?)<!-- \/settings -->/.exec(readme) ?? []
  t.equal(table, settingsMarkdown())
})

t.test('every file the README and the docs link to is there', async t => {
  for (const page of PAGES) {
    const folder = new URL(page, `file://${process.cwd()}/`)
    for (const [, target = ''] of readFileSync(page, 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      t.ok(existsSync(new URL(target, folder)), `${page} → ${target}`)
    }
  }
})

t.test('every error code that the docs name exists', async t => {
  for (const page of PAGES) {
    for (const [, code = ''] of readFileSync(page, 'utf8').matchAll(/\b[45]\d\d `([a-z_]+)`/g)) {
      t.ok(code in ERRORS, `${page}: ${code}`)
    }
  }
})
