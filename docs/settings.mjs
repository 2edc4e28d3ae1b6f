// Writes the settings table of README.md and .env.example from src/config/table.ts (compiled to dist).
import { readFileSync, writeFileSync } from 'node:fs'
import { envExample, settingsMarkdown } from '../dist/config.js'

const [begin, end] = [/<!-- settings: [^\n]*-->\n/, '<!-- /settings -->']
const readme = readFileSync('README.md', 'utf8')
const head = begin.exec(readme)
writeFileSync(
  'README.md',
  readme.slice(0, head.index + head[0].length) + settingsMarkdown() + readme.slice(readme.indexOf(end)),
)
writeFileSync('.env.example', envExample())
