// Ends the process with one sentence when Node.js is older than `engines` in package.json allows.
// The other tools import this file first, and import nothing that Node.js 18 does not have.
import { readFileSync } from 'node:fs'

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
const [major, minor] = engines.node.match(/\d+/g).map(Number)
const [ownMajor, ownMinor] = process.versions.node.split('.').map(Number)

if (ownMajor < major || (ownMajor === major && ownMinor < minor)) {
  process.stderr.write(`segmind-gateway requires Node.js ${major}.${minor} or later; this is ${process.version}.\n`)
  process.exit(1)
}
