// Writes the settings table of docs/reference.md and the file .env.example from src/config/table.ts (compiled to dist).
import { readFileSync, writeFileSync } from 'node:fs'
import { envExample, settingsMarkdown } from '../dist/config/index.js'

const FILE = 'docs/reference.md'
const [begin, end] = [/<!-- settings: [^\n]*-->\n/, '<!-- /settings -->']
const text = readFileSync(FILE, 'utf8')
const head = begin.exec(text)
writeFileSync(FILE, text.slice(0, head.index + head[0].length) + settingsMarkdown() + text.slice(text.indexOf(end)))
writeFileSync('.env.example', envExample())
