// Debian's Prometheus, Alertmanager and Redis exporter for the tests of rules and dashboards, below a folder that git ignores.
// Says in one line where they are; where there is no apt, those tests are left out, and that is said too.
import { existsSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { unpackedPackages } from '../test/support/debian-packages.mjs'

const TARGET = '.build-prometheus'
const PROGRAMS = ['prometheus', 'promtool', 'amtool', 'prometheus-redis-exporter']

const inPath = name => process.env.PATH.split(delimiter).some(folder => existsSync(join(folder, name)))
const obtained = name => existsSync(join(TARGET, 'usr', 'bin', name))

if (PROGRAMS.every(name => inPath(name) || obtained(name))) {
  console.log(`All there: ${PROGRAMS.join(', ')}`)
} else {
  const work = `${TARGET}.apt`
  try {
    const packages = ['prometheus', 'prometheus-alertmanager', 'prometheus-redis-exporter']
    const root = unpackedPackages(work, packages, { libraries: false })
    rmSync(TARGET, { recursive: true, force: true })
    renameSync(root, TARGET)
    console.log(`Put into ${TARGET}: ${PROGRAMS.filter(obtained).join(', ')}`)
  } catch (error) {
    console.log(`Tests of rules and dashboards are left out: no Prometheus could be obtained (${error.message})`)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
