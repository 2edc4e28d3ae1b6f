import type { GatewayError } from '../contracts/errors.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { Team } from '../contracts/types.js'

/**
 * The account behind the shared key. `admit` throws `credits_exhausted`, or `credits_reserved` for a
 * team that is not protected. `refused`: Segmind refused a call for lack of credits; returns the error
 * for its callers. `latest` is undefined while the balance is unknown.
 */
export interface SharedAccount {
  gate: {
    admit(team: Team, imageBytes: number): void
    refused(error: GatewayError, team: Team, imageBytes: number): Promise<GatewayError>
  }
  balance: { readonly latest: { remaining: Nanocredits } | undefined }
}
