import { byId } from '../dom.js'
import type { Overview } from './api/api-types.js'
import { LiveStream } from './api/live-stream.js'
import { OperatorApi, type Session } from './api/operator-api.js'
import { ChartsPanel } from './charts/charts-panel.js'
import { ServerClock, startRelativeTimes } from './elements/relative-time.js'
import { createKey, type KeyRef, revokeKey, rotateKey } from './keys/key-actions.js'
import { createKeysPanel } from './keys/keys-panel.js'
import { createAlertsPanel } from './panels/alerts-panel.js'
import { createAuditPanel } from './panels/audit-panel.js'
import { ConnectionBar } from './panels/connection-bar.js'
import { showCredits } from './panels/credits-panel.js'
import { createErrorsPanel } from './panels/errors-panel.js'
import { showGateway } from './panels/gateway-panel.js'
import { createMaintenancePanel } from './panels/maintenance-panel.js'
import { endOverride, overrideBudget } from './teams/budget-actions.js'
import { createTeamsPanel } from './teams/teams-panel.js'

const REFRESH_MS = 60_000

/** Runs the dashboard for a session until the gateway refuses its key. */
export function startDashboard(session: Session, onRefused: (reason: string) => void): void {
  const api = new OperatorApi(session)
  const clock = new ServerClock()
  const panels = createPanels(api, clock)
  let latest: Overview | undefined
  const stream = new LiveStream<Overview>({
    open: signal => api.open('/events', { signal }),
    onOverview(overview) {
      latest = overview
      clock.sync(Date.parse(overview.at))
      bar.markUpdated()
    },
    onAlive: () => bar.markUpdated(),
    onConnection(connection) {
      if (connection.state === 'refused') return onRefused(connection.reason)
      bar.show(connection)
      if (latest) panels.show(latest, bar.isLive)
    },
  })
  const bar = new ConnectionBar(() => stream.retryNow())
  startRelativeTimes(clock, () => bar.update())
  addEventListener('online', () => stream.retryNow())
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) stream.retryNow()
  })
  setInterval(() => panels.refresh(), REFRESH_MS)
  stream.start()
  panels.refresh()
}

function createPanels(api: OperatorApi, clock: ServerClock) {
  const refresh = () => {
    void keys.refresh()
    void audit.refresh()
    void charts.refresh()
  }
  /** Refreshes the lists after a completed action; a cancelled dialog resolves with undefined. */
  const refreshAfter = (action: Promise<unknown>) => void action.then(outcome => outcome !== undefined && refresh())
  const teamOf = (id: string) => keys.teams().find(team => team.id === id)
  const rotate = (key: KeyRef) => refreshAfter(rotateKey(api, key))
  const audit = createAuditPanel(api)
  const keys = createKeysPanel(api, { rotate, revoke: key => refreshAfter(revokeKey(api, key)) })
  const teams = createTeamsPanel({
    override: id => refreshAfter(overrideBudget(api, id, teamOf(id))),
    endOverride: id => refreshAfter(endOverride(api, id, teamOf(id))),
  })
  const alerts = createAlertsPanel(rotate)
  const charts = new ChartsPanel(api, () => clock.now())
  const errors = createErrorsPanel(api)
  const maintenance = createMaintenancePanel(api, refresh)
  byId('key-new').addEventListener('click', () => refreshAfter(createKey(api, keys.teams())))
  return {
    refresh,
    show(overview: Overview, isLive: boolean) {
      const now = clock.now()
      showCredits(overview, isLive, now)
      showGateway(overview, now)
      alerts.show(overview, now)
      teams.show(overview)
      errors.show(overview)
      maintenance.show(overview)
      // Charts come last: only a visible element has a width.
      byId('page').hidden = false
      charts.show(overview)
    },
  }
}
