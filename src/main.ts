#!/usr/bin/env node
// No static imports: an older Node.js would fail to link them before the check below.

/** Oldest supported version, the same as `engines` in package.json. */
const OLDEST = { major: 20, minor: 19 }

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

if (major < OLDEST.major || (major === OLDEST.major && minor < OLDEST.minor)) {
  const oldest = `${OLDEST.major}.${OLDEST.minor}`
  process.stderr.write(`segmind-gateway requires Node.js ${oldest} or later; this is ${process.version}.\n`)
  process.exitCode = 1
} else {
  const { runCommandLine } = await import('./cli/commands.js')
  process.exitCode = await runCommandLine(process.argv.slice(2))
}
