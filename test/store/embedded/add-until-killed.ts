// A process that adds steps to the spool on disk and reports each acknowledged one, until it is
// killed.
import { openDiskSpool } from '../../../src/store/embedded/spool.js'
import { call } from '../suite/samples.js'

const [, , dir = '', name = ''] = process.argv
const spool = await openDiskSpool({ dir })

for (let index = 0; ; index++) {
  const callId = `${name}-${index}`
  await spool.add({ kind: 'note', call: call(callId, { jobId: `job-${callId}` }) })
  process.send?.(callId)
}
