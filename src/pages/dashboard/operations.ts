import { Api, type Session } from './api.js'
import type { Overview } from './api-types.js'
import { createAttention } from './attention-panel.js'
import { createAuditPanel } from './audit-panel.js'
import { endOverride, overrideBudget } from './budget-actions.js'
import { ChartsPanel } from './charts-panel.js'
import { ConnectionBar } from './connection-bar.js'
import { showCredits } from './credits-panel.js'
import { byId } from './element.js'
import { createErrorsPanel } from './errors-panel.js'
import { showGateway } from './gateway-panel.js'
import { createKey, revokeKey, rotateKey } from './key-actions.js'
import { createKeysPanel } from './keys-panel.js'
import { Live } from './live.js'
import { createTeamsPanel } from './teams-panel.js'
import { ServerClock, startTicking } from './ticking.js'
import { createUpkeep } from './upkeep-panel.js'

const REFRESH_MS = 60_000

/** The page of one session, until the gateway no longer takes its key. */
export function runOperations(session: Session, onRefused: (why: string) => void): void {
  const api = new Api(session)
  const clock = new ServerClock()
  const panels = createPanels(api, clock)
  let latest: Overview | undefined
  const draw = () => {
    if (latest) panels.show(latest, { isLive: bar.isLive, now: clock.now() })
  }
  const live = new Live<Overview>({
    open: signal => api.open('/events', { signal }),
    onOverview(overview) {
      latest = overview
      clock.heard(Date.parse(overview.at))
      bar.heard()
    },
    onAlive: () => bar.heard(),
    onConnection(connection) {
      if (connection.is === 'refused') return onRefused(connection.why)
      bar.show(connection)
      draw()
      byId('page').hidden = latest === undefined
    },
  })
  const bar = new ConnectionBar(() => live.retryNow())
  startTicking(clock, () => bar.tick())
  addEventListener('online', () => live.retryNow())
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) live.retryNow()
  })
  setInterval(() => panels.refresh(), REFRESH_MS)
  live.start()
  panels.refresh()
}

function createPanels(api: Api, clock: ServerClock) {
  const audit = createAuditPanel(byId('audit-table'), byId<HTMLButtonElement>('audit-more'), byId('audit-problem'), api)
  const refresh = () => {
    void keys.refresh()
    void audit.refresh()
    void charts.refresh()
  }
  /** What was done is in the lists at once; what was given up changes nothing. */
  const act = (done: Promise<unknown>) => void done.then(outcome => outcome !== undefined && refresh())
  const teamOf = (id: string) => keys.teams().find(team => team.id === id)
  const rotate = (key: { id: string; team: string }) => act(rotateKey(api, key))
  const keys = createKeysPanel({
    ...{ api, rotate, revoke: key => act(revokeKey(api, key)) },
    hosts: { table: byId('keys-table'), problem: byId('keys-problem'), ended: byId<HTMLInputElement>('keys-ended') },
  })
  const teams = createTeamsPanel(byId('teams-table'), {
    override: id => act(overrideBudget(api, id, teamOf(id))),
    endOverride: id => act(endOverride(api, id, teamOf(id))),
  })
  const attention = createAttention({ rotate })
  const charts = new ChartsPanel(api, () => clock.now())
  const errors = createErrorsPanel(byId('errors-table'), byId<HTMLButtonElement>('errors-more'), api)
  const upkeep = createUpkeep({ api, onDone: refresh })
  byId('key-new').addEventListener('click', () => act(createKey(api, keys.teams())))
  return {
    refresh,
    show(overview: Overview, { isLive, now }: { isLive: boolean; now: number }) {
      showCredits(overview, { isLive, now })
      showGateway(overview, now)
      attention.show(overview, now)
      teams.show(overview)
      errors.show(overview)
      upkeep.show(overview)
      // Last, since only what is shown has a width.
      byId('page').hidden = false
      charts.show(overview)
    },
  }
}
