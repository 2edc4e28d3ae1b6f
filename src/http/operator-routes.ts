import type { FastifyInstance } from 'fastify'
import { addAuditRoute, type ReadAudit } from './audit-route.js'
import { type AuditPort, auditing } from './auditing.js'
import { addCacheRoutes, type CacheAdmin } from './cache-routes.js'
import { addCreditsRoute, type CreditFacts } from './credits-route.js'
import { addExplainRoute, type Explanations } from './explain-route.js'
import { addOverviewRoutes, type OverviewRouteParts } from './overview-routes.js'
import { addStatementsRoutes, type StatementsParts } from './statements-routes.js'
import { addTeamsRoutes, type TeamsAdmin } from './teams-routes.js'

export interface OperatorParts {
  audit: AuditPort
  readAudit: ReadAudit
  teams: TeamsAdmin
  cache: CacheAdmin
  overview: OverviewRouteParts
  now(): number
}

/** What operators may ask and do, behind their door. */
export async function addOperatorRoutes(
  admin: FastifyInstance,
  parts: OperatorParts & { credits(): CreditFacts; explanations: Explanations; statements: StatementsParts },
): Promise<void> {
  const audit = auditing(parts.audit)
  await addStatementsRoutes(admin, parts.statements, audit)
  addCreditsRoute(admin, parts.credits)
  addExplainRoute(admin, parts.explanations)
  addOverviewRoutes(admin, parts.overview)
  addCacheRoutes(admin, { cache: parts.cache, audit })
  addAuditRoute(admin, parts.readAudit)
  await addTeamsRoutes(admin, { teams: parts.teams, audit, now: parts.now })
}
