import type { FastifyInstance } from 'fastify'
import type { AccountStatus } from '../../contracts/account.js'
import type { Clock } from '../../contracts/clock.js'
import { addAuditRoute, type ReadAudit } from './audit.js'
import { type AuditPort, createRequestAudit } from './audit-recorder.js'
import { addCacheRoutes, type CacheAdmin } from './cache.js'
import { addCreditsRoute } from './credits.js'
import { addExplainRoute, type Explanations } from './explain.js'
import { addOverviewRoutes, type OverviewRouteParts } from './overview.js'
import { addStatementsRoutes, type StatementsParts } from './statements.js'
import { addTeamsRoutes, type TeamsAdmin } from './teams.js'

export interface OperatorParts {
  audit: AuditPort
  readAudit: ReadAudit
  teams: TeamsAdmin
  cache: CacheAdmin
  overview: OverviewRouteParts
  now: Clock
}

/** Adds all operator routes. None of their responses may be stored. */
export async function addOperatorRoutes(
  admin: FastifyInstance,
  parts: OperatorParts & { credits(): AccountStatus; explanations: Explanations; statements: StatementsParts },
): Promise<void> {
  const audit = createRequestAudit(parts.audit)
  admin.addHook('onRequest', async (_request, reply) => void reply.header('cache-control', 'no-store'))
  await addStatementsRoutes(admin, parts.statements, audit)
  addCreditsRoute(admin, parts.credits)
  addExplainRoute(admin, parts.explanations)
  addOverviewRoutes(admin, parts.overview)
  addCacheRoutes(admin, { cache: parts.cache, audit })
  addAuditRoute(admin, parts.readAudit)
  await addTeamsRoutes(admin, { teams: parts.teams, audit, now: parts.now })
}
