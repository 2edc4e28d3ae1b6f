// Obtains Prometheus, Alertmanager and the Redis exporter from Debian packages for the tests of
// rules and dashboards, into a folder that git ignores. Prints one line with the result. Without
// apt these tests are skipped.
import { existsSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { unpackedPackages } from '../test/support/programs/debian-packages.mjs'

const TARGET = '.build-prometheus'
const PROGRAMS = ['prometheus', 'promtool', 'amtool', 'prometheus-redis-exporter']

const inPath = name => process.env.PATH.split(delimiter).some(folder => existsSync(join(folder, name)))
const obtained = name => existsSync(join(TARGET, 'usr', 'bin', name))

if (PROGRAMS.every(name => inPath(name) || obtained(name))) {
  console.log(`Found: ${PROGRAMS.join(', ')}`)
} else {
  const work = `${TARGET}.apt`
  try {
    const packages = ['prometheus', 'prometheus-alertmanager', 'prometheus-redis-exporter']
    const root = unpackedPackages(work, packages, { libraries: false })
    rmSync(TARGET, { recursive: true, force: true })
    renameSync(root, TARGET)
    console.log(`Installed in ${TARGET}: ${PROGRAMS.filter(obtained).join(', ')}`)
  } catch (error) {
    console.log(`Tests of rules and dashboards are skipped: Prometheus cannot be obtained (${error.message})`)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
