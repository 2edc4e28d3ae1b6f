import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { settingsMarkdown } from '../src/config/index.js'
import { ERRORS } from '../src/contracts/errors.js'

const reference = readFileSync('docs/reference.md', 'utf8')
const FOLDERS = ['.', '.github', 'bench', 'docs', 'examples', 'examples/photos', 'src/client', 'test/faults']
/** Files that an operator creates. */
const IGNORED = /\.url$/
const PAGES = FOLDERS.flatMap(folder =>
  readdirSync(folder).flatMap(name => (name.endsWith('.md') ? [join(folder, name)] : [])),
)

t.test('the settings table of the reference matches the code (npm run docs writes it)', async t => {
  const [, table] = /<!-- settings: [^\n]*-->\n([\s\S]*?)<!-- \/settings -->/.exec(reference) ?? []
  t.equal(table, settingsMarkdown())
})

t.test('the reference lists every error code with its status', async t => {
  const rows = [...section('Errors').matchAll(/^\| `(\w+)` \| (\d+) \| (yes|no) \|/gm)]
  const listed = rows.map(([, code, status, retryable]) => [code, Number(status), retryable === 'yes'])
  const expected = Object.entries(ERRORS).map(([code, { status, retryable }]) => [code, status, retryable])
  t.strictSame(listed.sort(), expected.sort())
})

function section(title: string): string {
  return reference.split(/^## /m).find(text => text.startsWith(`${title}\n`)) ?? ''
}

t.test('every file and heading that a document links to exists', async t => {
  for (const page of PAGES) {
    const links = readFileSync(page, 'utf8').matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)
    for (const [, target = '', anchor] of links) {
      const file = target === '' ? page : join(dirname(page), target)
      t.ok(existsSync(file), `${page} → ${target}`)
      if (anchor) t.ok(anchorsOf(file).includes(anchor), `${page} → ${target}#${anchor}`)
    }
  }
})

/** Returns the anchors that GitHub gives to the headings of a Markdown file. */
function anchorsOf(file: string): string[] {
  const headings = readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm)
  return [...headings].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

t.test('every error code in the documents exists', async t => {
  for (const page of PAGES) {
    for (const [, code = ''] of readFileSync(page, 'utf8').matchAll(/\b[45]\d\d `([a-z_]+)`/g)) {
      t.ok(code in ERRORS, `${page}: ${code}`)
    }
  }
})

t.test('every path that a document names in code exists', async t => {
  for (const page of PAGES) {
    const paths = readFileSync(page, 'utf8').matchAll(/`((?:src|test|docs|docker|examples|bench|\.ci)\/[\w./-]+)`/g)
    for (const [, path = ''] of paths) t.ok(existsSync(path) || IGNORED.test(path), `${page}: ${path}`)
  }
})

t.test('every section that the code cites exists', async t => {
  for (const name of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
    if (!/\.m?ts$/.test(name)) continue
    for (const [cited, file = '', rest = ''] of readFileSync(join('src', name), 'utf8').matchAll(
      /(docs\/\w+\.md), ([A-Z].*)/g,
    )) {
      const titles = readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm)
      t.ok(
        [...titles].some(([, title = '']) => rest.startsWith(title)),
        `${name}: ${cited}`,
      )
    }
  }
})

t.test('the architecture names every folder of src', async t => {
  const [, tree = ''] = /```\n(src\/\n[\s\S]*?)```/.exec(readFileSync('docs/architecture.md', 'utf8')) ?? []
  for (const folder of readdirSync('src', { withFileTypes: true })) {
    if (folder.isDirectory()) t.ok(tree.includes(`\n  ${folder.name}/ `), folder.name)
  }
})
